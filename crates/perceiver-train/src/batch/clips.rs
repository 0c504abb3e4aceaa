use burn::tensor::{Device, Tensor, TensorData};
use perceiver_data::Clip;
use perceiver_io::{MultimodalInput, OutputPoints};
use perceiver_models::losses::{AutoencodingTargets, IGNORED_LABEL};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::loader::Collate;
use crate::objective::ClipBatch;

/// Makes batches of clips of the model's size, with targets at all points or at random ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipBatcher {
    /// Number of classes.
    pub labels: usize,
    /// Samples in a patch of sound, which the model decodes as one.
    pub samples_per_patch: usize,
    /// Number of random points in each batch; all points if absent.
    pub points: Option<ClipPoints>,
    /// Share of labels that the model does not see, from 0 to 1: 0.5 in training, 1 in validation.
    pub hidden_labels: f64,
}

/// Numbers of points to decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClipPoints {
    /// Pixels: 512 in the paper.
    pub pixels: usize,
    /// Samples of sound, rounded down to whole patches, at least one: 512 in the paper.
    pub samples: usize,
}

impl Collate<Clip> for ClipBatcher {
    type Batch = ClipBatch;

    /// # Panics
    /// If clips have no frame or differ in shape, their samples are not whole patches, or a label is
    /// not below `labels`.
    fn batch(&self, examples: Vec<Clip>, random: &mut ChaCha8Rng, device: &Device) -> ClipBatch {
        let shape = Shape::of(&examples, self.samples_per_patch);
        let (pixels, patches) = match self.points {
            None => (None, None),
            Some(points) => {
                let patches = (points.samples / self.samples_per_patch).max(1);
                (
                    drawn(points.pixels, shape.pixels(), random),
                    drawn(patches, shape.samples / self.samples_per_patch, random),
                )
            }
        };
        let hidden: Vec<bool> = examples
            .iter()
            .map(|clip| random.random_bool(self.hidden_labels) || clip.label.is_none())
            .collect();
        ClipBatch {
            input: self.input(&examples, shape, hidden, device),
            targets: self.targets(&examples, pixels.as_deref(), patches.as_deref(), device),
            points: OutputPoints {
                audio: patches.map(|points| indices(points, device)),
                image: pixels.map(|points| indices(points, device)),
            },
        }
    }
}

impl ClipBatcher {
    fn input(
        &self,
        clips: &[Clip],
        shape: Shape,
        hidden: Vec<bool>,
        device: &Device,
    ) -> MultimodalInput {
        let Shape { clips: batch, frames, height, width, samples } = shape;
        let mut colours = Vec::with_capacity(batch * shape.pixels() * 3);
        for frame in clips.iter().flat_map(|clip| &clip.frames) {
            for channel in 0..3 {
                colours.extend(frame.pixels().map(|pixel| colour(pixel[channel])));
            }
        }
        let sound: Vec<f32> = clips.iter().flat_map(|clip| clip.sound.iter().copied()).collect();
        let mut classes = vec![0.0_f32; batch * self.labels];
        for (index, label) in clips.iter().enumerate() {
            if let Some(label) = label.label {
                assert!(label < self.labels, "label {label} is not one of {} classes", self.labels);
                classes[index * self.labels + label] = 1.0;
            }
        }
        let colours = TensorData::new(colours, [batch, frames, 3, height, width]);
        MultimodalInput {
            audio: Tensor::from_data(TensorData::new(sound, [batch, samples, 1]), device),
            image: Tensor::from_data(colours, device),
            label: Tensor::from_data(TensorData::new(classes, [batch, self.labels]), device),
            hidden_labels: Some(Tensor::from_data(TensorData::new(hidden, [batch]), device)),
        }
    }

