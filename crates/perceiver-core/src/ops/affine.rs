//! Linear layers in terms of a backend's own operations.
//!
//! A single channel is summed, not multiplied out: burn 0.22 runs kernels made for a row times a
//! matrix on a matrix times a column too, where it fuses that with what follows
//! (tracel-ai/burn#5122), and their results are wrong.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::PerceiverOps;

pub(super) fn generic<B: PerceiverOps>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
) -> FloatTensor<B> {
    let [channels_out] = bias.shape().dims();
    let product = if channels_out == 1 {
        B::float_sum_dim(B::float_mul(x, B::float_transpose(weight)), 1)
    } else {
        B::product(x, weight)
    };
    B::float_add(product, B::float_reshape(bias, Shape::new([1, channels_out])))
}

pub(super) fn generic_input_backward<B: Backend>(
    weight: FloatTensor<B>,
    output_gradient: FloatTensor<B>,
) -> FloatTensor<B> {
    B::float_matmul(output_gradient, B::float_transpose(weight))
}

pub(super) fn generic_parameters_backward<B: Backend>(
    x: FloatTensor<B>,
    output_gradient: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let [_, channels_out] = output_gradient.shape().dims();
    let bias = B::float_sum_dim(output_gradient.clone(), 0);
    let weight = if channels_out == 1 {
        B::float_transpose(B::float_sum_dim(B::float_mul(x, output_gradient), 0))
    } else {
        B::float_matmul(B::float_transpose(x), output_gradient)
    };
    (weight, B::float_reshape(bias, Shape::new([channels_out])))
}
