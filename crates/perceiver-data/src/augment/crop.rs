use image::{Rgb, RgbImage, imageops};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::resample::{Backend, Resample, resize};

/// Area of a crop, as a share of the image's.
const AREA: std::ops::RangeInclusive<f64> = 0.08..=1.0;

/// Largest aspect ratio of a crop, as width to height or height to width.
const PROPORTION: f64 = 4.0 / 3.0;

/// Number of draws before the centre is used instead.
const DRAWS: usize = 10;

/// A random crop of 8 to 100 percent of an image's area with an aspect ratio from 3:4 to 4:3,
/// resized to `(width, height)` with the bicubic filter.
///
/// # Panics
/// If the image or the size has no pixels.
///
/// # Source
/// torchvision's `RandomResizedCrop`, in the ranges of Perceiver IO section 4.4.
#[must_use]
pub fn random_resized_crop(
    image: &RgbImage,
    size: (u32, u32),
    random: &mut ChaCha8Rng,
) -> RgbImage {
    let (width, height) = image.dimensions();
    assert!(width > 0 && height > 0, "the image has no pixels, expected at least one");
    assert!(size.0 > 0 && size.1 > 0, "the size is empty, expected at least one pixel");
    let Part { left, top, width, height } = Part::draw(width, height, random);
    let part = imageops::crop_imm(image, left, top, width, height).to_image();
    resize(&part, size, Resample::Bicubic, Backend::Torchvision)
}

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy)]
struct Part {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

impl Part {
    fn draw(whole_width: u32, whole_height: u32, random: &mut ChaCha8Rng) -> Self {
        let (full_width, full_height) = (f64::from(whole_width), f64::from(whole_height));
        for _ in 0..DRAWS {
            let area = full_width * full_height * random.random_range(AREA);
            let widest = PROPORTION.ln();
            let proportion = random.random_range(-widest..=widest).exp();
            let width = (area * proportion).sqrt().round() as u32;
            let height = (area / proportion).sqrt().round() as u32;
            if (1..=whole_width).contains(&width) && (1..=whole_height).contains(&height) {
                let top = random.random_range(0..=whole_height - height);
                let left = random.random_range(0..=whole_width - width);
                return Self { left, top, width, height };
            }
        }
        // The largest centred crop with an allowed aspect ratio.
        let width = full_width.min((full_height * PROPORTION).round()) as u32;
        let height = full_height.min((full_width * PROPORTION).round()) as u32;
        Self { left: (whole_width - width) / 2, top: (whole_height - height) / 2, width, height }
    }
}

/// Flips an image horizontally with probability 0.5.
#[must_use]
pub fn flip(image: RgbImage, random: &mut ChaCha8Rng) -> RgbImage {
    if random.random() { imageops::flip_horizontal(&image) } else { image }
}

/// Shifts an image by up to `most` pixels in each direction. Pixels from outside the image are
/// black.
#[must_use]
pub fn shift(image: &RgbImage, most: u32, random: &mut ChaCha8Rng) -> RgbImage {
    let most = i64::from(most);
    let (right, down) = (random.random_range(-most..=most), random.random_range(-most..=most));
    let mut shifted = RgbImage::from_pixel(image.width(), image.height(), Rgb([0; 3]));
    imageops::replace(&mut shifted, image, right, down);
    shifted
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    fn generator(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    /// Red is the column, green the row.
    fn places(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([x as u8 + 1, y as u8 + 1, 0]))
    }

    #[test]
    fn parts_have_the_area_and_proportion_asked_for_and_lie_inside() {
        let mut random = generator(0);
        let mut areas = Vec::new();
        for _ in 0..2000 {
            let Part { left, top, width, height } = Part::draw(200, 150, &mut random);
            assert!(left + width <= 200 && top + height <= 150);
            let proportion = f64::from(width) / f64::from(height);
            // Sides are rounded to whole pixels: by half a pixel of at least 42.
            assert!((0.73..=1.37).contains(&proportion), "{proportion}");
            areas.push(f64::from(width * height) / 30_000.0);
        }
        let (least, most) =
            (areas.iter().copied().fold(1.0, f64::min), areas.iter().copied().fold(0.0, f64::max));
        assert!((0.075..0.1).contains(&least), "{least}");
        assert!((0.95..=1.0).contains(&most), "{most}");
    }

    #[test]
    fn images_too_thin_for_any_part_give_their_centre() {
        let Part { left, top, width, height } = Part::draw(1000, 3, &mut generator(0));
        assert_eq!((left, top, width, height), (498, 0, 4, 3));
        let Part { left, top, width, height } = Part::draw(3, 1000, &mut generator(0));
        assert_eq!((left, top, width, height), (0, 498, 3, 4));
    }

    #[test]
    fn a_part_is_resized() {
        let colour = Rgb([1, 2, 3]);
        let image = RgbImage::from_pixel(9, 7, colour);
        let part = random_resized_crop(&image, (5, 4), &mut generator(3));
        assert_eq!(part, RgbImage::from_pixel(5, 4, colour));
    }

    #[test]
    fn half_of_the_images_are_mirrored() {
        let (image, mut random) = (places(3, 2), generator(1));
        let mirrored = imageops::flip_horizontal(&image);
        let flipped: Vec<_> = (0..1000).map(|_| flip(image.clone(), &mut random)).collect();
        let count = flipped.iter().filter(|flipped| **flipped == mirrored).count();
        assert!((440..560).contains(&count), "{count}");
        assert!(flipped.iter().all(|flipped| *flipped == mirrored || *flipped == image));
    }

    #[test]
    fn shifts_reach_as_far_as_asked_for_and_leave_black() {
        let (image, mut random) = (places(4, 3), generator(2));
        let mut seen = BTreeSet::new();
        for _ in 0..400 {
            let shifted = shift(&image, 1, &mut random);
            // Where the pixel in the middle has gone tells the shift.
            let (x, y, _) = shifted
                .enumerate_pixels()
                .find(|(.., pixel)| **pixel == Rgb([2, 2, 0]))
                .expect("it is still inside");
            seen.insert((x, y));
            for (column, row, pixel) in shifted.enumerate_pixels() {
                let old = (column + 1).checked_sub(x).zip((row + 1).checked_sub(y));
                let old = old.filter(|(column, row)| *column < 4 && *row < 3);
                let expected =
                    old.map_or(Rgb([0; 3]), |(column, row)| *image.get_pixel(column, row));
                assert_eq!(*pixel, expected);
            }
        }
        assert_eq!(seen.len(), 9);
    }
}
