use burn::module::Module;
use burn::tensor::{Device, Tensor};
use perceiver_core::Initialisation;

use super::{Preprocessed, Preprocessor};
use crate::{Combination, PositionConfig, PositionEncoding};

/// Configuration of an [`AudioPreprocessor`].
#[derive(Debug, Clone)]
pub struct AudioPreprocessorConfig {
    /// Consecutive samples per token.
    pub samples_per_patch: usize,
    /// The positions of tokens in time.
    pub positions: PositionConfig,
    /// Combines samples and positions into tokens.
    pub combination: Combination,
}

/// Splits sound into patches of consecutive samples.
///
/// # Source
/// Perceiver IO section 4.3; `PerceiverAudioPreprocessor`.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverAudioPreprocessor")]
pub struct AudioPreprocessor {
    positions: PositionEncoding,
    samples_per_patch: usize,
    #[module(skip)]
    combination: Combination,
}

impl AudioPreprocessorConfig {
    /// Channels of the tokens.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.combination.channels(self.samples_per_patch, self.positions.channels())
    }

    /// Fresh parameters.
    #[must_use]
    pub fn init(&self, init: Initialisation, device: &Device) -> AudioPreprocessor {
        AudioPreprocessor {
            positions: self.positions.init(init, device),
            samples_per_patch: self.samples_per_patch,
            combination: self.combination,
        }
    }
}

impl Preprocessor for AudioPreprocessor {
    /// `[batch, samples, sound_channels]`; published models take one channel of 48 kHz sound in
    /// `[-1, 1]`.
    type Input = Tensor<3>;

    fn channels(&self) -> usize {
        self.combination.channels(self.samples_per_patch, self.positions.channels())
    }

    /// # Panics
    /// If the samples do not divide into patches.
    fn forward(&self, samples: Tensor<3>) -> Preprocessed {
        let [batch, count, sound_channels] = samples.dims();
        let numbers = count * sound_channels;
        let patch = self.samples_per_patch;
        assert!(numbers % patch == 0, "{numbers} samples do not divide into patches of {patch}");
        let tokens = numbers / patch;
        let positions = self.positions.grid(&[tokens], &samples.device());
        let content = samples.reshape([batch, tokens, patch]);
        Preprocessed::combine(content, positions, self.combination)
    }
}
