use burn::module::Module;
use burn::tensor::{Device, Tensor};
use perceiver_core::AnswerStream;
use perceiver_io::{
    AudioPostprocessor, AudioPreprocessorConfig, ClassificationPostprocessor, Combination, Decoded,
    Decoder, ImagePreparation, ImagePreprocessorConfig, Modalities, MultimodalDecoder,
    MultimodalDecoderConfig, MultimodalInput, MultimodalOutput, MultimodalPostprocessor,
    MultimodalPreprocessor, MultimodalPreprocessorConfig, MultimodalQueryConfig, OutputPoints,
    PositionConfig, ProjectionPostprocessor,
};

use super::PerceiverClassifierOutput;
use crate::config::PerceiverConfig;
use crate::head::HeadRequest;
use crate::model::{Encoded, PerceiverModel, PerceiverModelOutput};
use crate::{Error, PerceiverHead};

/// Reconstructs video, sound and label from one small array of latents.
///
/// The label's token is masked, which makes the model a video classifier; in training
/// [`MultimodalInput::hidden_labels`] shows some.
///
/// Without [points](crate::Request::points), all of them are decoded: 802 816 pixels at the published
/// size.
///
/// # Shapes
/// - input: see [`MultimodalInput`]
/// - mask: `[batch, tokens]`, audio patches, then image patches, then the label
/// - logits: see [`MultimodalOutput`]
///
/// # Source
/// Perceiver IO section 4.3; `PerceiverForMultimodalAutoencoding`.
#[derive(Module, Debug)]
pub struct PerceiverForMultimodalAutoencoding {
    perceiver: MultimodalPerceiver,
}

type MultimodalPerceiver =
    PerceiverModel<MultimodalPreprocessor, MultimodalDecoder, MultimodalPostprocessor>;

impl PerceiverHead for PerceiverForMultimodalAutoencoding {
    const NAME: &'static str = "PerceiverForMultimodalAutoencoding";

    type Input = MultimodalInput;
    type Labels = ();
    type Points = OutputPoints;
    type Output = PerceiverClassifierOutput<MultimodalOutput>;

    fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error> {
        config.validate_for(Self::NAME.parse()?)?;
        let init = config.initialisation();
        let perceiver = PerceiverModel::new(
            config,
            Self::preprocessor_config(config).init(init, device),
            Self::decoder_config(config).init(init, device),
            postprocessor(config, device),
            device,
        );
        Ok(Self { perceiver })
    }

    fn encode(&self, request: impl Into<HeadRequest<Self>>) -> Encoded {
        self.perceiver.encode(request)
    }

    fn forward(&self, request: impl Into<HeadRequest<Self>>) -> Self::Output {
        let request = request.into();
        let (points, outputs) = (request.points.clone(), request.outputs);
        let encoded = self.encode(request);
        let decoded = if outputs.attentions {
            self.decode_with_attentions(&encoded, &points)
        } else {
            self.decode(&encoded, &points)
        };
        PerceiverClassifierOutput::new(PerceiverModelOutput::new(encoded.encoder, decoded), None)
    }
}

impl PerceiverForMultimodalAutoencoding {
    /// The preprocessor.
    #[must_use]
    pub fn preprocessor_config(config: &PerceiverConfig) -> MultimodalPreprocessorConfig {
        MultimodalPreprocessorConfig {
            audio: AudioPreprocessorConfig {
                samples_per_patch: config.samples_per_patch,
                positions: audio_positions(config),
                combination: Combination::Concat,
            },
            image: ImagePreprocessorConfig {
                preparation: ImagePreparation::Patches { linear: None },
                in_channels: 3,
                out_channels: 64,
                spatial_downsample: 4,
                temporal_downsample: 1,
                positions: image_positions(config),
                combination: Combination::Concat,
            },
            labels: config.num_labels(),
            min_padding: 4,
            mask_probabilities: Modalities { audio: Some(0.0), image: Some(0.0), label: Some(1.0) },
        }
    }

    /// The decoder of sound patches, pixels and label.
    ///
    /// # Panics
    /// If `output_shape` is not a batch, frames, a height and a width, or `samples_per_patch` is
    /// zero.
    #[must_use]
    pub fn decoder_config(config: &PerceiverConfig) -> MultimodalDecoderConfig {
        let samples = config.num_frames * config.audio_samples_per_frame;
        let shape = &config.output_shape;
        let queries = MultimodalQueryConfig {
            audio: (audio_positions(config), samples / config.samples_per_patch),
            image: (image_positions(config), [shape[1], shape[2], shape[3]]),
            label: PositionConfig::trainable(1, config.label_trainable_num_channels),
            min_padding: 2,
        };
        let layer = config.decoder_layer(queries.channels());
        let output_channels = config.output_num_channels;
        MultimodalDecoderConfig { queries, layer, output_channels }
    }

