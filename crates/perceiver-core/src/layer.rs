use burn::module::Module;
use burn::nn::LayerNorm;
use burn::tensor::{Device, Tensor};

use crate::attention::Attended;
use crate::init::layer_norm;
use crate::{
    Activation, AnswerStream, AttentionConfig, CrossAttention, Initialisation, KeyMask, LinearMap,
    Mlp, MlpConfig, SelfAttention, TokenArray, ops,
};

/// Sizes of a layer.
#[derive(Debug, Clone)]
pub struct LayerConfig {
    /// The attention.
    pub attention: AttentionConfig,
    /// Ratio of the hidden channels of the MLP to the query channels.
    pub widening_factor: usize,
    /// Activation of the MLP.
    pub activation: Activation,
    /// Tokens that the MLP processes at a time, to bound memory; zero means all of them. The result
    /// does not depend on it.
    pub feed_forward_chunk: usize,
}

/// Self-attention, then an MLP, both residual.
///
/// # Source
/// `PerceiverLayer` with `is_cross_attention=False`.
#[derive(Module, Debug)]
pub struct SelfAttentionLayer {
    attention: SelfAttention,
    layernorm: LayerNorm,
    mlp: Mlp,
    feed_forward_chunk: usize,
}

/// Cross-attention, then a residual MLP.
///
/// # Source
/// `PerceiverLayer` with `is_cross_attention=True`.
#[derive(Module, Debug)]
pub struct CrossAttentionLayer {
    attention: CrossAttention,
    layernorm: LayerNorm,
    mlp: Mlp,
    feed_forward_chunk: usize,
}

impl SelfAttentionLayer {
    /// Fresh parameters.
    #[must_use]
    pub fn new(config: &LayerConfig, init: Initialisation, device: &Device) -> Self {
        Self {
            attention: SelfAttention::new(&config.attention, init, device),
            layernorm: layer_norm(config.attention.query_channels, device),
            mlp: Mlp::new(&config.mlp(), init, device),
            feed_forward_chunk: config.feed_forward_chunk,
        }
    }

    /// # Shapes
    /// - `tokens`: `[batch, tokens, query_channels]`
    /// - returns: the same, and `[batch, heads, tokens, tokens]` if `probabilities`
    #[must_use]
    pub fn forward(&self, tokens: Tensor<3>, probabilities: bool) -> Attended {
        let (attended, maps) = self.attention.forward(tokens, probabilities);
        (feed_forward(&self.layernorm, &self.mlp, self.feed_forward_chunk, attended), maps)
    }
}

impl CrossAttentionLayer {
    /// Fresh parameters.
    #[must_use]
    pub fn new(config: &LayerConfig, init: Initialisation, device: &Device) -> Self {
        Self {
            attention: CrossAttention::new(&config.attention, init, device),
            layernorm: layer_norm(config.attention.query_channels, device),
            mlp: Mlp::new(&config.mlp(), init, device),
            feed_forward_chunk: config.feed_forward_chunk,
        }
    }

    /// # Shapes
    /// - `queries`: `[batch, queries, query_channels]`
    /// - `inputs`: `[batch, keys, input_channels]`
    /// - `mask`: `[batch, keys]`
    /// - returns: `[batch, queries, query_channels]`, and `[batch, heads, queries, keys]` if
    ///   `probabilities`
    #[must_use]
    pub fn forward(
        &self,
        queries: &TokenArray,
        inputs: &TokenArray,
        mask: Option<&KeyMask>,
        probabilities: bool,
    ) -> Attended {
        let (attended, maps) = self.attention.forward(queries, inputs, mask, probabilities);
        (feed_forward(&self.layernorm, &self.mlp, self.feed_forward_chunk, attended), maps)
    }

    /// The result block by block, without a mask or probabilities. `last` gives a linear map that is
    /// applied to the answers of a segment, if any.
    ///
    /// # Shapes
    /// - `queries`: `[batch, queries, query_channels]`
    /// - `inputs`: `[batch, keys, input_channels]`
    #[must_use]
    pub fn stream(
        &self,
        queries: &TokenArray,
        inputs: Tensor<3>,
        last: impl Fn(usize) -> Option<LinearMap>,
    ) -> AnswerStream<'_> {
        AnswerStream::new(self, queries, inputs, last)
    }

    pub(crate) const fn attention(&self) -> &CrossAttention {
        &self.attention
    }

    pub(crate) const fn mlp(&self) -> &Mlp {
        &self.mlp
    }

    pub(crate) const fn feed_forward_chunk(&self) -> usize {
        self.feed_forward_chunk
    }

    /// The MLP's hidden channels after attention.
    pub(crate) fn hidden(&self, attended: Tensor<3>) -> Tensor<3> {
        self.mlp.hidden(ops::layer_norm(&self.layernorm, attended))
    }
}

impl LayerConfig {
    const fn mlp(&self) -> MlpConfig {
        MlpConfig {
            channels: self.attention.query_channels,
            widening_factor: self.widening_factor,
            activation: self.activation,
        }
    }
}

/// `x + mlp(norm(x))`, `chunk` tokens at a time.
///
/// # Source
/// `apply_chunking_to_forward`, which refuses a number of tokens that `chunk` does not divide. Here
/// the last chunk is shorter.
fn feed_forward(norm: &LayerNorm, mlp: &Mlp, chunk: usize, tokens: Tensor<3>) -> Tensor<3> {
    let apply = |tokens: Tensor<3>| mlp.forward(ops::layer_norm(norm, tokens.clone())) + tokens;
    let [_, count, _] = tokens.dims();
    if chunk == 0 || chunk >= count {
        return apply(tokens);
    }
    let chunks = (0..count)
        .step_by(chunk)
        .map(|start| apply(tokens.clone().narrow(1, start, chunk.min(count - start))))
        .collect();
    Tensor::cat(chunks, 1)
}
