use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use ndarray::Array2;
use perceiver_data::centre_square;
use perceiver_io::{MultimodalInput, OutputPoints};
use perceiver_models::{
    Head, PerceiverConfig, PerceiverForMultimodalAutoencoding, PerceiverHead as _, Pretrained,
};

use crate::classify::{ScoreKind, ScoredLabel, scored_labels};
use crate::clips::{Clip, Clips};
use crate::latent_rows::latent_rows;
use crate::squared_error::SquaredError;
use crate::{Error, Progress, Result};

/// Pixels or samples of a clip; 334 times the published model's pixels.
const MAX_CLIP: usize = 1 << 28;

/// Side of the patches that a frame is cut into, in pixels.
const PATCH: usize = 4;

/// Re-creates videos with their sound from a few latents, and names what is seen.
///
/// Clips are independent of each other. Each is encoded once and decoded in a stream, so that
/// memory does not grow with the length of the video. The label is always hidden from the model,
/// whose guess makes it a classifier of videos.
///
/// ```no_run
/// use burn::tensor::Device;
/// use perceiver_data::{read_frames, read_video_sound};
/// use perceiver_pipelines::Autoencode;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # #[cfg(feature = "flex")] {
/// let pipeline = Autoencode::from_pretrained("multimodal-perceiver", &Device::flex())?;
/// let sound = read_video_sound("clip.mp4")?.at_rate(pipeline.sample_rate())?;
/// let frames = read_frames("clip.mp4")?.at_rate(Autoencode::FRAMES_PER_SECOND);
/// for clip in pipeline.clips(frames, sound.samples) {
///     let reconstruction = pipeline.run(&clip?, &mut |_| ())?;
///     println!("{:.2} dB", reconstruction.picture_error.psnr());
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
/// once, with the same result. Squares of frames are resized by [`centre_square`].
#[derive(Debug)]
pub struct Autoencode {
    model: PerceiverForMultimodalAutoencoding,
    config: PerceiverConfig,
    warnings: Vec<String>,
    device: Device,
}

/// A clip as the model remembers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconstruction {
    /// As many frames as the clip has, of [`frame_side`](Autoencode::frame_side) pixels.
    pub frames: Vec<RgbImage>,
    /// Their sound, mostly from −1 to 1.
    pub samples: Vec<f32>,
    /// Every label with its probability, highest first.
    pub labels: Vec<ScoredLabel>,
    /// How far colours, from 0 to 1, are from those of the clip's squares.
    pub picture_error: SquaredError,
    /// How far samples are from the clip's.
    pub sound_error: SquaredError,
}

impl Autoencode {
    /// Frames a second of the videos that the published model has seen.
    pub const FRAMES_PER_SECOND: f64 = 25.0;

    /// Loads the model of a folder onto a device.
    ///
    /// # Errors
    /// [`Error::WrongHead`] where the folder's model does something else; [`Error::ClipShape`]
    /// where what it decodes is not of the shape that it reads; [`Error::Model`] where it cannot be
    /// loaded.
    pub fn from_pretrained(folder: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let folder = folder.as_ref();
        let config = PerceiverConfig::from_pretrained(folder)?;
        if let Ok(head) = config.head()
            && head != Head::MultimodalAutoencoding
        {
            let path = folder.to_path_buf();
            let expected = "a PerceiverForMultimodalAutoencoding";
            return Err(Error::WrongHead { path, head, expected });
        }
        check_shapes(&config)?;
        let Pretrained { model, config, report } =
            PerceiverForMultimodalAutoencoding::from_pretrained(folder, device)?;
        Ok(Self { model, config, warnings: report.warnings(), device: device.clone() })
    }

    /// What was suspicious about the weights, a line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Frames of a whole clip.
    #[must_use]
    pub fn clip_frames(&self) -> usize {
        self.config.num_frames
    }

    /// Width and height of a frame as the model sees it, in pixels.
    #[must_use]
    pub fn frame_side(&self) -> u32 {
        side(&self.config) as u32
    }

