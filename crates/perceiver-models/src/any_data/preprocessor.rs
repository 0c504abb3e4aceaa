//! Makes tokens of several modalities.

use burn::module::Module;
use burn::tensor::Device;
use perceiver_core::{Initialisation, TokenArray};
use perceiver_io::{Preprocessed, Preprocessor};

use super::modality::ModalityPreprocessor;
use super::{AnyDataConfig, AnyDataInput, Output};

/// Makes tokens of each modality and pads them to the same channels, as
/// [`MultimodalPreprocessor`](perceiver_io::MultimodalPreprocessor) does.
#[derive(Module, Debug)]
pub struct AnyDataPreprocessor {
    modalities: Vec<ModalityPreprocessor>,
    /// The modality whose masked elements are reconstructed.
    reconstructed: Option<usize>,
    channels: usize,
}

impl AnyDataPreprocessor {
    /// Fresh parameters.
    #[must_use]
    pub fn new(config: &AnyDataConfig, init: Initialisation, device: &Device) -> Self {
        let reconstructed = match &config.output {
            Output::Reconstruction { modality, .. } => config.modality(modality),
            _ => None,
        };
        let reconstructed = reconstructed.map(|(index, _)| index);
        let channels = config.channels();
        let modalities = config.modalities.iter().enumerate().map(|(index, modality)| {
            let is_reconstructed = reconstructed == Some(index);
            ModalityPreprocessor::new(modality, channels, is_reconstructed, init, device)
        });
        Self { modalities: modalities.collect(), reconstructed, channels }
    }

    /// The part that reads a modality.
    #[must_use]
    pub(super) fn modality(&self, index: usize) -> &ModalityPreprocessor {
        &self.modalities[index]
    }
}

impl Preprocessor for AnyDataPreprocessor {
    type Input = AnyDataInput;

    fn channels(&self) -> usize {
        self.channels
    }

    /// # Panics
    /// If there are more or fewer modalities, or one has other data than its configuration says.
    fn forward(&self, input: AnyDataInput) -> Preprocessed {
        let AnyDataInput { modalities, masked } = input;
        let (found, expected) = (modalities.len(), self.modalities.len());
        assert!(found == expected, "the input has {found} modalities, expected {expected}");
        let (mut segments, mut without_positions) = (Vec::new(), Vec::new());
        for (index, (reader, input)) in self.modalities.iter().zip(modalities).enumerate() {
            let masked = masked.as_ref().filter(|_| self.reconstructed == Some(index));
            let made = reader.forward(input, masked);
            let segment = made.tokens.segments()[0].clone();
            segments.push(match reader.padding() {
                Some(padding) => segment.with_padding(padding),
                None => segment,
            });
            without_positions.extend(made.without_positions);
        }
        Preprocessed { tokens: TokenArray::new(segments), without_positions }
    }
}
