//! The operations as a backend implements them.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

#[cfg(feature = "_cube")]
use super::specs;
use super::values::*;
use super::{affine, attention, backward, gather, normalise, scatter};

/// The attention operations in terms of a backend's own tensors.
///
/// Call the functions of [`ops`](crate::ops); implement this trait to bring a backend of your own.
/// The provided bodies run on every backend.
#[backend_extension(
    Autodiff: cfg(feature = "autodiff"),
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "_cube"),
    Fusion: cfg(feature = "_cube"),
)]
#[allow(clippy::too_many_arguments, reason = "the operations have this many tensors")]
pub trait PerceiverOps: Backend {
    /// See [`attention`](fn@super::attention).
    #[fusion(default)]
    fn attention(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        #[extension_type] hidden: HiddenKeys<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        Self::attention_forward(queries, keys, values, hidden, scale).0
    }

    /// Attention and the scores' log-sum-exp, `[batch, heads, queries, 1]`, from which
    /// [`attention_backward`](Self::attention_backward) recomputes the probabilities.
    #[fusion(meta = specs::attention)]
    fn attention_forward(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        #[extension_type] hidden: HiddenKeys<Self>,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        attention::generic::<Self>(queries, keys, values, hidden, scale)
    }

    /// Gradients of queries, keys and values, from what
    /// [`attention_forward`](Self::attention_forward) took and returned.
    #[fusion(meta = specs::attention_backward)]
    fn attention_backward(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        output: FloatTensor<Self>,
        log_sum_exp: FloatTensor<Self>,
        output_gradient: FloatTensor<Self>,
        #[extension_type] hidden: HiddenKeys<Self>,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        backward::attention::generic::<Self>(
            queries,
            keys,
            values,
            output,
            log_sum_exp,
            output_gradient,
            hidden,
            scale,
        )
    }

    /// See [`gather_attend`](fn@super::gather_attend). The log-sum-exp is the last channel of the result,
    /// `[batch, heads, queries, content_channels + axes + 1]`.
    #[fusion(meta = specs::gather)]
    fn gather_attend(
        content_queries: FloatTensor<Self>,
        axis_scores: FloatTensor<Self>,
        content: FloatTensor<Self>,
        token_scale: FloatTensor<Self>,
        #[extension_type] hidden: HiddenKeys<Self>,
        grid: Vec<usize>,
    ) -> FloatTensor<Self> {
        gather::generic::<Self>(content_queries, axis_scores, content, token_scale, hidden, grid)
    }

    /// Gradients of content queries, axis scores and, if `tracked_tokens`, tokens, from what
    /// [`gather_attend`](Self::gather_attend) took and returned: `packed` and its gradient.
    #[fusion(meta = specs::gather_backward)]
    fn gather_attend_backward(
        content_queries: FloatTensor<Self>,
        axis_scores: FloatTensor<Self>,
        content: FloatTensor<Self>,
        token_scale: FloatTensor<Self>,
        packed: FloatTensor<Self>,
        packed_gradient: FloatTensor<Self>,
        #[extension_type] hidden: HiddenKeys<Self>,
        grid: Vec<usize>,
        tracked_tokens: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, TokenGradients<Self>) {
        backward::gather::generic::<Self>(
            content_queries,
            axis_scores,
            content,
            token_scale,
            packed,
            packed_gradient,
            hidden,
            grid,
            tracked_tokens,
        )
    }

    /// See [`scatter_attend`](fn@super::scatter_attend).
    #[fusion(default)]
    fn scatter_attend(
        content: FloatTensor<Self>,
        token_scale: FloatTensor<Self>,
        content_keys: FloatTensor<Self>,
        axis_scores: FloatTensor<Self>,
        key_bias: FloatTensor<Self>,
        values: FloatTensor<Self>,
        #[extension_type] points: GridPoints<Self>,
        grid: Vec<usize>,
    ) -> FloatTensor<Self> {
        Self::scatter_attend_forward(
            content,
            token_scale,
            content_keys,
            axis_scores,
            key_bias,
            values,
            points,
            grid,
        )
        .0
    }

    /// The decoder direction and its scores' log-sum-exp, `[batch, heads, tokens, 1]`.
    #[fusion(meta = specs::scatter)]
    fn scatter_attend_forward(
        content: FloatTensor<Self>,
        token_scale: FloatTensor<Self>,
        content_keys: FloatTensor<Self>,
        axis_scores: FloatTensor<Self>,
        key_bias: FloatTensor<Self>,
        values: FloatTensor<Self>,
        #[extension_type] points: GridPoints<Self>,
        grid: Vec<usize>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        scatter::generic::<Self>(
            content,
            token_scale,
            content_keys,
            axis_scores,
            key_bias,
            values,
            points,
            grid,
        )
    }

    /// Gradients of content keys, axis scores, key bias, values and, if `tracked_tokens`, tokens,
    /// from what [`scatter_attend_forward`](Self::scatter_attend_forward) took and returned.
    #[fusion(meta = specs::scatter_backward)]
    #[allow(clippy::type_complexity, reason = "the operation has this many gradients")]
    fn scatter_attend_backward(
        content: FloatTensor<Self>,
        token_scale: FloatTensor<Self>,
        content_keys: FloatTensor<Self>,
        axis_scores: FloatTensor<Self>,
        key_bias: FloatTensor<Self>,
        values: FloatTensor<Self>,
        output: FloatTensor<Self>,
        log_sum_exp: FloatTensor<Self>,
        output_gradient: FloatTensor<Self>,
        #[extension_type] points: GridPoints<Self>,
        grid: Vec<usize>,
        tracked_tokens: bool,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        TokenGradients<Self>,
    ) {
        backward::scatter::generic::<Self>(
            content,
            token_scale,
            content_keys,
            axis_scores,
            key_bias,
            values,
            output,
            log_sum_exp,
            output_gradient,
            points,
            grid,
            tracked_tokens,
        )
    }

    /// The exact GELU, `x Φ(x)`, of any shape.
    #[fusion(default)]
    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        generic_gelu::<Self>(x)
    }

    /// The gradient of `x`, from that of its GELU.
    #[fusion(default)]
    fn exact_gelu_backward(
        x: FloatTensor<Self>,
        output_gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        generic_gelu_backward::<Self>(x, output_gradient)
    }

    /// `x weight + bias`, of `[..., channels_in]`.
    #[fusion(default)]
    fn affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        affine::generic::<Self>(x, weight, bias)
    }

    /// `x weight`, which a linear layer of more than one output channel begins with.
    #[fusion(meta = specs::product)]
    fn product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(x, weight)
    }

    /// The gradient of `x`, from that of [`affine`](Self::affine).
    #[fusion(default)]
    fn affine_input_backward(
        weight: FloatTensor<Self>,
        output_gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        affine::generic_input_backward::<Self>(weight, output_gradient)
    }

    /// Gradients of weight and bias, from that of [`affine`](Self::affine).
    #[fusion(meta = specs::affine_parameters_backward)]
    fn affine_parameters_backward(
        x: FloatTensor<Self>,
        output_gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        affine::generic_parameters_backward::<Self>(x, output_gradient)
    }

    /// Layer normalisation of `[..., channels]`.
    #[fusion(meta = specs::normalise)]
    fn normalise(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        normalise::generic::<Self>(x, gamma, beta, epsilon)
    }

    /// Gradients of `x`, gamma and beta, from that of [`normalise`](Self::normalise).
    #[fusion(meta = specs::normalise_backward)]
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

/// `Φ(x) + x φ(x)`. Burn's own gradient is that of the tanh approximation, which moves gradients of
/// a whole model by a thousandth.
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
