//! Linear layers in terms of a backend's own operations.
//!
//! A single output channel is a sum, not a matrix product: where burn 0.22 fuses a matrix times a
//! column with what follows, it uses kernels for a row times a matrix (tracel-ai/burn#5122), whose
//! results are wrong.

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
    let shape = with_channels(x.shape(), channels_out);
    let bias_shape = with_channels(Shape::from(vec![1; shape.num_dims()]), channels_out);
    let x = rows::<B>(x);
    let product = if channels_out == 1 {
        B::float_sum_dim(B::float_mul(x, B::float_transpose(weight)), 1)
    } else {
        B::product(x, weight)
    };
    // Fusion joins the addition with what follows, unless the shape changes between them.
    let product = B::float_reshape(product, shape);
    B::float_add(product, B::float_reshape(bias, bias_shape))
}

pub(super) fn generic_input_backward<B: Backend>(
    weight: FloatTensor<B>,
    output_gradient: FloatTensor<B>,
) -> FloatTensor<B> {
    let shape = with_channels(output_gradient.shape(), weight.shape()[0]);
    let gradient = B::float_matmul(rows::<B>(output_gradient), B::float_transpose(weight));
    B::float_reshape(gradient, shape)
}

pub(super) fn generic_parameters_backward<B: Backend>(
    x: FloatTensor<B>,
    output_gradient: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let (x, output_gradient) = (rows::<B>(x), rows::<B>(output_gradient));
    let [_, channels_out] = output_gradient.shape().dims();
    let bias = B::float_sum_dim(output_gradient.clone(), 0);
    let weight = if channels_out == 1 {
        B::float_transpose(B::float_sum_dim(B::float_mul(x, output_gradient), 0))
    } else {
        B::float_matmul(B::float_transpose(x), output_gradient)
    };
    (weight, B::float_reshape(bias, Shape::new([channels_out])))
}

/// `[..., channels]` as `[rows, channels]`.
pub(super) fn rows<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    let channels = shape[shape.num_dims() - 1];
    let rows = shape[..shape.num_dims() - 1].iter().product();
    B::float_reshape(x, Shape::new([rows, channels]))
}

/// This shape with `channels` channels.
pub(super) fn with_channels(mut shape: Shape, channels: usize) -> Shape {
    let last = shape.num_dims() - 1;
    shape[last] = channels;
    shape
}
