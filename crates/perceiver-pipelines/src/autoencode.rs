use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use ndarray::Array2;
use perceiver_data::centre_square;
use perceiver_models::{
    Head, LoadReport, MultimodalInput, OutputPoints, PerceiverConfig,
    PerceiverForMultimodalAutoencoding, PerceiverHead as _, hub,
};

use crate::classify::{ScoreKind, ScoredLabel, scored_labels};
use crate::clips::{VideoClip, VideoClips};
use crate::latent_rows::latent_rows;
use crate::model_files::{ModelFiles, Opened};
use crate::squared_error::SquaredError;
use crate::{Error, Progress, Result};

/// Most pixels or samples of a clip: 334 times the published model's pixels.
const MAX_CLIP: usize = 1 << 28;

/// Reconstructs videos with their sound from a few latents, and classifies them.
///
/// Clips are independent of each other. Each is encoded once and decoded block by block, so memory
/// does not grow with the length of the video. The label is always hidden from the model; its
/// prediction classifies the video.
///
/// ```no_run
/// use burn::tensor::Device;
/// use perceiver_pipelines::{Autoencode, read_frames, read_video_sound};
///
/// # fn main() -> perceiver_pipelines::Result<()> {
/// # #[cfg(feature = "flex")] {
/// let pipeline = Autoencode::from_pretrained("multimodal-perceiver", &Device::flex())?;
/// let sound = read_video_sound("clip.mp4")?.at_rate(pipeline.sample_rate())?;
/// let frames = read_frames("clip.mp4")?.at_rate(Autoencode::FRAMES_PER_SECOND);
/// for reconstruction in pipeline.run_all(pipeline.clips(frames, sound.samples)) {
///     println!("{:.2} dB", reconstruction?.picture_error.psnr());
/// }
/// # }
/// # Ok(())
/// # }
/// ```
///
/// # Source
/// Perceiver IO section 4.3 and its multimodal notebook.
///
/// # Differences
/// The notebook runs the whole model for each of 128 parts of a clip; here the clip is encoded
/// once, with the same result. [`centre_square`] resizes the frames.
#[derive(Debug, Clone)]
pub struct Autoencode {
    model: PerceiverForMultimodalAutoencoding,
    config: PerceiverConfig,
    report: LoadReport,
    warnings: Vec<String>,
    device: Device,
}

/// A clip as the model reconstructs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconstruction {
    /// The clip's frames, [`frame_side`](Autoencode::frame_side) pixels wide and high.
    pub frames: Vec<RgbImage>,
    /// Their sound, mostly from −1 to 1.
    pub samples: Vec<f32>,
    /// All labels with their probabilities, highest first.
    pub labels: Vec<ScoredLabel>,
    /// Error of the colours, which go from 0 to 1, relative to the clip's square frames.
    pub picture_error: SquaredError,
    /// Error of the samples.
    pub sound_error: SquaredError,
}

impl Autoencode {
    /// Frame rate of the published model's training videos, in frames per second.
    pub const FRAMES_PER_SECOND: f64 = 25.0;

    /// Loads a model from a folder, or by a hub id such as `deepmind/multimodal-perceiver`.
    ///
    /// # Errors
    /// [`Error::WrongHead`] if the model is not an autoencoder; [`Error::Config`] with [`Error::ClipShape`],
    /// [`Error::ClipTooLarge`] or [`Error::ClipSamples`] if it does not decode the clips that it
    /// reads; [`Error::Model`] if it cannot be loaded.
    pub fn from_pretrained(source: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::load(ModelFiles::folder(&hub::folder(source)?), device)
    }

    /// Loads a model from files in memory: names and contents of `config.json` and
    /// `model.safetensors`.
    ///
    /// # Errors
    /// As [`from_pretrained`](Self::from_pretrained).
    pub fn from_files(files: &[(&str, &[u8])], device: &Device) -> Result<Self> {
        Self::load(ModelFiles::memory(files), device)
    }

    fn load(files: ModelFiles<'_>, device: &Device) -> Result<Self> {
        let expected = "a PerceiverForMultimodalAutoencoding";
        let config = files.config(|head| head == Head::MultimodalAutoencoding, expected)?;
        check_shapes(&config).map_err(|error| error.in_config(&files.config_path()))?;
        let Opened { head: model, config, report } = files.open(device)?;
        let warnings = report.warnings();
        Ok(Self { model, config, report, warnings, device: device.clone() })
    }

