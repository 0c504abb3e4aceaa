use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use perceiver_core::{AnswerStream, KeyMask, OutputOptions};
use perceiver_io::{
    Combination, Decoder, ImagePreparation, ImagePreprocessor, ImagePreprocessorConfig,
    OpticalFlowDecoder, PositionConfig, Preprocessor,
};

use super::{PerceiverClassifierOutput, PretrainedModel};
use crate::Error;
use crate::architecture::{CrossLayer, initialisation};
use crate::config::{Head, PerceiverConfig};
use crate::model::{Encoded, NoPostprocessor, PerceiverModel};

/// Channels of the patches around a pixel in two frames: 2 · 3 · 3 · 3.
const PATCH_CHANNELS: usize = 54;

/// Says where every pixel of one frame went in the next.
///
/// # Source
/// Perceiver IO section 4.2; `PerceiverForOpticalFlow`. Answers are
/// [twentieths](Self::PIXELS) of the motion in pixels.
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
    /// Pixels of motion to an answer of one: published weights answer in twentieths.
    ///
    /// # Source
    /// DeepMind's notebook. transformers returns answers as they are.
    pub const PIXELS: f64 = 20.0;

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

    /// Reads two frames into latents, to be decoded in parts.
    ///
    /// # Shapes
    /// - inputs: see [`forward`](Self::forward)
    ///
    /// # Panics
    /// If the mask has another shape.
    #[must_use]
    pub fn encode(
        &self,
        patches: Tensor<5>,
        mask: Option<&KeyMask>,
        options: OutputOptions,
    ) -> Encoded {
        self.perceiver.encode(patches.into(), mask, options)
    }

    /// The motion of some pixels, or all in order, block by block: `[batch, pixels, 2]` each, in
    /// memory that does not grow with them.
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// # use perceiver_core::OutputOptions;
    /// # use perceiver_models::{PerceiverConfig, PerceiverForOpticalFlow, PretrainedModel};
    /// # fn main() -> Result<(), perceiver_models::Error> {
    /// # let device = Device::flex();
    /// # let config = PerceiverConfig::from_json(r#"{"model_type": "perceiver", "num_latents": 4,
    /// #     "d_latents": 8, "num_self_attends_per_block": 1, "num_self_attention_heads": 1,
    /// #     "num_cross_attention_heads": 1, "train_size": [6, 8]}"#)?;
    /// # let model = PerceiverForOpticalFlow::from_config(&config, &device)?;
    /// # let patches = Tensor::zeros([1, 2, 27, 6, 8], &device);
    /// let encoded = model.encode(patches, None, OutputOptions::default());
    /// // The first and the last pixel alone.
    /// let pixels = Tensor::from_data([0, 47], &device);
    /// for block in model.stream(&encoded, Some(&pixels)) {
    ///     assert_eq!(block.answers.dims(), [1, 2, 2]);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Shapes
    /// - `points`: `[points]`, flat row-major indices into the image
    #[must_use]
    pub fn stream(&self, encoded: &Encoded, points: Option<&Tensor<1, Int>>) -> AnswerStream<'_> {
        let decoder = self.perceiver.decoder();
        let queries = match points {
            None => decoder.queries(&encoded.inputs, &()),
            Some(points) => decoder.queries_at(&encoded.inputs, points),
        };
        decoder.stream(&queries, encoded.encoder.last_hidden_state.clone())
    }
}