    /// Values of the clips at some points, or at all points.
    fn targets(
        &self,
        clips: &[Clip],
        pixels: Option<&[usize]>,
        patches: Option<&[usize]>,
        device: &Device,
    ) -> AutoencodingTargets {
        let (mut image, mut audio) = (Vec::<f32>::new(), Vec::<f32>::new());
        for clip in clips {
            // Levels are in the order of points, with the three colours of each side by side.
            let levels = || clip.frames.iter().flat_map(|frame| frame.as_raw());
            match pixels {
                None => image.extend(levels().map(|&level| colour(level))),
                Some(points) => {
                    let levels: Vec<u8> = levels().copied().collect();
                    let of_point = |&point: &usize| levels[point * 3..][..3].iter();
                    image.extend(points.iter().flat_map(of_point).map(|&level| colour(level)));
                }
            }
            match patches {
                None => audio.extend(&clip.sound),
                Some(points) => {
                    let size = self.samples_per_patch;
                    let of_point = |&point: &usize| clip.sound.iter().skip(point * size).take(size);
                    audio.extend(points.iter().flat_map(of_point));
                }
            }
        }
        let batch = clips.len();
        let label = |clip: &Clip| clip.label.map_or(IGNORED_LABEL, |label| label as i64);
        let labels: Vec<i64> = clips.iter().map(label).collect();
        let (points, samples) = (image.len() / 3 / batch, audio.len() / batch);
        AutoencodingTargets {
            audio: Tensor::from_data(TensorData::new(audio, [batch, samples]), device),
            image: Tensor::from_data(TensorData::new(image, [batch, points, 3]), device),
            label: Tensor::from_data(TensorData::new(labels, [batch]), device),
        }
    }
}

/// The common shape of the clips of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    clips: usize,
    frames: usize,
    height: usize,
    width: usize,
    samples: usize,
}

impl Shape {
    fn of(clips: &[Clip], samples_per_patch: usize) -> Self {
        let first = clips.first().and_then(|clip| clip.frames.first()).expect("clips have frames");
        let (frames, samples) = (clips[0].frames.len(), clips[0].sound.len());
        let is_equal = |clip: &Clip| {
            let sizes = clip.frames.iter().all(|frame| frame.dimensions() == first.dimensions());
            sizes && clip.frames.len() == frames && clip.sound.len() == samples
        };
        assert!(clips.iter().all(is_equal), "clips of a batch differ in shape");
        assert!(
            samples.is_multiple_of(samples_per_patch),
            "{samples} samples, expected a multiple of the {samples_per_patch} of a patch"
        );
        let (width, height) = (first.width() as usize, first.height() as usize);
        Self { clips: clips.len(), frames, height, width, samples }
    }

    fn pixels(&self) -> usize {
        self.frames * self.height * self.width
    }
}

/// Random points, drawn with replacement; absent if all points are as few.
fn drawn(count: usize, all: usize, random: &mut ChaCha8Rng) -> Option<Vec<usize>> {
    (count < all).then(|| (0..count).map(|_| random.random_range(0..all)).collect())
}

fn indices(points: Vec<usize>, device: &Device) -> Tensor<1, burn::tensor::Int> {
    let length = points.len();
    let points: Vec<i64> = points.into_iter().map(|point| point as i64).collect();
    Tensor::from_data(TensorData::new(points, [length]), device)
}