    /// Warnings about the model's files, one line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Number of frames of a whole clip.
    #[must_use]
    pub fn clip_frames(&self) -> usize {
        self.config.num_frames
    }

    /// Width and height of the model's frames, in pixels.
    #[must_use]
    pub fn frame_side(&self) -> u32 {
        side(&self.config) as u32
    }

    /// Sample rate of the model's sound, in samples per second.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        let samples = self.config.audio_samples_per_frame as f64;
        (samples * Self::FRAMES_PER_SECOND) as u32
    }

    /// Splits a video into clips, the last of which may have fewer frames.
    ///
    /// The frames determine the length of the video: longer sound is cut, and missing sound is
    /// silence.
    pub fn clips<I>(&self, frames: I, sound: Vec<f32>) -> VideoClips<I::IntoIter>
    where
        I: IntoIterator<Item = perceiver_data::Result<RgbImage>>,
    {
        let (count, samples) = (self.config.num_frames, self.config.audio_samples_per_frame);
        VideoClips::new(frames.into_iter(), sound, self.frame_side(), (count, samples))
    }

    /// Encodes a clip and decodes all of it.
    ///
    /// A short clip is padded with its last frame and silence; the reconstruction of the padding is
    /// dropped.
    ///
    /// # Errors
    /// [`Error::ClipLength`] if the clip has no frames or more than
    /// [`clip_frames`](Self::clip_frames).
    ///
    /// # Panics
    /// If a frame has no pixels.
    pub fn run(&self, clip: &VideoClip) -> Result<Reconstruction> {
        self.run_with_progress(clip, |_| ())
    }

    /// Reconstructs many clips in order, such as those of [`clips`](Self::clips).
    ///
    /// # Errors
    /// Each clip has its own result, with the errors of [`run`](Self::run). Errors of `clips` are
    /// passed on.
    ///
    /// # Panics
    /// If a frame has no pixels.
    pub fn run_all<I>(&self, clips: I) -> impl Iterator<Item = Result<Reconstruction>> + use<'_, I>
    where
        I: IntoIterator<Item = Result<VideoClip>>,
    {
        clips.into_iter().map(|clip| self.run(&clip?))
    }

    /// Like [`run`](Self::run); `on_progress` counts decoded queries.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Panics
    /// If a frame has no pixels.
    pub fn run_with_progress(
        &self,
        clip: &VideoClip,
        on_progress: impl FnMut(Progress),
    ) -> Result<Reconstruction> {
        let (squares, sound) = self.fitted(clip)?;
        let samples = sound.len();
        let input = self.input(&squares, sound.clone());
        let decoded = self.decode(input, on_progress);
        self.report.check_outputs(decoded.iter().flatten().copied())?;
        let [found_sound, colours, logits] = decoded;
        let colours: Vec<f32> = colours.into_iter().map(|colour| colour.clamp(0.0, 1.0)).collect();
        let frame_size = 3 * side(&self.config) * side(&self.config);
        let mut picture_error = SquaredError::default();
        let frames =
            squares.iter().zip(colours.chunks_exact(frame_size)).map(|(square, colours)| {
                picture_error.add(square.iter().map(|&level| level_to_colour(level)), colours);
                let levels = colours.iter().map(|colour| (colour * 255.0).round() as u8).collect();
                RgbImage::from_raw(square.width(), square.height(), levels).unwrap_or_default()
            });
        let frames = frames.collect();
        let mut sound_error = SquaredError::default();
        sound_error.add(sound.into_iter(), &found_sound);
        let samples = found_sound[..samples].to_vec();
        let labels = scored_labels(&logits, &self.config, ScoreKind::Softmax);
        Ok(Reconstruction { frames, samples, labels, picture_error, sound_error })
    }

    /// Encodes a clip into the model's latents, as [`run`](Self::run) does, without decoding it.
    ///
    /// # Shapes
    /// - returns: `[latents, latent_channels]`
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Panics
    /// If a frame has no pixels.
    pub fn latents(&self, clip: &VideoClip) -> Result<Array2<f32>> {
        let (squares, sound) = self.fitted(clip)?;
        let input = self.input(&squares, sound);
        let encoded = self.model.encode(input);
        let rows = latent_rows(encoded.encoder.last_hidden_state);
        self.report.check_outputs(rows.iter().copied())?;
        Ok(rows)
    }

    /// The clip's frames at the model's size, and their sound.
    fn fitted(&self, clip: &VideoClip) -> Result<(Vec<RgbImage>, Vec<f32>)> {
        let (count, limit) = (clip.frames.len(), self.config.num_frames);
        if count == 0 || count > limit {
            return Err(Error::ClipLength { frames: count, limit });
        }
        let squares: Vec<RgbImage> =
            clip.frames.iter().map(|frame| centre_square(frame, self.frame_side())).collect();
        let samples = count * self.config.audio_samples_per_frame;
        let mut sound: Vec<f32> = clip.samples.iter().copied().take(samples).collect();
        sound.resize(samples, 0.0);
        Ok((squares, sound))
    }

    /// The tensors of a whole, padded clip.
    fn input(&self, squares: &[RgbImage], mut sound: Vec<f32>) -> MultimodalInput {
        let (frames, side) = (self.config.num_frames, side(&self.config));
        let repeated = squares.iter().chain(std::iter::repeat(&squares[squares.len() - 1]));
        let mut colours = Vec::with_capacity(frames * 3 * side * side);
        for square in repeated.take(frames) {
            for channel in 0..3 {
                colours.extend(square.pixels().map(|pixel| level_to_colour(pixel.0[channel])));
            }
        }
        let samples = frames * self.config.audio_samples_per_frame;
        sound.resize(samples, 0.0);
        let (image, audio) = ([1, frames, 3, side, side], [1, samples, 1]);
        MultimodalInput {
            audio: Tensor::from_data(TensorData::new(sound, audio), &self.device),
            image: Tensor::from_data(TensorData::new(colours, image), &self.device),
            label: Tensor::zeros([1, self.config.num_labels()], &self.device),
            hidden_labels: None,
        }
    }

    /// The samples, the colours of the pixels frame by frame, and the scores of the labels.
    fn decode(
        &self,
        input: MultimodalInput,
        mut on_progress: impl FnMut(Progress),
    ) -> [Vec<f32>; 3] {
        let encoded = self.model.encode(input);
        let mut answers = self.model.stream(&encoded, &OutputPoints::default());
        let total = answers.queries();
        on_progress(Progress { done: 0, total });
        let mut found = [const { Vec::new() }; 3];
        while let Some(block) = answers.next() {
            found[block.segment].extend(block.answers.into_data().iter::<f32>());
            on_progress(Progress { done: answers.answered(), total });
        }
        found
    }
}

