//! The operations every Perceiver is made of: three of attention, and the layers between them.
//!
//! - [`attention`]: scaled dot-product attention between dense arrays;
//! - [`gather_attend`]: the encoder direction, few dense queries over many factored tokens;
//! - [`scatter_attend`]: the decoder direction, many factored queries over few dense keys;
//! - [`linear`] and [`layer_norm`]: burn's layers, with gradients of one operation each.
//!
//! Attention streams over its long side and never holds a whole score matrix. [`PerceiverOps`] gives
//! every burn backend one body in terms of its own primitives; a backend may override it.
//! `docs/structured-attention.md` derives the factored forms.
#![allow(
    missing_debug_implementations,
    reason = "the derived Debug is bounded by the backend's tensors, which the lint does not see"
)]
#![allow(deprecated, reason = "burn deprecates ndarray in 0.22; it is tested until 0.23 drops it")]

mod affine;
mod attention;
#[cfg(feature = "autodiff")]
mod autodiff;
mod backend;
mod backward;
mod blocks;
#[cfg(feature = "_cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
mod gather;
mod normalise;
mod scatter;
#[cfg(feature = "_cube")]
mod specs;
mod tokens;
mod values;

use burn::backend::Dispatch;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{DType, Int, Tensor};

pub use attention::attention_probabilities;
pub use backend::PerceiverOps;
pub use values::*;

use crate::KeyMask;
use crate::init::LAYER_NORM_EPSILON;

/// Attention between dense arrays: `softmax(scale queries keysᵀ) values`, head by head.
///
/// A row whose keys are all hidden attends to all of them equally.
///
/// # Shapes
/// - `queries`: `[batch, heads, queries, qk_channels]`
/// - `keys`: `[batch, heads, keys, qk_channels]`
/// - `values`: `[batch, heads, keys, v_channels]`
/// - `mask`: `[batch, keys]`
/// - returns: `[batch, heads, queries, v_channels]`
///
/// # Panics
/// If the shapes disagree.
///
/// # Source
/// `PerceiverSelfAttention.forward`.
#[must_use]
pub fn attention(
    queries: Tensor<4>,
    keys: Tensor<4>,
    values: Tensor<4>,
    mask: Option<&KeyMask>,
    scale: f64,
) -> Tensor<4> {
    let [batch, heads, _, qk_channels] = queries.dims();
    let [_, _, key_count, v_channels] = values.dims();
    burn::tensor::assert_shape!(keys, [batch, heads, key_count, qk_channels]);
    burn::tensor::assert_shape!(values, [batch, heads, key_count, v_channels]);
    assert_mask(mask, batch, key_count);
    Tensor::from_dispatch(<Dispatch as PerceiverOps>::attention(
        queries.into_dispatch(),
        keys.into_dispatch(),
        values.into_dispatch(),
        hidden_keys(mask),
        scale,
    ))
}

/// The same with the log-sum-exp of the scores, `[batch, heads, queries, 1]`, with which attention
/// to several arrays merges exactly.
pub(crate) fn attention_with_log_sum_exp(
    queries: Tensor<4>,
    keys: Tensor<4>,
    values: Tensor<4>,
    mask: Option<&KeyMask>,
    scale: f64,
) -> (Tensor<4>, Tensor<4>) {
    let (attended, log_sum_exp) = <Dispatch as PerceiverOps>::attention_forward(
        queries.into_dispatch(),
        keys.into_dispatch(),
        values.into_dispatch(),
        hidden_keys(mask),
        scale,
    );
    (Tensor::from_dispatch(attended), Tensor::from_dispatch(log_sum_exp))
}

