//! The operations of a Perceiver: three kinds of attention, and the layers between them.
//!
//! - [`attention`]: scaled dot-product attention between dense arrays;
//! - [`gather_attend`]: the encoder direction, few dense queries over many factored tokens;
//! - [`scatter_attend`]: the decoder direction, many factored queries over few dense keys;
//! - [`linear`] and [`layer_norm`]: burn's layers, each with one operation as its gradient.
//!
//! Attention streams over its long side and never holds a whole score matrix. [`PerceiverOps`] gives
//! each operation a body in the primitives of any burn backend, which a backend may override.
//! `docs/structured-attention.md` derives the factored forms.
#![allow(
    missing_debug_implementations,
    reason = "the derived Debug is bounded by the backend's tensors, which the lint does not see"
)]
#![allow(deprecated, reason = "burn deprecates ndarray in 0.22; it stays until 0.23 removes it")]

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

use burn::backend::{Dispatch, DispatchTensor, TensorMetadata};
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{DType, Tensor};

pub use attention::attention_probabilities;
pub use backend::PerceiverOps;
pub use values::*;

use crate::KeyMask;
use crate::init::LAYER_NORM_EPSILON;

/// Attention between dense arrays: `softmax(scale queries keysᵀ) values`, head by head.
///
/// A query whose keys are all hidden attends to all of them equally.
///
/// # Shapes
/// - `input`: as its fields say
/// - returns: `[batch, heads, queries, v_channels]`
///
/// # Panics
/// If the shapes disagree.
///
/// # Source
/// `PerceiverSelfAttention.forward`.
#[must_use]
pub fn attention(input: AttentionInput<Dispatch>) -> Tensor<4> {
    let [batch, heads, _, qk_channels] = dims(&input.queries, "queries");
    let [_, _, keys, v_channels] = dims(&input.values, "values");
    assert_dims(&input.keys, "keys", [batch, heads, keys, qk_channels]);
    assert_dims(&input.values, "values", [batch, heads, keys, v_channels]);
    assert_hidden(&input.hidden, batch, keys);
    Tensor::from_dispatch(Dispatch::attention(input))
}

/// Attention with the log-sum-exp of the scores, `[batch, heads, queries, 1]`, by which attention to
/// several arrays merges exactly.
pub(crate) fn attention_with_log_sum_exp(
    input: AttentionInput<Dispatch>,
) -> (Tensor<4>, Tensor<4>) {
    let AttentionOutput { output, log_sum_exp } = Dispatch::attention_forward(input);
    (Tensor::from_dispatch(output), Tensor::from_dispatch(log_sum_exp))
}

/// The encoder direction: dense queries attend to one segment of factored tokens.
///
/// With token `j` at cell `(k₁ … kₙ)` of the grid,
/// `score[i, j] = scale[j] · (content_queries[i] · content[j] + Σₐ axis_scores[i, a, kₐ])`
/// and `weight[i, j] = softmaxⱼ(score[i, j]) · scale[j]`. Instead of attended values it returns the
/// sums from which the caller assembles them, and the log-sum-exp of the scores, by which segments
/// merge exactly: `exp(lse_segment − lse_all)` is the weight of a segment.
///
/// # Shapes
/// - `input`: as its fields say
/// - returns: `[batch, heads, queries, content_channels + axes]`, the sums `Σⱼ weight content`
///   followed by the marginals of `weight` over each axis; and `[batch, heads, queries, 1]`, the
///   log-sum-exp
///
/// # Panics
/// If the shapes disagree.
#[must_use]
pub fn gather_attend(input: GatherInput<Dispatch>) -> (Tensor<4>, Tensor<4>) {
    let [batch, heads, queries, content_channels] = dims(&input.content_queries, "content queries");
    let tokens = input.tokens.grid.iter().product();
    let axes = input.tokens.grid.iter().sum::<usize>();
    assert_dims(&input.axis_scores, "axis scores", [batch, heads, queries, axes]);
    input.tokens.assert_dims(batch, tokens, content_channels);
    assert_hidden(&input.hidden, batch, tokens);
    let packed: Tensor<4> = Tensor::from_dispatch(Dispatch::gather_attend(input));
    let sums = packed.clone().narrow(3, 0, content_channels + axes);
    (sums, packed.narrow(3, content_channels + axes, 1))
}

