use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use perceiver_io::{
    BasicDecoder, BasicDecoderConfig, EmbeddingDecoder, PositionConfig, QueryConfig,
    TextPreprocessor, TextPreprocessorConfig,
};

use crate::config::PerceiverConfig;
use crate::head::HeadRequest;
use crate::losses::cross_entropy;
use crate::model::{Encoded, NoPostprocessor, PerceiverModel};
use crate::{Error, PerceiverHead};

/// Fills in masked bytes of a text.
///
/// # Shapes
/// - input: `[batch, tokens]`, token ids, at most `max_position_embeddings` tokens
/// - mask: `[batch, tokens]`
/// - labels: `[batch, labels]`, at most `max_position_embeddings` of them; the loss ignores
///   positions beyond, and labels of -100
/// - logits: `[batch, max_position_embeddings, vocabulary]`
///
/// # Source
/// Perceiver IO section 4.1; `PerceiverForMaskedLM`.
#[derive(Module, Debug)]
pub struct PerceiverForMaskedLM {
    perceiver: PerceiverModel<TextPreprocessor, BasicDecoder>,
    embedding_decoder: EmbeddingDecoder,
}

/// The output of a [`PerceiverForMaskedLM`].
///
/// # Source
/// `PerceiverMaskedLMOutput`.
#[derive(Debug, Clone)]
pub struct PerceiverMaskedLMOutput {
    /// `[1]`, if the request has labels.
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

impl PerceiverHead for PerceiverForMaskedLM {
    const NAME: &'static str = "PerceiverForMaskedLM";

    type Input = Tensor<2, Int>;
    type Labels = Tensor<2, Int>;
    type Points = ();
    type Output = PerceiverMaskedLMOutput;

    fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error> {
        config.validate_for(Self::NAME.parse()?)?;
        let init = config.initialisation();
        let perceiver = PerceiverModel::new(
            config,
            Self::preprocessor_config(config).init(init, device),
            Self::decoder_config(config).init(init, device),
            NoPostprocessor,
            device,
        );
        let embedding_decoder = EmbeddingDecoder::new(config.vocab_size, device);
        Ok(Self { perceiver, embedding_decoder })
    }

    fn encode(&self, request: impl Into<HeadRequest<Self>>) -> Encoded {
        self.perceiver.encode(request.into().split_labels().0.map_points(|()| None))
    }

    fn forward(&self, request: impl Into<HeadRequest<Self>>) -> PerceiverMaskedLMOutput {
        let (request, labels) = request.into().split_labels();
        let output = self.perceiver.forward(request.map_points(|()| None));
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
}

impl PerceiverForMaskedLM {
    /// The preprocessor.
    #[must_use]
    pub const fn preprocessor_config(config: &PerceiverConfig) -> TextPreprocessorConfig {
        super::text_preprocessor_config(config)
    }

    /// The decoder: one learned query per position.
    #[must_use]
    pub fn decoder_config(config: &PerceiverConfig) -> BasicDecoderConfig {
        const HEADS: usize = 8;
        let (channels, positions) = (config.d_model, config.max_position_embeddings);
        let mut layer = config.decoder_layer(channels);
        layer.attention.heads = HEADS;
        layer.attention.qk_channels = HEADS * 32;
        layer.attention.v_channels = channels;
        BasicDecoderConfig {
            queries: Some(QueryConfig {
                positions: PositionConfig::trainable(positions, channels),
                index_dims: vec![positions],
                concat_preprocessed_input: false,
            }),
            layer,
            output_channels: None,
        }
    }

    /// The model inside; it decodes embeddings, which the head scores.
    #[must_use]
    pub const fn perceiver(&self) -> &PerceiverModel<TextPreprocessor, BasicDecoder> {
        &self.perceiver
    }

    /// Scores the tokens at some positions of each text, at a cost that grows with their number
    /// alone.
    ///
    /// In a masked text only a few positions are of interest; [`forward`](PerceiverHead::forward)
    /// decodes all of them.
    ///
    /// # Shapes
    /// - `points`: `[batch, points]`, positions in the text
    /// - returns: `[batch, points, vocabulary]`
    ///
    /// # Panics
    /// If `points` has another batch than the encoded input or, on a CPU, a point lies beyond the
    /// last position.
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