/// The encoder direction: dense queries attend to one segment of factored tokens.
///
/// With token `j` at cell `(k₁ … kₙ)` of the grid,
/// `score[i, j] = token_scale[j] · (content_queries[i] · content[j] + Σₐ axis_scores[i, a, kₐ])`
/// and `weight[i, j] = softmaxⱼ(score[i, j]) · token_scale[j]`. Instead of attended values come
/// the sums from which the caller assembles them, and the log-sum-exp of the scores, with which
/// segments merge exactly: `exp(lse_segment − lse_all)` weighs them.
///
/// # Shapes
/// - `content_queries`: `[batch, heads, queries, content_channels]`
/// - `axis_scores`: `[batch, heads, queries, axes]`, the axes' scores one after the other
/// - `content`: `[batch, tokens, content_channels]`, at least one channel
/// - `token_scale`: `[batch, tokens]`
/// - `mask`: `[batch, tokens]`
/// - `grid`: length of every axis, slowest first; their product is `tokens`, their sum `axes`
/// - returns: `[batch, heads, queries, content_channels + axes]`, the sums `Σⱼ weight content`
///   followed by each axis' marginals of `weight`; and `[batch, heads, queries, 1]`, log-sum-exp
///
/// # Panics
/// If the shapes disagree.
#[must_use]
pub fn gather_attend(
    content_queries: Tensor<4>,
    axis_scores: Tensor<4>,
    content: Tensor<3>,
    token_scale: Tensor<2>,
    mask: Option<&KeyMask>,
    grid: &[usize],
) -> (Tensor<4>, Tensor<4>) {
    let [batch, heads, queries, content_channels] = content_queries.dims();
    let tokens: usize = grid.iter().product();
    let axes: usize = grid.iter().sum();
    burn::tensor::assert_shape!(axis_scores, [batch, heads, queries, axes]);
    burn::tensor::assert_shape!(content, [batch, tokens, content_channels]);
    burn::tensor::assert_shape!(token_scale, [batch, tokens]);
    assert_mask(mask, batch, tokens);
    let packed = <Dispatch as PerceiverOps>::gather_attend(
        content_queries.into_dispatch(),
        axis_scores.into_dispatch(),
        content.into_dispatch(),
        token_scale.into_dispatch(),
        hidden_keys(mask),
        grid.to_vec(),
    );
    let packed: Tensor<4> = Tensor::from_dispatch(packed);
    let sums = packed.clone().narrow(3, 0, content_channels + axes);
    (sums, packed.narrow(3, content_channels + axes, 1))
}

/// The decoder direction: factored tokens are the queries of one segment, keys are dense.
///
/// With token `i` at cell `(k₁ … kₙ)` of the grid, `score[i, j] = token_scale[i] ·
/// (content[i] · content_keys[j] + Σₐ axis_scores[j, a, kₐ]) + key_bias[j]`, and the result is
/// `softmaxⱼ(score) values`.
///
/// # Shapes
/// - `content`: `[batch, tokens, content_channels]`, at least one channel
/// - `token_scale`: `[batch, tokens]`
/// - `content_keys`: `[batch, heads, keys, content_channels]`
/// - `axis_scores`: `[batch, heads, keys, axes]`, the axes' scores one after the other
/// - `key_bias`: `[batch, heads, keys]`
/// - `values`: `[batch, heads, keys, v_channels]`
/// - `points`: `[tokens]`, flat indices into the grid; every cell in order when absent
/// - `grid`: length of every axis, slowest first; their sum is `axes`
/// - returns: `[batch, heads, tokens, v_channels]`
///
/// # Panics
/// If the shapes disagree.
#[must_use]
#[allow(clippy::too_many_arguments, reason = "the operation has this many tensors")]
pub fn scatter_attend(
    content: Tensor<3>,
    token_scale: Tensor<2>,
    content_keys: Tensor<4>,
    axis_scores: Tensor<4>,
    key_bias: Tensor<3>,
    values: Tensor<4>,
    points: Option<Tensor<1, Int>>,
    grid: &[usize],
) -> Tensor<4> {
    let [batch, heads, keys, content_channels] = content_keys.dims();
    let tokens = points.as_ref().map_or_else(|| grid.iter().product(), |p| p.dims()[0]);
    let axes: usize = grid.iter().sum();
    burn::tensor::assert_shape!(content, [batch, tokens, content_channels]);
    burn::tensor::assert_shape!(token_scale, [batch, tokens]);
    burn::tensor::assert_shape!(axis_scores, [batch, heads, keys, axes]);
    burn::tensor::assert_shape!(key_bias, [batch, heads, keys]);
    burn::tensor::assert_shape!(values, [batch, heads, keys, _]);
    let points = match points {
        None => GridPoints::All,
        Some(points) => GridPoints::Some(points.into_dispatch()),
    };
    Tensor::from_dispatch(<Dispatch as PerceiverOps>::scatter_attend(
        content.into_dispatch(),
        token_scale.into_dispatch(),
        content_keys.into_dispatch(),
        axis_scores.into_dispatch(),
        key_bias.into_dispatch(),
        values.into_dispatch(),
        points,
        grid.to_vec(),
    ))
}

