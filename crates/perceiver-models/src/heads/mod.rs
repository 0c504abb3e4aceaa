//! The reference's task heads: a [`PerceiverModel`](crate::PerceiverModel) with its parts chosen.

mod image_classification;
mod masked_lm;
mod multimodal_autoencoding;
mod optical_flow;
mod sequence_classification;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use perceiver_io::ClassificationDecoder;

pub(crate) use image_classification::ImagePerceiver;
pub use image_classification::{
    PerceiverForImageClassificationConvProcessing, PerceiverForImageClassificationFourier,
    PerceiverForImageClassificationLearned,
};
pub use masked_lm::{PerceiverForMaskedLM, PerceiverMaskedLMOutput};
pub use multimodal_autoencoding::PerceiverForMultimodalAutoencoding;
pub use optical_flow::PerceiverForOpticalFlow;
pub use sequence_classification::PerceiverForSequenceClassification;

use crate::Error;
use crate::architecture::{CrossLayer, initialisation};
use crate::config::{Head, PerceiverConfig};
use crate::model::{
    NoDecoder, NoPostprocessor, NoPreprocessor, PerceiverModel, PerceiverModelOutput,
};

/// A model that a configuration describes completely.
pub trait PretrainedModel: Module {
    /// Its name in a configuration's `architectures`.
    const HEAD: Head;

    /// A model with fresh parameters, drawn as the reference draws them.
    ///
    /// # Errors
    /// [`Error::Config`] when no such model can be built.
    fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error>;
}

/// What a classifying, flow or autoencoding head returns.
///
/// # Source
/// `PerceiverClassifierOutput`.
#[derive(Debug, Clone)]
pub struct PerceiverClassifierOutput<T> {
    /// `[1]`, when labels were given.
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
    fn new(output: PerceiverModelOutput<T>, loss: Option<Tensor<1>>) -> Self {
        Self {
            loss,
            logits: output.logits,
            hidden_states: output.hidden_states,
            attentions: output.attentions,
            cross_attentions: output.cross_attentions,
        }
    }
}

impl PretrainedModel for PerceiverModel<NoPreprocessor, NoDecoder, NoPostprocessor> {
    const HEAD: Head = Head::Model;

    fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error> {
        config.validate_for(Self::HEAD)?;
        let preprocessor = NoPreprocessor::new(config.d_model);
        Ok(Self::new(config, preprocessor, NoDecoder, NoPostprocessor, device))
    }
}

/// The decoder all classifying heads share: one learned query of latent width, kept by a residual.
fn classification_decoder(config: &PerceiverConfig, device: &Device) -> ClassificationDecoder {
    let layer = CrossLayer::decoder(config, config.d_latents, true).resolve(config);
    ClassificationDecoder::new(layer, config.num_labels(), initialisation(config), device)
}