/// The decoder direction: factored tokens are the queries of one segment, keys are dense.
///
/// With token `i` at cell `(k₁ … kₙ)` of the grid, `score[i, j] = scale[i] ·
/// (content[i] · content_keys[j] + Σₐ axis_scores[j, a, kₐ]) + key_bias[j]`, and the result is
/// `softmaxⱼ(score) values`.
///
/// # Shapes
/// - `input`: as its fields say
/// - returns: `[batch, heads, tokens, v_channels]`
///
/// # Panics
/// If the shapes disagree.
#[must_use]
pub fn scatter_attend(input: ScatterInput<Dispatch>) -> Tensor<4> {
    let [batch, heads, keys, content_channels] = dims(&input.content_keys, "content keys");
    let [_, _, _, v_channels] = dims(&input.values, "values");
    let tokens = match &input.points {
        GridPoints::All => input.tokens.grid.iter().product(),
        GridPoints::Some(points) => points.shape()[0],
    };
    let axes = input.tokens.grid.iter().sum();
    input.tokens.assert_dims(batch, tokens, content_channels);
    assert_dims(&input.axis_scores, "axis scores", [batch, heads, keys, axes]);
    assert_dims(&input.key_bias, "key bias", [batch, heads, keys]);
    assert_dims(&input.values, "values", [batch, heads, keys, v_channels]);
    Tensor::from_dispatch(Dispatch::scatter_attend(input))
}

/// The exact GELU, `x Φ(x)`, between the linear maps of an MLP.
///
/// # Shapes
/// - `x`: any
/// - returns: the same
#[must_use]
pub(crate) fn gelu(x: Tensor<3>) -> Tensor<3> {
    Tensor::from_dispatch(Dispatch::exact_gelu(x.into_dispatch()))
}

/// A linear layer: `x weight + bias`.
///
/// Burn's own [`Linear::forward`] multiplies each example separately, then sums the gradients of the
/// weight over the examples.
///
/// # Shapes
/// - `x`: `[..., channels_in]`
/// - returns: `[..., channels_out]`
///
/// # Panics
/// If the layer has no bias, or `x` has more or fewer channels than the layer takes.
#[must_use]
pub fn linear<const D: usize>(layer: &Linear, x: Tensor<D>) -> Tensor<D> {
    let bias = layer.bias.as_ref().expect("the linear layer has a bias");
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
    assert_channels(&x, channels_in);
    let output = Dispatch::affine(x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(output)
}

/// Layer normalisation over the last axis, with one operation as its gradient.
///
/// It adds 1e-5 to the variance, as the reference does.
///
/// # Shapes
/// - `x`: `[..., channels]`
/// - returns: the same
///
/// # Panics
/// If the layer has no bias, or `x` has more or fewer channels than the layer.
#[must_use]
pub fn layer_norm<const D: usize>(layer: &LayerNorm, x: Tensor<D>) -> Tensor<D> {
    let [channels] = layer.gamma.dims();
    assert_channels(&x, channels);
    // Burn's layer widens half precision.
    if !matches!(x.dtype(), DType::F32 | DType::F64) {
        return layer.forward(x);
    }
    let beta = layer.beta.as_ref().expect("the normalisation has a bias");
    let output = Dispatch::normalise(
        x.into_dispatch(),
        layer.gamma.val().into_dispatch(),
        beta.val().into_dispatch(),
        LAYER_NORM_EPSILON,
    );
    Tensor::from_dispatch(output)
}

impl FactoredTokens<Dispatch> {
    fn assert_dims(&self, batch: usize, tokens: usize, content_channels: usize) {
        assert_dims(&self.content, "content", [batch, tokens, content_channels]);
        assert_dims(&self.scale, "token scale", [batch, tokens]);
    }
}

fn assert_channels<const D: usize>(x: &Tensor<D>, expected: usize) {
    let found = x.dims()[D - 1];
    assert!(found == expected, "the input has {found} channels, expected {expected}");
}

/// # Panics
/// If the mask is not `[batch, keys]`.
fn assert_hidden(hidden: &HiddenKeys<Dispatch>, batch: usize, keys: usize) {
    if let HiddenKeys::Some(hidden) = hidden {
        assert_dims(hidden, "mask", [batch, keys]);
    }
}

fn assert_dims<const D: usize>(array: &DispatchTensor, name: &str, expected: [usize; D]) {
    let found = &array.shape()[..];
    assert!(found == expected, "shape of the {name} is {found:?}, expected {expected:?}");
}

fn dims<const D: usize>(array: &DispatchTensor, name: &str) -> [usize; D] {
    let found = &array.shape()[..];
    <[usize; D]>::try_from(found)
        .unwrap_or_else(|_| panic!("shape of the {name} is {found:?}, expected {D} axes"))
}

/// # Panics
/// If the mask is not `[batch, keys]`.
pub(crate) fn assert_mask(mask: Option<&KeyMask>, batch: usize, keys: usize) {
    assert_hidden(&mask.into(), batch, keys);
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::nn::LayerNormConfig;
    use burn::tensor::Device;

    use super::*;

    /// A body that sees only numbers would take six channels for two rows of three.
    #[test]
    #[should_panic(expected = "the input has 6 channels, expected 3")]
    fn a_normalisation_of_other_channels_is_refused() {
        let layer = LayerNormConfig::new(3).init(&Device::flex());
        let _ = layer_norm(&layer, Tensor::<2>::zeros([2, 6], &Device::flex()));
    }
}
