//! The reference's task heads: a [`PerceiverModel`](crate::PerceiverModel) with its parts chosen.

mod classification;
mod image_classification;
mod masked_lm;
mod multimodal_autoencoding;
mod optical_flow;
mod sequence_classification;

use burn::tensor::{Device, Tensor};
use perceiver_io::TextPreprocessorConfig;

pub use image_classification::{
    PerceiverForImageClassificationConvProcessing, PerceiverForImageClassificationFourier,
    PerceiverForImageClassificationLearned,
};
pub use masked_lm::{PerceiverForMaskedLM, PerceiverMaskedLMOutput};
pub use multimodal_autoencoding::PerceiverForMultimodalAutoencoding;
pub use optical_flow::PerceiverForOpticalFlow;
pub use sequence_classification::PerceiverForSequenceClassification;

use crate::config::PerceiverConfig;
use crate::head::HeadRequest;
use crate::model::{
    Encoded, NoDecoder, NoPostprocessor, NoPreprocessor, PerceiverModel, PerceiverModelOutput,
};
use crate::{Error, PerceiverHead};

/// The output of a classification, flow or autoencoding head.
///
/// # Source
/// `PerceiverClassifierOutput`.
#[derive(Debug, Clone)]
pub struct PerceiverClassifierOutput<T> {
    /// `[1]`, if the request has labels.
    pub loss: Option<Tensor<1>>,
    /// The head's answers.
    pub logits: T,
    /// The latents before every self-attention layer, and once more after every block.
    pub hidden_states: Option<Vec<Tensor<3>>>,
    /// Probabilities of every self-attention, `[batch, heads, latents, latents]`.
    pub attentions: Option<Vec<Tensor<4>>>,
    /// Probabilities of the encoder's cross-attention, then of the decoder's.
    pub cross_attentions: Option<Vec<Tensor<4>>>,
}

impl<T> PerceiverClassifierOutput<T> {
    /// The output of the model inside a head, with the loss.
    #[must_use]
    pub fn new(output: PerceiverModelOutput<T>, loss: Option<Tensor<1>>) -> Self {
        Self {
            loss,
            logits: output.logits,
            hidden_states: output.hidden_states,
            attentions: output.attentions,
            cross_attentions: output.cross_attentions,
        }
    }
}

/// Latents and encoder alone, over tokens `[batch, tokens, d_model]`.
impl PerceiverHead for PerceiverModel {
    const NAME: &'static str = "PerceiverModel";

    type Input = Tensor<3>;
    type Labels = ();
    type Points = ();
    type Output = PerceiverModelOutput<()>;

    fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error> {
        config.validate_for(Self::NAME.parse()?)?;
        let preprocessor = Self::preprocessor_config(config);
        Ok(Self::new(config, preprocessor, NoDecoder, NoPostprocessor, device))
    }

    fn encode(&self, request: impl Into<HeadRequest<Self>>) -> Encoded {
        Self::encode(self, request)
    }

    fn forward(&self, request: impl Into<HeadRequest<Self>>) -> PerceiverModelOutput<()> {
        Self::forward(self, request)
    }
}

impl PerceiverModel {
    /// The preprocessor: tokens of `d_model` channels.
    #[must_use]
    pub const fn preprocessor_config(config: &PerceiverConfig) -> NoPreprocessor {
        NoPreprocessor::new(config.d_model)
    }
}

/// The preprocessor of both text heads.
const fn text_preprocessor_config(config: &PerceiverConfig) -> TextPreprocessorConfig {
    TextPreprocessorConfig {
        vocabulary: config.vocab_size,
        max_positions: config.max_position_embeddings,
        channels: config.d_model,
    }
}
