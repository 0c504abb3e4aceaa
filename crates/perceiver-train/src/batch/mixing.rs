//! MixUp and CutMix: mixes pairs of images in a batch, and their targets.

use ndarray::{Array2, Array4, ArrayView3, ArrayViewMut3, Zip, s};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Both parameters of the beta distribution of MixUp's shares.
const ALPHA: f64 = 0.2;

/// Mixes the first half of a batch by MixUp, the second by CutMix, each with itself in reverse.
///
/// # Shapes
/// - `pixels`: `[images, channels, height, width]`
/// - `targets`: `[images, classes]`
pub(super) fn mix(pixels: &mut Array4<f32>, targets: &mut Array2<f32>, random: &mut ChaCha8Rng) {
    let images = targets.nrows();
    let half = images / 2;
    let (old_pixels, old_targets) = (pixels.clone(), targets.clone());
    for index in 0..images {
        let image = pixels.slice_mut(s![index, .., .., ..]);
        let (partner, share) = if index < half {
            let partner = half - 1 - index;
            (partner, mix_up(image, old_pixels.slice(s![partner, .., .., ..]), random))
        } else {
            let partner = half + images - 1 - index;
            (partner, cut_mix(image, old_pixels.slice(s![partner, .., .., ..]), random))
        };
        Zip::from(targets.row_mut(index))
            .and(old_targets.row(partner))
            .for_each(|target, other| *target = share * *target + (1.0 - share) * other);
    }
}

/// Blends both images. Returns the image's own share.
fn mix_up(image: ArrayViewMut3<f32>, other: ArrayView3<f32>, random: &mut ChaCha8Rng) -> f32 {
    let share = symmetric_beta(ALPHA, random) as f32;
    Zip::from(image).and(other).for_each(|value, other| {
        *value = share * *value + (1.0 - share) * other;
    });
    share
}

/// Keeps a box of the image inside the other image. Returns the box's share.
fn cut_mix(mut image: ArrayViewMut3<f32>, other: ArrayView3<f32>, random: &mut ChaCha8Rng) -> f32 {
    let (_, height, width) = image.dim();
    let (centre_y, centre_x) = (random.random_range(0..height), random.random_range(0..width));
    // The share is uniform, before the image's borders cut the box.
    let side = random.random::<f32>().sqrt();
    let range = |centre: usize, length: usize| {
        let reach = (side * length as f32) as usize / 2;
        centre.saturating_sub(reach)..(centre + reach).min(length)
    };
    let (rows, columns) = (range(centre_y, height), range(centre_x, width));
    let kept = image.slice(s![.., rows.clone(), columns.clone()]).to_owned();
    image.assign(&other);
    image.slice_mut(s![.., rows.clone(), columns.clone()]).assign(&kept);
    (rows.len() * columns.len()) as f32 / (height * width) as f32
}

/// A sample of Beta(`alpha`, `alpha`) by Jöhnk's method (Metrika 8, 1964), which is fast for an `alpha`
/// below one.
fn symmetric_beta(alpha: f64, random: &mut ChaCha8Rng) -> f64 {
    loop {
        let [first, second] = [(); 2].map(|()| random.random::<f64>().powf(1.0 / alpha));
        let sum = first + second;
        if sum > 0.0 && sum <= 1.0 {
            return first / sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// Images with the number of their class as their only value.
    fn mixed(images: usize, seed: u64) -> (Array4<f32>, Array2<f32>) {
        let mut pixels = Array4::from_shape_fn((images, 3, 5, 4), |(index, ..)| index as f32);
        let mut targets = Array2::eye(images);
        mix(&mut pixels, &mut targets, &mut ChaCha8Rng::seed_from_u64(seed));
        (pixels, targets)
    }

    #[test]
    fn targets_are_the_shares_of_the_pixels() {
        let mut is_mixed = [false; 2];
        for seed in 0..8 {
            let (pixels, targets) = mixed(6, seed);
            for index in 0..6 {
                let mean = pixels.slice(s![index, .., .., ..]).mean().unwrap_or(f32::NAN);
                let by_targets: f32 =
                    targets.row(index).iter().zip(0u8..).map(|(t, c)| t * f32::from(c)).sum();
                assert!((mean - by_targets).abs() < 1e-5, "{mean} instead of {by_targets}");
                assert!((targets.row(index).sum() - 1.0).abs() < 1e-6);
                is_mixed[index / 3] |= targets[[index, index]] < 0.9;
            }
        }
        assert_eq!(is_mixed, [true; 2]);
    }

    #[test]
    fn halves_are_mixed_with_themselves_in_reverse() {
        let (_, targets) = mixed(4, 3);
        for (index, partner) in [(0, 1), (1, 0), (2, 3), (3, 2)] {
            let shares = targets[[index, index]] + targets[[index, partner]];
            assert!((shares - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn the_second_half_keeps_whole_pixels_in_a_box() {
        for seed in 0..8 {
            let (pixels, targets) = mixed(4, seed);
            let own = pixels.slice(s![2, .., .., ..]).mapv(|value| f32::from(value == 2.0));
            assert!(pixels.slice(s![2.., .., .., ..]).iter().all(|value| value.fract() == 0.0));
            assert!((own.mean().unwrap_or(f32::NAN) - targets[[2, 2]]).abs() < 1e-6);
        }
    }

    #[test]
    fn a_single_image_stays_unchanged() {
        let (pixels, targets) = mixed(1, 0);
        assert!(pixels.iter().all(|value| *value == 0.0));
        assert!((targets[[0, 0]] - 1.0).abs() < 1e-6);
    }

    /// Beta(a, a) has mean 1/2 and variance 1 / (4 (2a + 1)).
    #[test]
    fn shares_have_the_moments_of_the_beta_distribution() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let draws: Vec<f64> = (0..20_000).map(|_| symmetric_beta(0.2, &mut random)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance =
            draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        assert!((variance - 1.0 / 5.6).abs() < 0.005, "{variance}");
    }
}
