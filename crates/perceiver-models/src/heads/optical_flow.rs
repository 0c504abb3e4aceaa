use burn::module::Module;
use burn::tensor::{Device, Tensor};
use perceiver_core::{KeyMask, OutputOptions};
use perceiver_io::{
    Combination, ImagePreparation, ImagePreprocessor, ImagePreprocessorConfig, OpticalFlowDecoder,
    PositionConfig, Preprocessor,
};

use super::{PerceiverClassifierOutput, PretrainedModel};
use crate::Error;
use crate::architecture::{CrossLayer, initialisation};
use crate::config::{Head, PerceiverConfig};
use crate::model::{NoPostprocessor, PerceiverModel};

/// Channels of the patches around a pixel in two frames: 2 · 3 · 3 · 3.
const PATCH_CHANNELS: usize = 54;

/// Says where every pixel of one frame went in the next.
///
/// # Source
/// Perceiver IO section 4.2; `PerceiverForOpticalFlow`. Published weights predict a twentieth of
/// the motion in pixels.
#[derive(Module, Debug)]
pub struct PerceiverForOpticalFlow {
    perceiver: PerceiverModel<ImagePreprocessor, OpticalFlowDecoder, NoPostprocessor>,
}

impl PretrainedModel for PerceiverForOpticalFlow {
    const HEAD: Head = Head::OpticalFlow;

    fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error> {
        config.validate_for(Self::HEAD)?;
        let init = initialisation(config);
        let train_size = [config.train_size[0], config.train_size[1]];
        let preprocessor = ImagePreprocessorConfig {
            preparation: ImagePreparation::Patches { linear: Some(PATCH_CHANNELS) },
            in_channels: 3,
            out_channels: 64,
            spatial_downsample: 1,
            temporal_downsample: 2,
            positions: PositionConfig::fourier(64, &train_size),
            combination: Combination::Concat,
        }
        .init(init, device);
        let layer = CrossLayer::decoder(config, preprocessor.channels(), false).resolve(config);
        let decoder = OpticalFlowDecoder::new(layer, train_size, 2, 100.0, init, device);
        Ok(Self {
            perceiver: PerceiverModel::new(config, preprocessor, decoder, NoPostprocessor, device),
        })
    }
}

impl PerceiverForOpticalFlow {
    /// # Shapes
    /// - `patches`: `[batch, 2, 27, height, width]`, the 3x3 patch around every pixel of two
    ///   frames of `train_size`, in `[-1, 1]`
    /// - `mask`: `[batch, height · width]`
    /// - returns logits: `[batch, height, width, 2]`, horizontal motion first
    ///
    /// # Panics
    /// If the frames are not two of `train_size`, or the mask has another shape.
    #[must_use]
    pub fn forward(
        &self,
        patches: Tensor<5>,
        mask: Option<&KeyMask>,
        options: OutputOptions,
    ) -> PerceiverClassifierOutput<Tensor<4>> {
        let output = self.perceiver.forward(patches.into(), mask, &(), options);
        PerceiverClassifierOutput::new(output, None)
    }
}