    /// Samples of sound a second: those that go with so many frames.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        let samples = self.config.audio_samples_per_frame as f64;
        (samples * Self::FRAMES_PER_SECOND) as u32
    }

    /// Cuts a video into clips, the last of which may have fewer frames.
    ///
    /// The pictures say how long the video is: of the sound, what goes beyond them is left out, and
    /// what is missing is silence.
    pub fn clips<I>(&self, frames: I, sound: Vec<f32>) -> Clips<I::IntoIter>
    where
        I: IntoIterator<Item = perceiver_data::Result<RgbImage>>,
    {
        let (count, samples) = (self.config.num_frames, self.config.audio_samples_per_frame);
        Clips::new(frames.into_iter(), sound, self.frame_side(), (count, samples))
    }

    /// Encodes a clip and decodes all of it.
    ///
    /// A clip that is not whole is lengthened by its last frame and by silence, and what the model
    /// makes of that is left out.
    ///
    /// # Errors
    /// [`Error::ClipLength`] where the clip has no frame, or more than
    /// [`clip_frames`](Self::clip_frames).
    ///
    /// # Panics
    /// If a frame has no pixels.
    pub fn run(&self, clip: &Clip, progress: &mut dyn FnMut(Progress)) -> Result<Reconstruction> {
        let (squares, sound) = self.fitted(clip)?;
        let samples = sound.len();
        let input = self.input(&squares, sound.clone());
        let [found_sound, colours, logits] = self.decode(input, progress);
        let colours: Vec<f32> = colours.into_iter().map(|colour| colour.clamp(0.0, 1.0)).collect();
        let of_frame = 3 * side(&self.config) * side(&self.config);
        let mut picture_error = SquaredError::default();
        let frames = squares.iter().zip(colours.chunks_exact(of_frame)).map(|(square, colours)| {
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

    /// Encodes a clip alone, as [`run`](Self::run) does, into the model's latents.
    ///
    /// # Shapes
    /// - returns: `[latents, latent_channels]`
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    ///
    /// # Panics
    /// If a frame has no pixels.
    pub fn latents(&self, clip: &Clip) -> Result<Array2<f32>> {
        let (squares, sound) = self.fitted(clip)?;
        let input = self.input(&squares, sound);
        let encoded = self.model.encode(input);
        Ok(latent_rows(encoded.encoder.last_hidden_state))
    }

    /// The clip's frames as the model sees them, and as much sound.
    fn fitted(&self, clip: &Clip) -> Result<(Vec<RgbImage>, Vec<f32>)> {
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

    /// The tensors of a whole clip.
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

    /// Samples, colours of the pixels frame by frame, and the labels' scores.
    fn decode(&self, input: MultimodalInput, progress: &mut dyn FnMut(Progress)) -> [Vec<f32>; 3] {
        let encoded = self.model.encode(input);
        let mut answers = self.model.stream(&encoded, &OutputPoints::default());
        let total = answers.queries();
        progress(Progress { done: 0, total });
        let mut found = [const { Vec::new() }; 3];
        while let Some(block) = answers.next() {
            found[block.segment].extend(block.answers.into_data().iter::<f32>());
            progress(Progress { done: answers.answered(), total });
        }
        found
    }
}

fn level_to_colour(level: u8) -> f32 {
    f32::from(level) / 255.0
}

/// Sides of a frame: the model's grid is one of patches.
fn side(config: &PerceiverConfig) -> usize {
    config.image_size.height_width()[0].saturating_mul(PATCH)
}

/// Refuses models that decode another number of frames or pixels than they read.
fn check_shapes(config: &PerceiverConfig) -> Result<()> {
    let expected = [config.num_frames, side(config), side(config)];
    let found = config.output_shape.get(1..).unwrap_or_default();
    if found != expected {
        return Err(Error::ClipShape { found: found.to_vec(), expected });
    }
    let samples = config.num_frames * config.audio_samples_per_frame;
    for (size, of) in [(found.iter().product(), "pixels"), (samples, "samples")] {
        if size > MAX_CLIP {
            return Err(Error::ClipTooLarge { size, of, limit: MAX_CLIP });
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
