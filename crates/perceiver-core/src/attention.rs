mod cost;
mod cross;
mod factored;
mod gather;
mod maps;
mod moments;
mod prepared;
#[cfg(all(test, feature = "flex"))]
pub(crate) mod tests;

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, LayerNorm, Linear};
use burn::tensor::{Device, Tensor};

use crate::init::layer_norm;
use crate::ops::{self, AttentionInput};
use crate::{Initialisation, KeyMask};

pub use cross::CrossAttention;
pub use maps::AttentionMaps;
pub(crate) use prepared::PreparedAttention;

/// Sizes of an attention module.
#[derive(Debug, Clone)]
pub struct AttentionConfig {
    /// Channels of the array that the queries come from, and of the result.
    pub query_channels: usize,
    /// Channels of the array that is attended to; equal to `query_channels` in self-attention.
    pub input_channels: usize,
    /// Channels of projected queries and keys, over all heads.
    pub qk_channels: usize,
    /// Channels of projected values, over all heads.
    pub v_channels: usize,
    /// Attention heads; divides `qk_channels` and `v_channels`.
    pub heads: usize,
    /// If true, cross-attention adds the queries to its result. Self-attention always does.
    pub query_residual: bool,
    /// Probability of dropping a key for a query in training.
    pub dropout: f64,
}

/// Residual self-attention: attention of an array to itself, added to that array.
///
/// # Source
/// `PerceiverAttention` with `is_cross_attention=False`.
#[derive(Module, Debug)]
pub struct SelfAttention {
    projections: SelfProjections,
    output: Linear,
}

/// `attention.self` in a checkpoint.
#[derive(Module, Debug)]
struct SelfProjections {
    layernorm1: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    dropout: Dropout,
    heads: usize,
}

/// The result of attention, `[batch, queries, query_channels]`, and the probabilities behind it if
/// requested, `[batch, heads, queries, keys]`.
pub(crate) type Attended = (Tensor<3>, Option<Tensor<4>>);

impl SelfAttention {
    /// Fresh parameters.
    #[must_use]
    pub fn new(config: &AttentionConfig, init: Initialisation, device: &Device) -> Self {
        let channels = config.query_channels;
        Self {
            projections: SelfProjections {
                layernorm1: layer_norm(channels, device),
                query: init.linear(channels, config.qk_channels, device),
                key: init.linear(channels, config.qk_channels, device),
                value: init.linear(channels, config.v_channels, device),
                dropout: DropoutConfig::new(config.dropout).init(),
                heads: config.heads,
            },
            output: init.linear(config.v_channels, channels, device),
        }
    }

    /// # Shapes
    /// - `tokens`: `[batch, tokens, query_channels]`
    /// - returns: the same, and `[batch, heads, tokens, tokens]` if `probabilities`
    #[must_use]
    pub fn forward(
        &self,
        tokens: Tensor<3>,
        probabilities: bool,
    ) -> (Tensor<3>, Option<Tensor<4>>) {
        let projections = &self.projections;
        let normed = ops::layer_norm(&projections.layernorm1, tokens.clone());
        let (attended, maps) = attend(
            ops::linear(&projections.query, normed.clone()),
            ops::linear(&projections.key, normed.clone()),
            ops::linear(&projections.value, normed),
            projections.heads,
            None,
            &projections.dropout,
            probabilities,
        );
        (ops::linear(&self.output, attended) + tokens, maps)
    }
}

/// Splits projected arrays into heads, attends, and joins the heads.
///
/// Dropout acts on individual probabilities, so training with dropout takes the dense path.
fn attend(
    queries: Tensor<3>,
    keys: Tensor<3>,
    values: Tensor<3>,
    heads: usize,
    mask: Option<&KeyMask>,
    dropout: &Dropout,
    probabilities: bool,
) -> Attended {
    let [batch, query_count, qk_channels] = queries.dims();
    let [_, _, v_channels] = values.dims();
    let scale = 1.0 / ((qk_channels / heads) as f64).sqrt();
    let device = queries.device();
    let [queries, keys, values] = [queries, keys, values].map(|x| split_heads(x, heads));
    let (attended, maps) = if probabilities || drops(dropout, &device) {
        let weights = ops::attention_probabilities(queries, keys, mask, scale);
        let weights = dropout.forward(weights);
        (weights.clone().matmul(values), probabilities.then_some(weights))
    } else {
        let input = AttentionInput::new(queries, keys, values);
        (ops::attention(input.mask(mask).scale(scale)), None)
    };
    (attended.swap_dims(1, 2).reshape([batch, query_count, v_channels]), maps)
}

/// `[batch, tokens, channels]` to `[batch, heads, tokens, channels / heads]`.
fn split_heads(tokens: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, count, channels] = tokens.dims();
    tokens.reshape([batch, count, heads, channels / heads]).swap_dims(1, 2)
}

/// A projection's weight `[channels, heads · head_channels]` as
/// `[1, heads, head_channels, channels]`.
fn heads_first(weight: Tensor<2>, heads: usize) -> Tensor<4> {
    let [channels, width] = weight.dims();
    weight.transpose().reshape([1, heads, width / heads, channels])
}

/// The product of each row, `[batch, heads, rows, channels]`, with one vector,
/// `[1, heads or 1, 1, channels]`, computed as a sum; see `ops/affine.rs`.
fn dot(rows: Tensor<4>, vector: Tensor<4>) -> Tensor<4> {
    (rows * vector).sum_dim(3)
}

/// Expands an array that all examples share, `[1, ...]`, to `[batch, ...]`.
fn expand_batch<const D: usize>(shared: Tensor<D>, batch: usize) -> Tensor<D> {
    let mut dims = shared.dims();
    dims[0] = batch;
    shared.expand(dims)
}

/// True in training with dropout.
fn drops(dropout: &Dropout, device: &Device) -> bool {
    dropout.prob > 0.0 && dropout.training.is_enabled() && device.is_autodiff()
}
