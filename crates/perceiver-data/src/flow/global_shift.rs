use std::f32::consts::PI;

use image::RgbImage;
use rustfft::num_complex::Complex;
use rustfft::{FftDirection, FftPlanner};

/// The shift that moves most of a frame to the next, in pixels to the right and down: a baseline
/// for flow models.
///
/// # Panics
/// If the frames have no pixels or differ in size.
///
/// # Source
/// Phase correlation (Kuglin and Hines 1975) of grey values under a Hann window; the peak is refined
/// by a parabola through its neighbours along each axis.
#[must_use]
pub fn global_shift(first: &RgbImage, second: &RgbImage) -> [f32; 2] {
    assert_eq!(first.dimensions(), second.dimensions(), "frames differ in size");
    let [width, height] = [first.width(), first.height()].map(|side| side as usize);
    assert!(width > 0 && height > 0, "frames have no pixels");
    let [first, second] = [first, second].map(|frame| {
        let mut numbers = windowed(frame);
        transform(&mut numbers, width, FftDirection::Forward);
        numbers
    });
    // Keep only the phases of the spectra's product: they transform into a peak at the shift.
    let mut correlation: Vec<_> = first
        .iter()
        .zip(&second)
        .map(|(first, second)| {
            let product = first.conj() * second;
            product / product.norm().max(f32::MIN_POSITIVE)
        })
        .collect();
    // The transform turned columns into rows.
    transform(&mut correlation, height, FftDirection::Inverse);
    let at = |x: usize, y: usize| correlation[y % height * width + x % width].re;
    // If nothing stands out, the first position: no shift.
    let places = (0..correlation.len()).rev();
    let peak = places.max_by(|&one, &other| correlation[one].re.total_cmp(&correlation[other].re));
    let (x, y) = peak.map_or((0, 0), |peak| (peak % width, peak / width));
    let right = parabola([at(x + width - 1, y), at(x, y), at(x + 1, y)]);
    let down = parabola([at(x, y + height - 1), at(x, y), at(x, y + 1)]);
    [signed(x, width) + right, signed(y, height) + down]
}

/// Grey values around their mean, fading out towards the border.
fn windowed(frame: &RgbImage) -> Vec<Complex<f32>> {
    let grey = |pixel: &image::Rgb<u8>| pixel.0.iter().map(|&level| f32::from(level)).sum::<f32>();
    let pixels = (frame.width() * frame.height()) as f32;
    let mean = frame.pixels().map(grey).sum::<f32>() / pixels;
    let hann = |place: u32, side: u32| (PI * (place as f32 + 0.5) / side as f32).sin().powi(2);
    let window = |x, y| hann(x, frame.width()) * hann(y, frame.height());
    let pixels = frame.enumerate_pixels();
    pixels.map(|(x, y, pixel)| Complex::from((grey(pixel) - mean) * window(x, y))).collect()
}

/// Transforms both axes of an array with rows of this length, and transposes it.
fn transform(numbers: &mut [Complex<f32>], length: usize, direction: FftDirection) {
    let mut planner = FftPlanner::new();
    let lines = numbers.len() / length;
    planner.plan_fft(length, direction).process(numbers);
    let mut columns: Vec<_> =
        (0..numbers.len()).map(|place| numbers[place % lines * length + place / lines]).collect();
    planner.plan_fft(lines, direction).process(&mut columns);
    numbers.copy_from_slice(&columns);
}

/// Offset of a parabola's peak from the middle of three numbers, the largest of which is the middle
/// one.
fn parabola([before, peak, behind]: [f32; 3]) -> f32 {
    let curve = before - 2.0 * peak + behind;
    if curve < 0.0 { (before - behind) / (2.0 * curve) } else { 0.0 }
}

/// Positions past the middle are negative.
fn signed(place: usize, side: usize) -> f32 {
    if place > side / 2 { place as f32 - side as f32 } else { place as f32 }
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Random levels, twice as fine as a frame's pixels.
    fn fine() -> RgbImage {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        RgbImage::from_fn(160, 120, |_, _| Rgb(random.random()))
    }

    /// A frame of 60 by 44 pixels from a place of the fine picture, four pixels of which make one.
    fn frame(fine: &RgbImage, left: u32, top: u32) -> RgbImage {
        RgbImage::from_fn(60, 44, |x, y| {
            let level = |channel: usize| {
                let pixels = [[0, 0], [1, 0], [0, 1], [1, 1]];
                let sum = pixels.iter().map(|[right, down]| {
                    u32::from(fine.get_pixel(2 * x + left + right, 2 * y + top + down)[channel])
                });
                (sum.sum::<u32>() / 4) as u8
            };
            Rgb([0, 1, 2].map(level))
        })
    }

    #[track_caller]
    fn assert_close(found: [f32; 2], expected: [f32; 2], tolerance: f32) {
        let is_close = (0..2).all(|axis| (found[axis] - expected[axis]).abs() < tolerance);
        assert!(is_close, "{found:?} instead of {expected:?}");
    }

    #[test]
    fn whole_pixels_are_found_in_both_directions() {
        let fine = fine();
        let found = global_shift(&frame(&fine, 20, 10), &frame(&fine, 10, 22));
        assert_close(found, [5.0, -6.0], 0.1);
        let back = global_shift(&frame(&fine, 10, 22), &frame(&fine, 20, 10));
        assert_close(back, [-5.0, 6.0], 0.1);
    }

    #[test]
    fn half_pixels_are_found_between_whole_ones() {
        let fine = fine();
        let found = global_shift(&frame(&fine, 20, 10), &frame(&fine, 13, 11));
        assert_close(found, [3.5, -0.5], 0.15);
    }

    #[test]
    fn frames_without_detail_have_no_shift() {
        let even = RgbImage::from_pixel(5, 3, Rgb([7; 3]));
        assert_eq!(global_shift(&even, &even), [0.0; 2]);
        assert_eq!(global_shift(&RgbImage::new(1, 1), &RgbImage::new(1, 1)), [0.0; 2]);
    }

    #[test]
    #[should_panic(expected = "frames differ in size")]
    fn frames_of_different_sizes_are_refused() {
        let _ = global_shift(&RgbImage::new(3, 2), &RgbImage::new(2, 3));
    }
}
