use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use perceiver_core::{KeyMask, OutputOptions};
use perceiver_io::{
    BasicDecoder, BasicDecoderConfig, EmbeddingDecoder, PositionConfig, QueryConfig,
    TextPreprocessor,
};

use super::PretrainedModel;
use crate::Error;
use crate::architecture::{CrossLayer, initialisation};
use crate::config::{Head, PerceiverConfig};
use crate::losses::cross_entropy;
use crate::model::{Encoded, NoPostprocessor, PerceiverModel};

/// Fills masked bytes of a text.
///
/// # Source
/// Perceiver IO section 4.1; `PerceiverForMaskedLM`.
#[derive(Module, Debug)]
pub struct PerceiverForMaskedLM {
    perceiver: PerceiverModel<TextPreprocessor, BasicDecoder, NoPostprocessor>,
    embedding_decoder: EmbeddingDecoder,
}

/// What a [`PerceiverForMaskedLM`] returns.
///
/// # Source
/// `PerceiverMaskedLMOutput`.
#[derive(Debug, Clone)]
pub struct PerceiverMaskedLMOutput {
    /// `[1]`, when labels were given.
    pub loss: Option<Tensor<1>>,
    /// `[batch, max_position_embeddings, vocabulary]`, however short the text.
    pub logits: Tensor<3>,
    /// The latents before every self-attention layer, and once more after every block.
    pub hidden_states: Option<Vec<Tensor<3>>>,
    /// Probabilities of every self-attention, `[batch, heads, latents, latents]`.
    pub attentions: Option<Vec<Tensor<4>>>,
    /// Probabilities of the encoder's cross-attention, then of the decoder's.
    pub cross_attentions: Option<Vec<Tensor<4>>>,
}

impl PretrainedModel for PerceiverForMaskedLM {
    const HEAD: Head = Head::MaskedLm;

    fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error> {
        config.validate_for(Self::HEAD)?;
        let init = initialisation(config);
        let channels = config.d_model;
        let positions = config.max_position_embeddings;
        let preprocessor =
            TextPreprocessor::new(config.vocab_size, positions, channels, init, device);
        let layer = CrossLayer {
            qk_channels: Some(8 * 32),
            v_channels: Some(channels),
            heads: 8,
            ..CrossLayer::decoder(config, channels, false)
        };
        let decoder = BasicDecoderConfig {
            queries: Some(QueryConfig {
                positions: PositionConfig::trainable(positions, channels),
                index_dims: vec![positions],
                concat_preprocessed_input: false,
            }),
            layer: layer.resolve(config),
            output_channels: None,
        };
        let decoder = decoder.init(init, device);
        Ok(Self {
            perceiver: PerceiverModel::new(config, preprocessor, decoder, NoPostprocessor, device),
            embedding_decoder: EmbeddingDecoder::new(config.vocab_size, device),
        })
    }
}

impl PerceiverForMaskedLM {
    /// The model around which this head is.
    pub(crate) const fn perceiver(
        &self,
    ) -> &PerceiverModel<TextPreprocessor, BasicDecoder, NoPostprocessor> {
        &self.perceiver
    }

    /// # Shapes
    /// - `ids`: `[batch, tokens]`
    /// - `mask`: `[batch, tokens]`
    /// - `labels`: `[batch, labels]`, at most `max_position_embeddings` of them; positions beyond
    ///   are not counted, nor are labels of -100
    ///
    /// # Panics
    /// If there are more tokens or labels than positions, or the mask has another shape.
    #[must_use]
    pub fn forward(
        &self,
        ids: Tensor<2, Int>,
        mask: Option<&KeyMask>,
        labels: Option<Tensor<2, Int>>,
        options: OutputOptions,
    ) -> PerceiverMaskedLMOutput {
        let output = self.perceiver.forward(ids, mask, &None, options);
        let table = self.perceiver.input_preprocessor().embedding_table();
        let logits = self.embedding_decoder.forward(output.logits, table);
        let loss = labels.map(|labels| {
            let [_, count] = labels.dims();
            let scores = logits.clone().narrow(1, 0, count);
            cross_entropy(scores.flatten(0, 1), labels.flatten(0, 1))
        });
        PerceiverMaskedLMOutput {
            loss,
            logits,
            hidden_states: output.hidden_states,
            attentions: output.attentions,
            cross_attentions: output.cross_attentions,
        }
    }

    /// Reads a text into latents.
    ///
    /// # Shapes
    /// - `ids`: `[batch, tokens]`
    /// - `mask`: `[batch, tokens]`
    ///
    /// # Panics
    /// If there are more tokens than positions, or the mask has another shape.
    #[must_use]
    pub fn encode(
        &self,
        ids: Tensor<2, Int>,
        mask: Option<&KeyMask>,
        options: OutputOptions,
    ) -> Encoded {
        self.perceiver.encode(ids, mask, options)
    }

    /// What could stand at some points of each text, at a cost that grows with them alone.
    ///
    /// A masked text asks about a small part of its bytes; [`forward`](Self::forward) answers for
    /// every position there is.
    ///
    /// # Shapes
    /// - `points`: `[batch, points]`, positions in the text
    /// - returns logits: `[batch, points, vocabulary]`
    ///
    /// # Panics
    /// If there are points for another number of texts, or, on a CPU, one beyond the last position.
    ///
    /// # Source
    /// Rows of the logits of `PerceiverForMaskedLM`, which decodes every position.
    #[must_use]
    pub fn decode(&self, encoded: &Encoded, points: Tensor<2, Int>) -> Tensor<3> {
        let decoder = self.perceiver.decoder();
        let queries = decoder.queries_at_each(points);
        let latents = encoded.encoder.last_hidden_state.clone();
        let table = self.perceiver.input_preprocessor().embedding_table();
        self.embedding_decoder.forward(decoder.decode(&queries, latents, false).logits, table)
    }
}
