//! From latents to the answers of a model for any data.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use perceiver_core::TokenArray;
use perceiver_io::{
    BasicDecoder, BasicDecoderConfig, ClassificationDecoder, Decoded, Decoder, Preprocessed,
    ProjectionDecoder,
};

use super::{AnyDataConfig, Output, Pooling};
use crate::PerceiverConfig;

/// Answers once, or once for each element of a modality.
#[derive(Module, Debug)]
pub enum AnyDataDecoder {
    /// One learned query.
    Query(ClassificationDecoder),
    /// The mean of the latents.
    Mean(ProjectionDecoder),
    /// The tokens of a modality as queries.
    Elements(ElementDecoder),
}

/// Queries the latents with the tokens of a modality.
#[derive(Module, Debug)]
pub struct ElementDecoder {
    decoder: BasicDecoder,
    modality: usize,
}

impl AnyDataConfig {
    /// Numbers of an answer.
    #[must_use]
    pub fn outputs(&self, config: &PerceiverConfig) -> usize {
        match &self.output {
            Output::Regression { targets, .. } => targets.len(),
            Output::Reconstruction { modality, .. } => {
                self.modality(modality).map_or(0, |(_, modality)| modality.reconstructed())
            }
            _ => config.num_labels(),
        }
    }

    /// The decoder, with fresh parameters.
    ///
    /// # Panics
    /// If the output names a modality that is not there.
    #[must_use]
    pub fn decoder(&self, config: &PerceiverConfig, device: &Device) -> AnyDataDecoder {
        let (init, outputs) = (config.initialisation(), self.outputs(config));
        match &self.output {
            Output::Classification { pooling }
            | Output::MultiLabel { pooling }
            | Output::Regression { pooling, .. } => match pooling {
                Pooling::Query => {
                    let mut decoder = config.classification_decoder();
                    decoder.labels = outputs;
                    AnyDataDecoder::Query(decoder.init(init, device))
                }
                Pooling::Mean => AnyDataDecoder::Mean(ProjectionDecoder::new(
                    config.d_latents,
                    outputs,
                    init,
                    device,
                )),
            },
            Output::Elements { modality } | Output::Reconstruction { modality, .. } => {
                let modality = self.modality(modality).expect("the configuration was checked").0;
                let mut layer = config.decoder_layer(self.channels());
                layer.attention.query_residual = true;
                let decoder =
                    BasicDecoderConfig { queries: None, layer, output_channels: Some(outputs) };
                let decoder = decoder.init(init, device);
                AnyDataDecoder::Elements(ElementDecoder { decoder, modality })
            }
        }
    }
}

impl Decoder for AnyDataDecoder {
    type Points = ();
    /// One learned query or the tokens of a modality; none for the mean.
    type Queries = Option<TokenArray>;
    /// `[batch, answers, outputs]`, one answer or one for each element.
    type Output = Tensor<3>;

    fn queries(&self, inputs: &Preprocessed, (): &()) -> Option<TokenArray> {
        match self {
            Self::Query(decoder) => Some(decoder.queries(inputs, &())),
            Self::Mean(_) => None,
            Self::Elements(elements) => {
                let segment = inputs.tokens.segments()[elements.modality].clone();
                Some(TokenArray::new(vec![segment]))
            }
        }
    }

    fn sizes(&self, queries: &Option<TokenArray>) -> Vec<usize> {
        vec![queries.as_ref().map_or(1, |queries| queries.dims()[1])]
    }

    fn forward(
        &self,
        queries: &Option<TokenArray>,
        latents: Tensor<3>,
        attentions: bool,
    ) -> Decoded<Tensor<3>> {
        let one = |decoded: Decoded<Tensor<2>>| Decoded {
            logits: decoded.logits.unsqueeze_dim(1),
            cross_attentions: decoded.cross_attentions,
        };
        match (self, queries) {
            (Self::Query(decoder), Some(query)) => one(decoder.forward(query, latents, attentions)),
            (Self::Elements(elements), Some(queries)) => {
                elements.decoder.decode(queries, latents, attentions)
            }
            (Self::Mean(decoder), _) => one(decoder.forward(&(), latents, attentions)),
            (_, None) => unreachable!("both were made by the same decoder"),
        }
    }
}
