//! Layer normalisation in terms of a backend's own operations.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::affine::rows;

pub(super) fn generic<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    epsilon: f64,
) -> FloatTensor<B> {
    B::layer_norm(x, gamma, Some(beta), epsilon)
}

/// With `x̂ = (x − mean) / deviation` and `g = output_gradient · gamma`, the gradient of `x` is
/// `(g − mean(g) − x̂ mean(g x̂)) / deviation`: a change of a row's mean or length has no effect.
pub(super) fn generic_backward<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    output_gradient: FloatTensor<B>,
    epsilon: f64,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let shape = x.shape();
    let (x, output_gradient) = (rows::<B>(x), rows::<B>(output_gradient));
    let [_, channels] = x.shape().dims();
    let mean = |rows: FloatTensor<B>| B::float_mean_dim(rows, 1);
    let centred = B::float_sub(x.clone(), mean(x));
    let variance = mean(B::float_mul(centred.clone(), centred.clone()));
    let deviation = B::float_sqrt(B::float_add_scalar(variance, epsilon.into()));
    let normal = B::float_div(centred, deviation.clone());

    let gamma = B::float_reshape(gamma, Shape::new([1, channels]));
    let received = B::float_mul(output_gradient.clone(), gamma);
    let along = mean(B::float_mul(received.clone(), normal.clone()));
    let x_gradient = B::float_sub(received.clone(), mean(received));
    let x_gradient = B::float_sub(x_gradient, B::float_mul(normal.clone(), along));
    let x_gradient = B::float_div(x_gradient, deviation);

    let per_channel = |rows| B::float_reshape(B::float_sum_dim(rows, 0), Shape::new([channels]));
    let gamma_gradient = per_channel(B::float_mul(output_gradient.clone(), normal));
    (B::float_reshape(x_gradient, shape), gamma_gradient, per_channel(output_gradient))
}
