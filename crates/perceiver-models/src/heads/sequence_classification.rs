use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use perceiver_core::{KeyMask, OutputOptions};
use perceiver_io::{ClassificationDecoder, TextPreprocessor};

use super::{PerceiverClassifierOutput, PretrainedModel, classification_decoder};
use crate::Error;
use crate::architecture::initialisation;
use crate::config::{Head, PerceiverConfig, ProblemType};
use crate::losses::{Labels, classification_loss};
use crate::model::{Encoded, NoPostprocessor, PerceiverModel};

/// Classifies texts, or predicts numbers from them.
///
/// # Source
/// `PerceiverForSequenceClassification`.
#[derive(Module, Debug)]
pub struct PerceiverForSequenceClassification {
    perceiver: PerceiverModel<TextPreprocessor, ClassificationDecoder, NoPostprocessor>,
    #[module(skip)]
    problem_type: Option<ProblemType>,
}

impl PretrainedModel for PerceiverForSequenceClassification {
    const HEAD: Head = Head::SequenceClassification;

    fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error> {
        config.validate_for(Self::HEAD)?;
        let preprocessor = TextPreprocessor::new(
            config.vocab_size,
            config.max_position_embeddings,
            config.d_model,
            initialisation(config),
            device,
        );
        let decoder = classification_decoder(config, device);
        Ok(Self {
            perceiver: PerceiverModel::new(config, preprocessor, decoder, NoPostprocessor, device),
            problem_type: config.problem_type,
        })
    }
}

impl PerceiverForSequenceClassification {
    /// What the labels are, if the configuration says.
    #[must_use]
    pub const fn problem_type(&self) -> Option<ProblemType> {
        self.problem_type
    }

    /// The model around which this head is.
    pub(crate) const fn perceiver(
        &self,
    ) -> &PerceiverModel<TextPreprocessor, ClassificationDecoder, NoPostprocessor> {
        &self.perceiver
    }

    /// # Shapes
    /// - `ids`: `[batch, tokens]`
    /// - `mask`: `[batch, tokens]`
    /// - returns logits: `[batch, labels]`
    ///
    /// # Panics
    /// If there are more tokens than positions, the mask has another shape, or the labels do not
    /// fit the problem type.
    #[must_use]
    pub fn forward(
        &self,
        ids: Tensor<2, Int>,
        mask: Option<&KeyMask>,
        labels: Option<&Labels>,
        options: OutputOptions,
    ) -> PerceiverClassifierOutput<Tensor<2>> {
        let output = self.perceiver.forward(ids, mask, &(), options);
        let loss = labels
            .map(|labels| classification_loss(output.logits.clone(), labels, self.problem_type));
        PerceiverClassifierOutput::new(output, loss)
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
}
