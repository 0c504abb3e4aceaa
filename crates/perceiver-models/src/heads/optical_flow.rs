use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use perceiver_core::AnswerStream;
use perceiver_io::{
    Combination, Decoder, ImageInput, ImagePreparation, ImagePreprocessor, ImagePreprocessorConfig,
    OpticalFlowDecoder, OpticalFlowDecoderConfig, PositionConfig,
};

use super::PerceiverClassifierOutput;
use crate::config::PerceiverConfig;
use crate::head::HeadRequest;
use crate::model::{Encoded, NoPostprocessor, PerceiverModel};
use crate::{Error, PerceiverHead};

/// Computes where every pixel of one frame goes in the next.
///
/// # Shapes
/// - input: `[batch, 2, 27, height, width]`, the 3x3 patch around every pixel of two frames of
///   `train_size`, in `[-1, 1]`
/// - mask: `[batch, height · width]`
/// - logits: `[batch, height, width, 2]`, horizontal motion first, in
///   [twentieths](Self::PIXELS) of a pixel
///
/// # Source
/// Perceiver IO section 4.2; `PerceiverForOpticalFlow`.
#[derive(Module, Debug)]
pub struct PerceiverForOpticalFlow {
    perceiver: PerceiverModel<ImagePreprocessor, OpticalFlowDecoder>,
}

impl PerceiverHead for PerceiverForOpticalFlow {
    const NAME: &'static str = "PerceiverForOpticalFlow";

    type Input = ImageInput;
    type Labels = ();
    type Points = ();
    /// Logits are `[batch, height, width, 2]`.
    type Output = PerceiverClassifierOutput<Tensor<4>>;

    fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error> {
        config.validate_for(Self::NAME.parse()?)?;
        let init = config.initialisation();
        let perceiver = PerceiverModel::new(
            config,
            Self::preprocessor_config(config).init(init, device),
            Self::decoder_config(config).init(init, device),
            NoPostprocessor,
            device,
        );
        Ok(Self { perceiver })
    }

    fn encode(&self, request: impl Into<HeadRequest<Self>>) -> Encoded {
        self.perceiver.encode(request)
    }

    fn forward(&self, request: impl Into<HeadRequest<Self>>) -> Self::Output {
        PerceiverClassifierOutput::new(self.perceiver.forward(request), None)
    }
}

impl PerceiverForOpticalFlow {
    /// Pixels of motion to an answer of one: published weights answer in twentieths.
    ///
    /// # Source
    /// DeepMind's notebook. transformers returns answers as they are.
    pub const PIXELS: f64 = 20.0;

    /// Frames of an input.
    pub const FRAMES: usize = 2;

    /// Channels of the 3x3 patch around a pixel of one frame.
    pub const PATCH_CHANNELS: usize = 3 * 3 * 3;

    /// The field of config.json that holds [`trained_motion`](Self::trained_motion). transformers ignores it.
    pub const TRAINED_MOTION: &'static str = "trained_motion";

    /// The largest motion that the model was trained on, in pixels, if its configuration names it.
    ///
    /// # Errors
    /// [`Error::Config`] if it is not a number above 0.
    pub fn trained_motion(config: &PerceiverConfig) -> Result<Option<f32>, Error> {
        if !config.extra.contains_key(Self::TRAINED_MOTION) {
            return Ok(None);
        }
        let motion: f32 = config.field(Self::TRAINED_MOTION)?;
        if motion > 0.0 && motion.is_finite() {
            return Ok(Some(motion));
        }
        let message = format!("is {motion}, expected a number of pixels, more than 0");
        Err(Error::config(Self::TRAINED_MOTION, message))
    }

    /// The preprocessor.
    #[must_use]
    pub fn preprocessor_config(config: &PerceiverConfig) -> ImagePreprocessorConfig {
        ImagePreprocessorConfig {
            preparation: ImagePreparation::Patches {
                linear: Some(Self::FRAMES * Self::PATCH_CHANNELS),
            },
            in_channels: 3,
            out_channels: 64,
            spatial_downsample: 1,
            temporal_downsample: Self::FRAMES,
            positions: PositionConfig::fourier(64, &config.train_size),
            combination: Combination::Concat,
        }
    }

    /// The decoder: each token is the query of its pixel.
    ///
    /// # Panics
    /// If `train_size` is not a height and a width.
    #[must_use]
    pub fn decoder_config(config: &PerceiverConfig) -> OpticalFlowDecoderConfig {
        let queries = Self::preprocessor_config(config).channels();
        OpticalFlowDecoderConfig {
            layer: config.decoder_layer(queries),
            image_shape: [config.train_size[0], config.train_size[1]],
            output_channels: 2,
            rescale_factor: 100.0,
        }
    }

    /// The model inside.
    #[must_use]
    pub const fn perceiver(&self) -> &PerceiverModel<ImagePreprocessor, OpticalFlowDecoder> {
        &self.perceiver
    }

    /// The motion of every pixel in order, block by block: `[batch, pixels, 2]` each, in memory
    /// that does not grow with their number.
    #[must_use]
    pub fn stream(&self, encoded: &Encoded) -> AnswerStream<'_> {
        let decoder = self.perceiver.decoder();
        let queries = decoder.queries(&encoded.inputs, &());
        decoder.stream(&queries, encoded.encoder.last_hidden_state.clone())
    }

    /// The motion of some pixels in order, as [`stream`](Self::stream) gives that of all.
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// # use perceiver_models::{PerceiverConfig, PerceiverForOpticalFlow, PerceiverHead};
    /// # fn main() -> Result<(), perceiver_models::Error> {
    /// # let device = Device::flex();
    /// # let config = PerceiverConfig::from_json(r#"{"model_type": "perceiver", "num_latents": 4,
    /// #     "d_latents": 8, "num_self_attends_per_block": 1, "num_self_attention_heads": 1,
    /// #     "num_cross_attention_heads": 1, "train_size": [6, 8]}"#)?;
    /// # let model = PerceiverForOpticalFlow::from_config(&config, &device)?;
    /// # let patches = Tensor::<5>::zeros([1, 2, 27, 6, 8], &device);
    /// let encoded = model.encode(patches);
    /// // The first and the last pixel alone.
    /// let pixels = Tensor::from_data([0, 47], &device);
    /// for block in model.stream_at(&encoded, &pixels) {
    ///     assert_eq!(block.answers.dims(), [1, 2, 2]);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Shapes
    /// - `pixels`: `[pixels]`, flat row-major indices into the image
    #[must_use]
    pub fn stream_at(&self, encoded: &Encoded, pixels: &Tensor<1, Int>) -> AnswerStream<'_> {
        let decoder = self.perceiver.decoder();
        let queries = decoder.queries_at(&encoded.inputs, pixels);
        decoder.stream(&queries, encoded.encoder.last_hidden_state.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_largest_motion_is_read_if_it_is_there_and_makes_sense() {
        let motion = |field: &str| {
            let text = format!(r#"{{"model_type": "perceiver"{field}}}"#);
            PerceiverForOpticalFlow::trained_motion(&PerceiverConfig::from_json(&text).unwrap())
        };
        assert_eq!(motion("").unwrap(), None);
        assert_eq!(motion(r#", "trained_motion": 3.5"#).unwrap(), Some(3.5));
        assert_eq!(motion(r#", "trained_motion": 3"#).unwrap(), Some(3.0));
        for wrong in ["0", "-1", "1e300", "\"3\"", "null"] {
            let error = motion(&format!(r#", "trained_motion": {wrong}"#)).unwrap_err().to_string();
            assert!(error.contains("trained_motion"), "{error}");
        }
    }
}
