use image::RgbImage;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Operation;

/// Random operations of one magnitude.
///
/// # Source
/// arXiv 1909.13719; `torchvision.transforms.RandAugment`.
///
/// # Differences
/// Perceiver IO uses four layers of magnitude 5 on the scale from 0 to 10 of TensorFlow's
/// implementation, which is 15 here. That implementation has other operations (inversion,
/// cut-outs) and other maximum shifts, and fills empty pixels with grey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandAugment {
    /// Number of operations, applied one after another.
    pub layers: usize,
    /// Strength of the operations, from 0 to 30.
    pub magnitude: u32,
}

impl RandAugment {
    /// Applies random operations to an image.
    ///
    /// # Panics
    /// If the magnitude is above 30.
    #[must_use]
    pub fn apply(&self, mut image: RgbImage, random: &mut ChaCha8Rng) -> RgbImage {
        for _ in 0..self.layers {
            let operation = Operation::ALL[random.random_range(0..Operation::ALL.len())];
            image = operation.apply(&image, self.magnitude, random.random());
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use image::Rgb;
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn every_operation_is_drawn_both_ways() {
        let image = RgbImage::from_fn(40, 30, |x, y| Rgb([x as u8 * 5, y as u8 * 7, 50]));
        let ways = |operation: Operation| {
            [false, true].map(|is_negative| operation.apply(&image, 20, is_negative))
        };
        let expected: HashSet<RgbImage> = Operation::ALL.into_iter().flat_map(ways).collect();
        let one = RandAugment { layers: 1, magnitude: 20 };
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let seen: HashSet<RgbImage> =
            (0..400).map(|_| one.apply(image.clone(), &mut random)).collect();
        assert!(seen == expected, "{} instead of {} images", seen.len(), expected.len());
    }

    #[test]
    fn layers_follow_each_other() {
        let image = RgbImage::from_fn(9, 8, |x, y| Rgb([x as u8 * 20, y as u8 * 30, 50]));
        let random = ChaCha8Rng::seed_from_u64(4);
        let once = RandAugment { layers: 1, magnitude: 9 };
        let mut by_one = random.clone();
        let twice = once.apply(once.apply(image.clone(), &mut by_one), &mut by_one);
        let two = RandAugment { layers: 2, ..once };
        assert_eq!(two.apply(image, &mut random.clone()), twice);
    }
}
