use burn::module::{Module, Param};
use burn::tensor::{Bool, Device, Distribution, Tensor};
use perceiver_core::{Initialisation, Segment, TokenArray};

use super::{
    AudioPreprocessor, AudioPreprocessorConfig, ImageInput, ImagePreprocessor,
    ImagePreprocessorConfig, OneHotPreprocessor, Preprocessed, Preprocessor,
};
use crate::Modalities;

/// How a [`MultimodalPreprocessor`] makes tokens.
#[derive(Debug, Clone)]
pub struct MultimodalPreprocessorConfig {
    /// The sound track.
    pub audio: AudioPreprocessorConfig,
    /// The video frames.
    pub image: ImagePreprocessorConfig,
    /// Classes of the label, which are the channels of its token.
    pub labels: usize,
    /// Padding channels of the modality with the most channels.
    pub min_padding: usize,
    /// How often a learned vector replaces a token of each modality, in training and inference
    /// alike; `None` leaves that vector out.
    pub mask_probabilities: Modalities<Option<f64>>,
}

/// Preprocesses sound, video and label separately, and pads their tokens to the same channels.
///
/// # Source
/// Perceiver IO section 4.3 and appendix; `PerceiverMultimodalPreprocessor`.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverMultimodalPreprocessor")]
pub struct MultimodalPreprocessor {
    modalities: ModalityPreprocessors,
    padding: Modalities<Param<Tensor<2>>>,
    mask: Modalities<Option<Param<Tensor<2>>>>,
    #[module(skip)]
    mask_probabilities: [Option<f64>; 3],
    channels: usize,
}

#[derive(Module, Debug)]
struct ModalityPreprocessors {
    audio: AudioPreprocessor,
    image: ImagePreprocessor,
    label: OneHotPreprocessor,
}

/// Input of a [`MultimodalPreprocessor`].
#[derive(Debug, Clone)]
pub struct MultimodalInput {
    /// `[batch, samples, sound_channels]`.
    pub audio: Tensor<3>,
    /// `[batch, time, channels, height, width]`.
    pub image: Tensor<5>,
    /// `[batch, labels]`.
    pub label: Tensor<2>,
    /// `[batch]`, `true` where the token of the label is masked. If absent, the mask probability of
    /// labels decides.
    ///
    /// # Differences
    /// The published heads of the reference mask every label; DeepMind showed half of the labels in
    /// training.
    pub hidden_labels: Option<Tensor<1, Bool>>,
}

/// The tokens of a modality that its mask token replaces.
#[allow(clippy::large_enum_variant, reason = "only three short-lived values exist")]
#[derive(Debug)]
enum Masked {
    None,
    All,
    /// `[batch, tokens, 1]`, one where a token is replaced.
    Some(Tensor<3>),
}

impl MultimodalPreprocessorConfig {
    /// Channels of the tokens, padding included.
    #[must_use]
    pub fn channels(&self) -> usize {
        let widest = self.audio.channels().max(self.image.channels()).max(self.labels);
        widest.saturating_add(self.min_padding)
    }

    /// Fresh parameters.
    #[must_use]
    pub fn init(&self, init: Initialisation, device: &Device) -> MultimodalPreprocessor {
        let own = [self.audio.channels(), self.image.channels(), self.labels];
        let channels = self.channels();
        let padding = |own: usize| init.parameter([1, channels - own], device);
        let mask = |p: Option<f64>| p.map(|_| init.parameter([1, channels], device));
        let p = &self.mask_probabilities;
        MultimodalPreprocessor {
            modalities: ModalityPreprocessors {
                audio: self.audio.init(init, device),
                image: self.image.init(init, device),
                label: OneHotPreprocessor::new(self.labels),
            },
            padding: Modalities {
                audio: padding(own[0]),
                image: padding(own[1]),
                label: padding(own[2]),
            },
            mask: Modalities { audio: mask(p.audio), image: mask(p.image), label: mask(p.label) },
            mask_probabilities: [p.audio, p.image, p.label],
            channels,
        }
    }
}

impl MultimodalPreprocessor {
    /// Pads the only segment of a modality and masks some of its tokens.
    fn pad_and_mask(
        &self,
        made: &Preprocessed,
        padding: &Param<Tensor<2>>,
        mask: Option<&Param<Tensor<2>>>,
        masked: Masked,
    ) -> Segment {
        let padded = made.tokens.segments()[0].clone().with_padding(padding.val().flatten(0, 1));
        let Some(mask) = mask else { return padded };
        let mask: Tensor<1> = mask.val().flatten(0, 1);
        match masked {
            Masked::None => padded,
            Masked::All => {
                let [batch, tokens, _] = made.dims();
                Segment::from_padding(batch, tokens, mask)
            }
            // Masking individual tokens breaks the grid structure, so this segment is written out.
            Masked::Some(masked) => {
                let masked = masked.cast(mask.dtype());
                let token = mask.reshape([1, 1, self.channels]);
                let kept = padded.to_dense() * (masked.clone().neg() + 1.0);
                Segment::from_content(kept + masked * token)
            }
        }
    }
}

impl Masked {
    /// Drawn for each token with a probability.
    fn drawn(probability: f64, made: &Preprocessed) -> Self {
        let [batch, tokens, _] = made.dims();
        if probability <= 0.0 {
            Self::None
        } else if probability >= 1.0 {
            Self::All
        } else {
            let distribution = Distribution::Bernoulli(probability);
            let device = made.tokens.device();
            Self::Some(Tensor::random([batch, tokens, 1], distribution, &device))
        }
    }

    /// Given for each example.
    fn given(hidden: Tensor<1, Bool>) -> Self {
        Self::Some(hidden.float().reshape([-1, 1, 1]))
    }
}

impl Preprocessor for MultimodalPreprocessor {
    type Input = MultimodalInput;

    fn channels(&self) -> usize {
        self.channels
    }

    /// # Panics
    /// If the preprocessor of a modality panics, or hidden labels are given although labels have no mask
    /// token.
    fn forward(&self, input: MultimodalInput) -> Preprocessed {
        let modalities = &self.modalities;
        let made = [
            modalities.audio.forward(input.audio),
            modalities.image.forward(ImageInput::from(input.image)),
            modalities.label.forward(input.label),
        ];
        let paddings = [&self.padding.audio, &self.padding.image, &self.padding.label];
        let masks = [&self.mask.audio, &self.mask.image, &self.mask.label];
        let [audio, image, label] =
            [0, 1, 2].map(|m| Masked::drawn(self.mask_probabilities[m].unwrap_or(0.0), &made[m]));
        let label = input.hidden_labels.map_or(label, |hidden| {
            assert!(masks[2].is_some(), "labels have no mask token");
            Masked::given(hidden)
        });
        let segments = [audio, image, label]
            .into_iter()
            .enumerate()
            .map(|(m, masked)| self.pad_and_mask(&made[m], paddings[m], masks[m].as_ref(), masked));
        Preprocessed {
            tokens: TokenArray::new(segments.collect()),
            without_positions: made.into_iter().flat_map(|made| made.without_positions).collect(),
        }
    }
}
