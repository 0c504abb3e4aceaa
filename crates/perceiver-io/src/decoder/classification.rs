use burn::module::Module;
use burn::tensor::{Device, Tensor};
use perceiver_core::{Initialisation, LayerConfig, TokenArray};

use super::{BasicDecoder, BasicDecoderConfig, Decoded, Decoder, QueryConfig};
use crate::{PositionConfig, Preprocessed};

/// Sizes of a [`ClassificationDecoder`].
#[derive(Debug, Clone)]
pub struct ClassificationDecoderConfig {
    /// The cross-attention; the learned query has its query channels.
    pub layer: LayerConfig,
    /// Scores of an answer.
    pub labels: usize,
}

/// Decodes one learned query into a score for every label.
///
/// # Source
/// Perceiver IO section 3.2; `PerceiverClassificationDecoder`.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverClassificationDecoder")]
pub struct ClassificationDecoder {
    decoder: BasicDecoder,
}

impl ClassificationDecoderConfig {
    /// Channels of the query.
    #[must_use]
    pub const fn channels(&self) -> usize {
        self.layer.attention.query_channels
    }

    /// Fresh parameters.
    #[must_use]
    pub fn init(&self, init: Initialisation, device: &Device) -> ClassificationDecoder {
        let config = BasicDecoderConfig {
            queries: Some(QueryConfig {
                positions: PositionConfig::trainable(1, self.channels()),
                index_dims: vec![1],
                concat_preprocessed_input: false,
            }),
            layer: self.layer.clone(),
            output_channels: Some(self.labels),
        };
        ClassificationDecoder { decoder: config.init(init, device) }
    }
}

impl Decoder for ClassificationDecoder {
    type Points = ();
    type Queries = TokenArray;
    /// `[batch, labels]`.
    type Output = Tensor<2>;

    fn queries(&self, inputs: &Preprocessed, (): &()) -> TokenArray {
        self.decoder.queries(inputs, &None)
    }

    fn sizes(&self, queries: &TokenArray) -> Vec<usize> {
        self.decoder.sizes(queries)
    }

    fn forward(
        &self,
        queries: &TokenArray,
        latents: Tensor<3>,
        attentions: bool,
    ) -> Decoded<Tensor<2>> {
        // One query needs no stream.
        let decoded = self.decoder.decode_at_once(queries, latents, attentions);
        decoded.map(|logits| logits.squeeze_dim(1))
    }
}