fn colour(level: u8) -> f32 {
    f32::from(level) / 255.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use image::{Rgb, RgbImage};
    use rand::SeedableRng;

    use super::*;

    const BATCHER: ClipBatcher = ClipBatcher {
        labels: 5,
        samples_per_patch: 3,
        points: Some(ClipPoints { pixels: 7, samples: 6 }),
        hidden_labels: 0.5,
    };

    /// Two frames of 4x4 pixels with 24 samples; every value encodes its place.
    fn clip(label: Option<usize>) -> Clip {
        let frame = |time: u8| {
            RgbImage::from_fn(4, 4, |x, y| {
                let place = 16 * time + 4 * y as u8 + x as u8;
                Rgb([place, 100 + place, 200])
            })
        };
        let sound = (0..24).map(|sample| sample as f32 / 32.0).collect();
        Clip { frames: vec![frame(0), frame(1)], sound, label }
    }

    fn batch(batcher: ClipBatcher, clips: Vec<Clip>, seed: u64) -> ClipBatch {
        batcher.batch(clips, &mut ChaCha8Rng::seed_from_u64(seed), &Device::flex())
    }

    fn numbers(data: TensorData) -> Vec<f32> {
        data.iter::<f32>().collect()
    }

    #[test]
    fn targets_are_the_values_of_the_clip_at_the_points() {
        let batch = batch(BATCHER, vec![clip(Some(1)), clip(None)], 1);
        let pixels = numbers(batch.points.image.unwrap().into_data());
        assert_eq!((pixels.len(), batch.targets.image.dims()), (7, [2, 7, 3]));
        let colours: Vec<f32> = pixels
            .iter()
            .flat_map(|place| [*place, 100.0 + place, 200.0].map(|level| level / 255.0))
            .collect();
        assert_eq!(numbers(batch.targets.image.into_data()), [&colours[..], &colours].concat());

        let patches = numbers(batch.points.audio.unwrap().into_data());
        assert_eq!((patches.len(), batch.targets.audio.dims()), (2, [2, 6]));
        let samples: Vec<f32> = patches
            .iter()
            .flat_map(|patch| [0.0, 1.0, 2.0].map(|sample| (3.0 * patch + sample) / 32.0))
            .collect();
        assert_eq!(numbers(batch.targets.audio.into_data()), [&samples[..], &samples].concat());
        let labels: Vec<i64> = batch.targets.label.into_data().iter::<i64>().collect();
        assert_eq!(labels, [1, IGNORED_LABEL]);
    }

    #[test]
    fn inputs_are_frames_by_channel_sound_and_one_hot_labels() {
        let input = batch(BATCHER, vec![clip(Some(1)), clip(Some(4))], 1).input;
        assert_eq!(input.image.dims(), [2, 2, 3, 4, 4]);
        let green = input.image.slice([1..2, 1..2, 1..2, 2..3, 3..4]);
        assert_eq!(numbers(green.into_data()), [127.0 / 255.0]);
        assert_eq!(input.audio.dims(), [2, 24, 1]);
        assert_eq!(numbers(input.audio.slice([1..2, 5..6, 0..1]).into_data()), [5.0 / 32.0]);
        let labels = numbers(input.label.into_data());
        assert_eq!(labels, [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn without_points_all_are_taken() {
        let batcher = ClipBatcher { points: None, ..BATCHER };
        let batch = batch(batcher, vec![clip(None)], 1);
        assert!(batch.points.image.is_none() && batch.points.audio.is_none());
        assert_eq!(batch.targets.image.dims(), [1, 32, 3]);
        assert_eq!(batch.targets.audio.dims(), [1, 24]);
        let last = batch.targets.image.slice([0..1, 31..32, 0..3]);
        assert_eq!(numbers(last.into_data()), [31.0, 131.0, 200.0].map(|level| level / 255.0));
    }

    #[test]
    fn labels_are_hidden_as_often_as_set_and_where_there_is_none() {
        let hidden = |share, label| {
            let batcher = ClipBatcher { hidden_labels: share, ..BATCHER };
            let clips = vec![clip(label); 64];
            let hidden = batch(batcher, clips, 2).input.hidden_labels.unwrap().into_data();
            hidden.iter::<bool>().filter(|&hidden| hidden).count()
        };
        assert_eq!((hidden(1.0, Some(0)), hidden(0.0, Some(0)), hidden(0.0, None)), (64, 0, 64));
        // Six standard deviations of 64 tosses of a fair coin are 24.
        assert!((9..=55).contains(&hidden(0.5, Some(0))));
    }

    #[test]
    fn points_repeat_with_their_seed_alone() {
        let points = |seed| {
            numbers(batch(BATCHER, vec![clip(None)], seed).points.image.unwrap().into_data())
        };
        assert_eq!(points(3), points(3));
        assert_ne!(points(3), points(4));
    }

    #[test]
    #[should_panic(expected = "clips of a batch differ in shape")]
    fn clips_of_different_lengths_are_the_caller_s_mistake() {
        let mut short = clip(None);
        short.frames.pop();
        let _ = batch(BATCHER, vec![clip(None), short], 0);
    }
}