fn level_to_colour(level: u8) -> f32 {
    f32::from(level) / 255.0
}

/// Side of a frame in pixels: the model's grid is one of patches.
fn side(config: &PerceiverConfig) -> usize {
    let image = PerceiverForMultimodalAutoencoding::preprocessor_config(config).image;
    config.image_size.height_width()[0].saturating_mul(image.spatial_downsample)
}

/// Refuses models that do not decode as many frames and pixels as they read.
fn check_shapes(config: &PerceiverConfig) -> Result<()> {
    let expected = [config.num_frames, side(config), side(config)];
    let found = config.output_shape.get(1..).unwrap_or_default();
    if found != expected {
        return Err(Error::ClipShape { found: found.to_vec(), expected });
    }
    let samples = config.num_frames * config.audio_samples_per_frame;
    for (size, unit) in [(found.iter().product(), "pixels"), (samples, "samples")] {
        if size > MAX_CLIP {
            return Err(Error::ClipTooLarge { size, unit, limit: MAX_CLIP });
        }
    }
    let patch = config.samples_per_patch;
    if patch == 0 || !samples.is_multiple_of(patch) {
        return Err(Error::ClipSamples { samples, patch });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_pipeline_can_be_sent_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Autoencode>();
    }

    #[test]
    fn shapes_that_no_clip_can_have_are_refused() {
        assert!(check_shapes(&PerceiverConfig::default()).is_ok());
        let message = |change: fn(&mut PerceiverConfig)| {
            let mut config = PerceiverConfig::default();
            change(&mut config);
            check_shapes(&config).unwrap_err().to_string()
        };
        let other = message(|config| config.num_frames = 8);
        assert!(other.contains("[16, 224, 224], expected the [8, 224, 224]"), "{other}");
        let uneven = message(|config| config.samples_per_patch = 7);
        assert!(uneven.contains("is 7, expected a divisor of the 30720 samples"), "{uneven}");
        let huge = message(|config| {
            config.num_frames = 1 << 20;
            config.output_shape = vec![1, 1 << 20, 224, 224];
        });
        assert!(huge.contains("52613349376 pixels, expected at most 268435456"), "{huge}");
    }
}