    /// The model inside.
    #[must_use]
    pub const fn perceiver(&self) -> &MultimodalPerceiver {
        &self.perceiver
    }

    /// Decodes some points of an encoded clip.
    ///
    /// Without gradients the answers come through a [`stream`](Self::stream).
    ///
    /// # Panics
    /// If the points include no sound or no pixel; [`stream`](Self::stream) allows either.
    #[must_use]
    pub fn decode(&self, encoded: &Encoded, points: &OutputPoints) -> Decoded<MultimodalOutput> {
        let latents = &encoded.encoder.last_hidden_state;
        if self.perceiver.decoder().has_gradients(latents) {
            return self.perceiver.decode(encoded, points);
        }
        let mut answers = [const { Vec::new() }; 3];
        for block in self.stream(encoded, points) {
            answers[block.segment].push(block.answers);
        }
        let logits = MultimodalOutput::from_mapped(answers.map(|blocks| Tensor::cat(blocks, 1)));
        Decoded { logits, cross_attentions: None }
    }

    /// Decodes some points of an encoded clip, and returns the attention probabilities too.
    #[must_use]
    pub fn decode_with_attentions(
        &self,
        encoded: &Encoded,
        points: &OutputPoints,
    ) -> Decoded<MultimodalOutput> {
        self.perceiver.decode_with_attentions(encoded, points)
    }

    /// Decodes some points of an encoded clip block by block, in memory that does not grow with
    /// the points.
    ///
    /// Blocks come in order: sound patches (segment 0) as samples, then pixels (segment 1) as
    /// colours, then the label (segment 2) as scores.
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// # use perceiver_models::{
    /// #     MultimodalInput, OutputPoints, PerceiverConfig, PerceiverForMultimodalAutoencoding,
    /// #     PerceiverHead,
    /// # };
    /// # fn main() -> Result<(), perceiver_models::Error> {
    /// # let device = Device::flex();
    /// # let config = PerceiverConfig::from_json(r#"{"model_type": "perceiver", "num_latents": 4,
    /// #     "d_latents": 8, "num_self_attends_per_block": 1, "num_self_attention_heads": 1,
    /// #     "num_cross_attention_heads": 1, "image_size": 8, "num_frames": 2,
    /// #     "audio_samples_per_frame": 32, "samples_per_patch": 16, "output_shape": [1, 2, 8, 8],
    /// #     "output_num_channels": 8, "_label_trainable_num_channels": 8}"#)?;
    /// # let model = PerceiverForMultimodalAutoencoding::from_config(&config, &device)?;
    /// # let clip = MultimodalInput {
    /// #     audio: Tensor::zeros([1, 64, 1], &device),
    /// #     image: Tensor::zeros([1, 2, 3, 8, 8], &device),
    /// #     label: Tensor::zeros([1, config.num_labels()], &device),
    /// #     hidden_labels: None,
    /// # };
    /// let encoded = model.encode(clip);
    /// // The sound, and every second pixel of the first row.
    /// let pixels = Tensor::from_data([0, 2, 4, 6], &device);
    /// let points = OutputPoints { audio: None, image: Some(pixels) };
    /// let mut answers = model.stream(&encoded, &points);
    /// while let Some(block) = answers.next() {
    ///     let [_, count, channels] = block.answers.dims();
    ///     println!("{count} answers of {channels} channels from {}", block.start);
    ///     println!("{} of {} done", answers.answered(), answers.queries());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn stream(&self, encoded: &Encoded, points: &OutputPoints) -> AnswerStream<'_> {
        let decoder = self.perceiver.decoder();
        let queries = decoder.queries(&encoded.inputs, points);
        let latents = encoded.encoder.last_hidden_state.clone();
        decoder.stream(&queries, latents, self.perceiver.output_postprocessor())
    }
}

fn postprocessor(config: &PerceiverConfig, device: &Device) -> MultimodalPostprocessor {
    let init = config.initialisation();
    let channels = config.output_num_channels;
    MultimodalPostprocessor::new(
        AudioPostprocessor::new(channels, config.samples_per_patch, init, device),
        ProjectionPostprocessor::new(channels, 3, init, device),
        ClassificationPostprocessor::new(channels, config.num_labels(), init, device),
    )
}

fn audio_positions(config: &PerceiverConfig) -> PositionConfig {
    PositionConfig::fourier(192, &[config.num_frames * config.audio_samples_per_frame])
}

fn image_positions(config: &PerceiverConfig) -> PositionConfig {
    let [height, width] = config.image_size.height_width();
    PositionConfig::fourier(32, &[config.num_frames, height, width])
}
