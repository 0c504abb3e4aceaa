use burn::tensor::{Device, Tensor, TensorData};
use ndarray::Array2;
use perceiver_data::{LabelledImage, PerceiverImageProcessor};
use rand_chacha::ChaCha8Rng;

use super::mixing;
use crate::loader::Collate;
use crate::objective::LabelledImages;

/// Makes batches of images, with values scaled to the model's range.
///
/// # Differences
/// DeepMind mixes two batches into one; here the images of one batch are mixed with each other.
///
/// # Source
/// `perceiver/train/dataset.py` and `experiment.py` of DeepMind's deepmind-research.
#[derive(Debug, Clone)]
pub struct ImageBatcher {
    /// Scales values. Images have the right size already.
    pub processor: PerceiverImageProcessor,
    /// Number of classes.
    pub classes: usize,
    /// Share of an image's target that is spread evenly over all classes: 0.1 in the paper.
    pub label_smoothing: f32,
    /// Applies MixUp (arXiv 1710.09412, shares drawn from Beta(0.2, 0.2)) to half of a batch, and
    /// CutMix (arXiv 1905.04899) to the other half, as in the paper.
    pub mixed: bool,
}

impl Collate<LabelledImage> for ImageBatcher {
    type Batch = LabelledImages;

    /// # Panics
    /// If images differ in size, or a label is not below `classes`.
    fn batch(
        &self,
        examples: Vec<LabelledImage>,
        random: &mut ChaCha8Rng,
        device: &Device,
    ) -> LabelledImages {
        let (images, labels): (Vec<_>, Vec<_>) =
            examples.into_iter().map(|example| (example.image, example.label)).unzip();
        let mut pixels = self.processor.values(&images).unwrap_or_else(|error| panic!("{error}"));
        let mut targets = self.targets(&labels);
        if self.mixed {
            mixing::mix(&mut pixels, &mut targets, random);
        }
        let (shape, target_shape) = (pixels.shape().to_vec(), targets.shape().to_vec());
        let pixels = TensorData::new(pixels.into_raw_vec_and_offset().0, shape);
        let targets = TensorData::new(targets.into_raw_vec_and_offset().0, target_shape);
        LabelledImages {
            pixels: Tensor::from_data(pixels, device),
            targets: Tensor::from_data(targets, device),
        }
    }
}

impl ImageBatcher {
    /// `[images, classes]`
    fn targets(&self, labels: &[usize]) -> Array2<f32> {
        let spread = self.label_smoothing / self.classes as f32;
        let mut targets = Array2::from_elem((labels.len(), self.classes), spread);
        for (index, &label) in labels.iter().enumerate() {
            assert!(label < self.classes, "label {label} is not one of {} classes", self.classes);
            targets[[index, label]] += 1.0 - self.label_smoothing;
        }
        targets
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use image::{Rgb, RgbImage};
    use rand::SeedableRng;

    use super::*;

    fn batcher(mixed: bool) -> ImageBatcher {
        let processor = PerceiverImageProcessor::default();
        ImageBatcher { processor, classes: 4, label_smoothing: 0.2, mixed }
    }

    fn batch(mixed: bool, seed: u64) -> LabelledImages {
        let example = |level: u8, label| LabelledImage {
            image: RgbImage::from_pixel(3, 2, Rgb([level, 0, 255])),
            label,
        };
        let examples = vec![example(0, 3), example(255, 0), example(9, 1), example(90, 2)];
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        batcher(mixed).batch(examples, &mut random, &Device::flex())
    }

    fn numbers<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
        tensor.to_data().try_to_vec().unwrap()
    }

    #[test]
    fn pixels_are_normalised_by_channel() {
        let pixels = batch(false, 0).pixels;
        assert_eq!(pixels.dims(), [4, 3, 2, 3]);
        let second = numbers(&pixels.slice([1..2, 0..3, 0..1, 0..1]));
        // The mean and deviation of ImageNet, at the levels 255, 0 and 255.
        let expected = [(1.0 - 0.485) / 0.229, -0.456 / 0.224, (1.0 - 0.406) / 0.225];
        for (value, expected) in second.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-5, "{value} instead of {expected}");
        }
    }

    #[test]
    fn smoothed_targets_leave_each_class_its_share() {
        let targets = batch(false, 0).targets;
        assert_eq!(numbers(&targets.narrow(0, 0, 1)), [0.05, 0.05, 0.05, 0.05 + 0.8]);
    }

    #[test]
    fn mixtures_repeat_with_their_seed_alone() {
        let values = |seed| numbers(&batch(true, seed).pixels);
        assert_eq!(values(1), values(1));
        assert_ne!(values(1), values(2));
    }

    #[test]
    #[should_panic(expected = "label 4 is not one of 4 classes")]
    fn labels_beyond_the_classes_are_the_caller_s_mistake() {
        let _ = batcher(false).targets(&[0, 4]);
    }
}
