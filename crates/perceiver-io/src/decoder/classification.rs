use burn::module::Module;
use burn::tensor::{Device, Tensor};
use perceiver_core::{Initialisation, LayerConfig, TokenArray};

use super::{BasicDecoder, BasicDecoderConfig, Decoded, Decoder, QueryConfig};
use crate::{PositionConfig, Preprocessed};

/// Decodes one learned query into a score for every label.
///
/// # Source
/// Perceiver IO section 3.2; `PerceiverClassificationDecoder`.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverClassificationDecoder")]
pub struct ClassificationDecoder {
    decoder: BasicDecoder,
}

impl ClassificationDecoder {
    /// Fresh parameters; the query has the layer's query channels.
    #[must_use]
    pub fn new(layer: LayerConfig, labels: usize, init: Initialisation, device: &Device) -> Self {
        let channels = layer.attention.query_channels;
        let config = BasicDecoderConfig {
            queries: Some(QueryConfig {
                positions: PositionConfig::trainable(1, channels),
                index_dims: vec![1],
                concat_preprocessed_input: false,
            }),
            layer,
            output_channels: Some(labels),
        };
        Self { decoder: config.init(init, device) }
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
