//! From a configuration to the sizes of layers.

use perceiver_core::{AttentionConfig, EncoderConfig, Initialisation, LayerConfig};

use crate::config::{CrossAttentionShape, PerceiverConfig};

/// How the configuration's parameters are drawn.
pub(crate) const fn initialisation(config: &PerceiverConfig) -> Initialisation {
    Initialisation { std: config.initializer_range }
}

/// Sizes of the encoder over tokens of `token_channels`.
pub(crate) fn encoder(config: &PerceiverConfig, token_channels: usize) -> EncoderConfig {
    let latents = config.d_latents;
    let qk_channels = config.qk_channels.unwrap_or(latents);
    EncoderConfig {
        cross_attention: CrossLayer {
            query_channels: latents,
            input_channels: token_channels,
            qk_channels: config.qk_channels,
            v_channels: config.v_channels,
            heads: config.num_cross_attention_heads,
            widening_factor: config.cross_attention_widening_factor,
            query_residual: config.use_query_residual,
        }
        .resolve(config),
        self_attention: LayerConfig {
            attention: AttentionConfig {
                query_channels: latents,
                input_channels: latents,
                qk_channels,
                v_channels: config.v_channels.unwrap_or(qk_channels),
                heads: config.num_self_attention_heads,
                query_residual: true,
                dropout: config.attention_probs_dropout_prob,
            },
            widening_factor: config.self_attention_widening_factor,
            activation: config.hidden_act,
            feed_forward_chunk: config.chunk_size_feed_forward,
        },
        layers_per_block: config.num_self_attends_per_block,
        blocks: config.num_blocks,
    }
}

/// A cross-attention layer, with channels still to be filled in by the reference's defaults.
pub(crate) struct CrossLayer {
    pub(crate) query_channels: usize,
    pub(crate) input_channels: usize,
    pub(crate) qk_channels: Option<usize>,
    pub(crate) v_channels: Option<usize>,
    pub(crate) heads: usize,
    pub(crate) widening_factor: usize,
    pub(crate) query_residual: bool,
}

impl CrossLayer {
    /// A decoder's layer over the latents: one head, no widening, default channels.
    pub(crate) const fn decoder(
        config: &PerceiverConfig,
        query_channels: usize,
        query_residual: bool,
    ) -> Self {
        Self {
            query_channels,
            input_channels: config.d_latents,
            qk_channels: None,
            v_channels: None,
            heads: 1,
            widening_factor: 1,
            query_residual,
        }
    }

    /// Queries and keys default to the channels that `cross_attention_shape_for_attention` names,
    /// values to those of queries and keys.
    pub(crate) fn resolve(&self, config: &PerceiverConfig) -> LayerConfig {
        let default = match config.cross_attention_shape_for_attention {
            CrossAttentionShape::KeysValues => self.input_channels,
            CrossAttentionShape::Queries => self.query_channels,
        };
        let qk_channels = self.qk_channels.unwrap_or(default);
        LayerConfig {
            attention: AttentionConfig {
                query_channels: self.query_channels,
                input_channels: self.input_channels,
                qk_channels,
                v_channels: self.v_channels.unwrap_or(qk_channels),
                heads: self.heads,
                query_residual: self.query_residual,
                dropout: config.attention_probs_dropout_prob,
            },
            widening_factor: self.widening_factor,
            activation: config.hidden_act,
            feed_forward_chunk: config.chunk_size_feed_forward,
        }
    }
}
