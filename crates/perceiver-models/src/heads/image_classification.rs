use burn::module::Module;
use burn::tensor::{Device, Tensor};
use perceiver_io::{
    ClassificationDecoder, ClassificationDecoderConfig, Combination, ImagePreparation,
    ImagePreprocessor, ImagePreprocessorConfig, PositionConfig, Preprocessor,
};

use super::PerceiverClassifierOutput;
use super::classification::{classification_head, classify};
use crate::config::{PerceiverConfig, ProblemType};
use crate::head::HeadRequest;
use crate::losses::Labels;
use crate::model::{Encoded, NoPostprocessor, PerceiverModel};
use crate::{Error, PerceiverHead};

classification_head! {
    /// Classifies images by pixels with learned positions: nothing tells the model that an image
    /// is a plane.
    ///
    /// Images have the size `image_size` of the configuration, unless
    /// [`interpolate_positions`](perceiver_io::ImageInput::interpolate_positions) fits the learned
    /// positions to others.
    ///
    /// # Shapes
    /// - input: `[batch, 3, height, width]`
    /// - mask: `[batch, height · width]`
    /// - logits: `[batch, labels]`
    ///
    /// # Source
    /// Perceiver IO section 4.4; `PerceiverForImageClassificationLearned`.
    PerceiverForImageClassificationLearned reads through ImagePreprocessor
}

classification_head! {
    /// Classifies images of any size by pixels with Fourier positions.
    ///
    /// # Shapes
    /// - input: `[batch, 3, height, width]`
    /// - mask: `[batch, height · width]`
    /// - logits: `[batch, labels]`
    ///
    /// # Source
    /// Perceiver IO section 4.4; `PerceiverForImageClassificationFourier`.
    PerceiverForImageClassificationFourier reads through ImagePreprocessor
}

classification_head! {
    /// Classifies images by the features of a convolution, with Fourier positions.
    ///
    /// # Shapes
    /// - input: `[batch, 3, height, width]`, at least 5 by 5 pixels
    /// - mask: `[batch, tokens]`, about a quarter of the height times a quarter of the width
    /// - logits: `[batch, labels]`
    ///
    /// # Source
    /// Perceiver IO section 4.4; `PerceiverForImageClassificationConvProcessing`.
    PerceiverForImageClassificationConvProcessing reads through ImagePreprocessor
}

impl PerceiverForImageClassificationLearned {
    /// The preprocessor.
    #[must_use]
    pub fn preprocessor_config(config: &PerceiverConfig) -> ImagePreprocessorConfig {
        const CHANNELS: usize = 256;
        let [height, width] = config.image_size.height_width();
        let positions = PositionConfig::trainable(height.saturating_mul(width), CHANNELS);
        let positions = positions.projected(CHANNELS, CHANNELS);
        preprocessor_config(ImagePreparation::Conv1x1, CHANNELS, positions)
    }
}

impl PerceiverForImageClassificationFourier {
    /// The preprocessor.
    #[must_use]
    pub fn preprocessor_config(_: &PerceiverConfig) -> ImagePreprocessorConfig {
        let positions = PositionConfig::fourier(64, &[224, 224]);
        // The reference's `out_channels`; pixels stay as they are.
        preprocessor_config(ImagePreparation::Pixels, 64, positions)
    }
}

impl PerceiverForImageClassificationConvProcessing {
    /// The preprocessor.
    #[must_use]
    pub fn preprocessor_config(_: &PerceiverConfig) -> ImagePreprocessorConfig {
        let positions = PositionConfig::fourier(64, &[56, 56]);
        preprocessor_config(ImagePreparation::Conv { batch_norm: true }, 64, positions)
    }
}

fn preprocessor_config(
    preparation: ImagePreparation,
    out_channels: usize,
    positions: PositionConfig,
) -> ImagePreprocessorConfig {
    ImagePreprocessorConfig {
        preparation,
        in_channels: 3,
        out_channels,
        spatial_downsample: 1,
        temporal_downsample: 1,
        positions,
        combination: Combination::Concat,
    }
}
