//! From a configuration to the sizes of layers and decoders.

use perceiver_core::{AttentionConfig, EncoderConfig, Initialisation, LayerConfig, Repeats};
use perceiver_io::ClassificationDecoderConfig;

use super::{CrossAttentionShape, PerceiverConfig};

impl PerceiverConfig {
    /// How parameters are drawn: with a standard deviation of `initializer_range`.
    #[must_use]
    pub const fn initialisation(&self) -> Initialisation {
        Initialisation { std: self.initializer_range }
    }

    /// The encoder, over tokens of `token_channels` channels.
    #[must_use]
    pub fn encoder(&self, token_channels: usize) -> EncoderConfig {
        let latents = self.d_latents;
        let qk_channels = self.qk_channels.unwrap_or(latents);
        let mut cross_attention = self.cross_attention(latents, token_channels, self.qk_channels);
        let attention = &mut cross_attention.attention;
        attention.v_channels = self.v_channels.unwrap_or(attention.v_channels);
        attention.heads = self.num_cross_attention_heads;
        attention.query_residual = self.use_query_residual;
        cross_attention.widening_factor = self.cross_attention_widening_factor;
        let self_attention = AttentionConfig {
            query_channels: latents,
            input_channels: latents,
            qk_channels,
            v_channels: self.v_channels.unwrap_or(qk_channels),
            heads: self.num_self_attention_heads,
            query_residual: true,
            dropout: self.attention_probs_dropout_prob,
        };
        EncoderConfig {
            cross_attention,
            self_attention: self.layer(self_attention, self.self_attention_widening_factor),
            layers_per_block: self.num_self_attends_per_block,
            blocks: self.num_blocks,
            repeats: Repeats::default(),
        }
    }

    /// A decoder's cross-attention, from queries of `query_channels` channels to the latents.
    ///
    /// It has one head, no widening and no query residual; set other fields of the result where
    /// your decoder differs.
    #[must_use]
    pub const fn decoder_layer(&self, query_channels: usize) -> LayerConfig {
        self.cross_attention(query_channels, self.d_latents, None)
    }

    /// The decoder of a classifier: one learned query, as wide as a latent, that is scored for
    /// each label.
    #[must_use]
    pub fn classification_decoder(&self) -> ClassificationDecoderConfig {
        let mut layer = self.decoder_layer(self.d_latents);
        layer.attention.query_residual = true;
        ClassificationDecoderConfig { layer, labels: self.num_labels() }
    }

    /// Queries and keys default to the channels that `cross_attention_shape_for_attention` names,
    /// values to those of queries and keys.
    const fn cross_attention(
        &self,
        query_channels: usize,
        input_channels: usize,
        qk_channels: Option<usize>,
    ) -> LayerConfig {
        let qk_channels = match (qk_channels, self.cross_attention_shape_for_attention) {
            (Some(channels), _) => channels,
            (None, CrossAttentionShape::KeysValues) => input_channels,
            (None, CrossAttentionShape::Queries) => query_channels,
        };
        let attention = AttentionConfig {
            query_channels,
            input_channels,
            qk_channels,
            v_channels: qk_channels,
            heads: 1,
            query_residual: false,
            dropout: self.attention_probs_dropout_prob,
        };
        self.layer(attention, 1)
    }

    const fn layer(&self, attention: AttentionConfig, widening_factor: usize) -> LayerConfig {
        LayerConfig {
            attention,
            widening_factor,
            activation: self.hidden_act,
            feed_forward_chunk: self.chunk_size_feed_forward,
        }
    }
}
