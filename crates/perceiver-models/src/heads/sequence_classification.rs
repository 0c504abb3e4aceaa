use burn::module::Module;
use burn::tensor::{Device, Tensor};
use perceiver_io::{
    ClassificationDecoder, ClassificationDecoderConfig, Preprocessor, TextPreprocessor,
    TextPreprocessorConfig,
};

use super::PerceiverClassifierOutput;
use super::classification::{classification_head, classify};
use crate::config::{PerceiverConfig, ProblemType};
use crate::head::HeadRequest;
use crate::losses::Labels;
use crate::model::{Encoded, NoPostprocessor, PerceiverModel};
use crate::{Error, PerceiverHead};

classification_head! {
    /// Classifies texts, or predicts numbers from them.
    ///
    /// # Shapes
    /// - input: `[batch, tokens]`, token ids, at most `max_position_embeddings` tokens
    /// - mask: `[batch, tokens]`
    /// - logits: `[batch, labels]`
    ///
    /// # Source
    /// `PerceiverForSequenceClassification`.
    PerceiverForSequenceClassification reads through TextPreprocessor
}

impl PerceiverForSequenceClassification {
    /// The preprocessor.
    #[must_use]
    pub const fn preprocessor_config(config: &PerceiverConfig) -> TextPreprocessorConfig {
        super::text_preprocessor_config(config)
    }
}
