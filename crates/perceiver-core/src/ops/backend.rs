//! The operations as a backend implements them.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

#[cfg(feature = "_cube")]
use super::specs;
use super::values::*;
use super::{affine, attention, backward, gather, normalise, scatter};

/// The operations in terms of a backend's own tensors.
///
/// To compute, call the functions of [`ops`](crate::ops). Implement this trait to add a backend; the
/// provided bodies run on every backend.
#[backend_extension(
    Autodiff: cfg(feature = "autodiff"),
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "_cube"),
    Fusion: cfg(feature = "_cube"),
)]
pub trait PerceiverOps: Backend {
    /// See [`attention`](fn@super::attention).
    #[fusion(default)]
    fn attention(#[extension_type] input: AttentionInput<Self>) -> FloatTensor<Self> {
        Self::attention_forward(input).output
    }

    /// Attention with the log-sum-exp of the scores, from which
    /// [`attention_backward`](Self::attention_backward) recomputes the probabilities.
    #[fusion(meta = specs::attention)]
    fn attention_forward(#[extension_type] input: AttentionInput<Self>) -> AttentionOutput<Self> {
        attention::generic(input)
    }

    /// Gradients of queries, keys and values, from the input and the result of
    /// [`attention_forward`](Self::attention_forward).
    #[fusion(meta = specs::attention_backward)]
    fn attention_backward(
        #[extension_type] input: AttentionInput<Self>,
        #[extension_type] output: AttentionOutput<Self>,
        output_gradient: FloatTensor<Self>,
    ) -> AttentionGradients<Self> {
        backward::attention::generic(input, output, output_gradient)
    }

    /// See [`gather_attend`](fn@super::gather_attend). The log-sum-exp is the last channel of the
    /// result, `[batch, heads, queries, content_channels + axes + 1]`.
    #[fusion(meta = specs::gather)]
    fn gather_attend(#[extension_type] input: GatherInput<Self>) -> FloatTensor<Self> {
        gather::generic(input)
    }

    /// Gradients of content queries, axis scores and, if `tracked_tokens`, tokens, from the input
    /// and the result of [`gather_attend`](Self::gather_attend).
    #[fusion(meta = specs::gather_backward)]
    fn gather_attend_backward(
        #[extension_type] input: GatherInput<Self>,
        packed: FloatTensor<Self>,
        packed_gradient: FloatTensor<Self>,
        tracked_tokens: bool,
    ) -> GatherGradients<Self> {
        backward::gather::generic(input, packed, packed_gradient, tracked_tokens)
    }

    /// See [`scatter_attend`](fn@super::scatter_attend).
    #[fusion(default)]
    fn scatter_attend(#[extension_type] input: ScatterInput<Self>) -> FloatTensor<Self> {
        Self::scatter_attend_forward(input).output
    }

    /// The decoder direction with the log-sum-exp of the scores, from which
    /// [`scatter_attend_backward`](Self::scatter_attend_backward) recomputes the probabilities.
    #[fusion(meta = specs::scatter)]
    fn scatter_attend_forward(
        #[extension_type] input: ScatterInput<Self>,
    ) -> AttentionOutput<Self> {
        scatter::generic(input)
    }

    /// Gradients of content keys, axis scores, key bias, values and, if `tracked_tokens`, tokens,
    /// from the input and the result of
    /// [`scatter_attend_forward`](Self::scatter_attend_forward).
    #[fusion(meta = specs::scatter_backward)]
    fn scatter_attend_backward(
        #[extension_type] input: ScatterInput<Self>,
        #[extension_type] output: AttentionOutput<Self>,
        output_gradient: FloatTensor<Self>,
        tracked_tokens: bool,
    ) -> ScatterGradients<Self> {
        backward::scatter::generic(input, output, output_gradient, tracked_tokens)
    }

    /// The exact GELU, `x Φ(x)`, of an array of any shape.
    #[fusion(default)]
    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        generic_gelu::<Self>(x)
    }

    /// The gradient of `x`, from the gradient of its GELU.
    #[fusion(default)]
    fn exact_gelu_backward(
        x: FloatTensor<Self>,
        output_gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        generic_gelu_backward::<Self>(x, output_gradient)
    }

    /// `x weight + bias`, with `x` `[..., channels_in]`.
    #[fusion(default)]
    fn affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        affine::generic::<Self>(x, weight, bias)
    }

    /// `x weight`, the first step of a linear layer with more than one output channel.
    #[fusion(meta = specs::product)]
    fn product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(x, weight)
    }

    /// The gradient of `x`, from the gradient of [`affine`](Self::affine).
    #[fusion(default)]
    fn affine_input_backward(
        weight: FloatTensor<Self>,
        output_gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        affine::generic_input_backward::<Self>(weight, output_gradient)
    }

    /// Gradients of weight and bias, from the gradient of [`affine`](Self::affine).
    #[fusion(meta = specs::affine_parameters_backward)]
    fn affine_parameters_backward(
        x: FloatTensor<Self>,
        output_gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        affine::generic_parameters_backward::<Self>(x, output_gradient)
    }

    /// Layer normalisation of `[..., channels]`.
    #[fusion(dtype = x, shape = x)]
    fn normalise(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        normalise::generic::<Self>(x, gamma, beta, epsilon)
    }

    /// Gradients of `x`, gamma and beta, from the gradient of [`normalise`](Self::normalise).
    #[fusion(meta = |x, gamma, _gradient, _epsilon| (x.clone(), gamma.clone(), gamma.clone()))]
    fn normalise_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        output_gradient: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        normalise::generic_backward::<Self>(x, gamma, output_gradient, epsilon)
    }
}

pub(super) fn generic_gelu<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::gelu(x)
}

/// `Φ(x) + x φ(x)`. Burn's own gradient is that of the tanh approximation, which shifts the gradients
/// of a whole model by a thousandth.
pub(super) fn generic_gelu_backward<B: Backend>(
    x: FloatTensor<B>,
    output_gradient: FloatTensor<B>,
) -> FloatTensor<B> {
    let erf = B::float_erf(B::float_mul_scalar(x.clone(), FRAC_1_SQRT_2.into()));
    let area = B::float_add_scalar(B::float_mul_scalar(erf, 0.5.into()), 0.5.into());
    let square = B::float_mul(x.clone(), x.clone());
    let density = B::float_exp(B::float_mul_scalar(square, (-0.5).into()));
    let density = B::float_mul_scalar(density, (0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2).into());
    let slope = B::float_add(area, B::float_mul(x, density));
    B::float_mul(slope, output_gradient)
}

#[cfg(feature = "ndarray")]
impl PerceiverOps for burn::backend::NdArray {}