/// The exact GELU, `x Φ(x)`, between the linear maps of an MLP.
///
/// # Shapes
/// - `x`: any
/// - returns: the same
#[must_use]
pub(crate) fn gelu(x: Tensor<3>) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as PerceiverOps>::exact_gelu(x.into_dispatch()))
}

/// A linear layer: `x weight + bias`.
///
/// Burn's own [`Linear::forward`] multiplies example by example and sums the weight's gradients over
/// them.
///
/// # Shapes
/// - `x`: `[..., channels_in]`
/// - returns: `[..., channels_out]`
///
/// # Panics
/// If the layer has no bias or other channels.
#[must_use]
pub fn linear<const D: usize>(layer: &Linear, x: Tensor<D>) -> Tensor<D> {
    let bias = layer.bias.as_ref().expect("linear layers here have a bias");
    affine(x, layer.weight.val(), bias.val())
}

/// `x weight + bias`.
pub(crate) fn affine<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
) -> Tensor<D> {
    let [channels_in, channels_out] = weight.dims();
    burn::tensor::assert_shape!(bias, [channels_out]);
    assert_eq!(x.dims()[D - 1], channels_in, "the input has another number of channels");
    let output = <Dispatch as PerceiverOps>::affine(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    );
    Tensor::from_dispatch(output)
}

/// Layer normalisation over the last axis, whose gradient is one operation.
///
/// Adds 1e-5 to the variance, as the reference does.
///
/// # Shapes
/// - `x`: `[..., channels]`
/// - returns: the same
///
/// # Panics
/// If the layer has other channels or no bias.
#[must_use]
pub fn layer_norm<const D: usize>(layer: &LayerNorm, x: Tensor<D>) -> Tensor<D> {
    let [channels] = layer.gamma.dims();
    assert_eq!(x.dims()[D - 1], channels, "the input has another number of channels");
    // Half precision is widened by burn's layer.
    if !matches!(x.dtype(), DType::F32 | DType::F64) {
        return layer.forward(x);
    }
    let beta = layer.beta.as_ref().expect("normalisations here have a bias");
    let output = <Dispatch as PerceiverOps>::normalise(
        x.into_dispatch(),
        layer.gamma.val().into_dispatch(),
        beta.val().into_dispatch(),
        LAYER_NORM_EPSILON,
    );
    Tensor::from_dispatch(output)
}

fn hidden_keys(mask: Option<&KeyMask>) -> HiddenKeys<Dispatch> {
    match mask {
        None => HiddenKeys::None,
        Some(mask) => HiddenKeys::Some(mask.hidden().into_dispatch()),
    }
}

/// # Panics
/// If the mask has another shape.
pub(crate) fn assert_mask(mask: Option<&KeyMask>, batch: usize, keys: usize) {
    if let Some(mask) = mask {
        assert_eq!(mask.dims(), [batch, keys], "the mask has another shape than the keys");
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::nn::LayerNormConfig;
    use burn::tensor::Device;

    use super::*;

    /// Six channels are two times three to a body that sees numbers only.
    #[test]
    #[should_panic(expected = "the input has another number of channels")]
    fn a_normalisation_of_other_channels_is_refused() {
        let layer = LayerNormConfig::new(3).init(&Device::flex());
        let _ = layer_norm(&layer, Tensor::<2>::zeros([2, 6], &Device::flex()));
    }
}
