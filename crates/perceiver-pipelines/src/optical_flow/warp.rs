use image::{Rgb, RgbImage};
use ndarray::ArrayView3;
use rayon::prelude::*;

/// Moves the second frame back by the flow: each pixel is the second frame's colour at the place to
/// which the flow takes it, so that equal frames and true flow give the first frame.
///
/// Colours between pixels are interpolated by a bicubic filter; beyond the border, the frame repeats
/// its outermost pixels.
///
/// # Shapes
/// - `flow`: `[height, width, 2]`, as large as the frame; every number is finite
///
/// # Source
/// Keys, "Cubic convolution interpolation for digital image processing" (1981). OpenCV's `remap` uses
/// another coefficient, which shifts slopes by up to a twentieth of a pixel.
pub(super) fn warped(frame: &RgbImage, flow: ArrayView3<'_, f32>) -> RgbImage {
    let (width, height) = frame.dimensions();
    let mut warped = RgbImage::new(width, height);
    let row_length = (3 * width as usize).max(1);
    warped.par_chunks_mut(row_length).enumerate().for_each(|(y, row)| {
        for (x, pixel) in row.chunks_mut(3).enumerate() {
            let [right, down] = [flow[[y, x, 0]], flow[[y, x, 1]]];
            pixel.copy_from_slice(&colour(frame, x as f32 + right, y as f32 + down).0);
        }
    });
    warped
}

/// The colour at a place, rounded.
pub(super) fn colour(frame: &RgbImage, x: f32, y: f32) -> Rgb<u8> {
    // Converting a float to an integer saturates.
    Rgb(levels(frame, x, y).map(|level| level.round() as u8))
}

/// The levels at a place, which can lie outside 0 to 255.
fn levels(frame: &RgbImage, x: f32, y: f32) -> [f32; 3] {
    let (columns, across) = taps(x, frame.width());
    let (rows, down) = taps(y, frame.height());
    let levels = frame.as_raw();
    let row_length = 3 * frame.width() as usize;
    let mut sums = [0.0_f32; 3];
    for (row, down) in rows.into_iter().zip(down) {
        for (column, across) in columns.into_iter().zip(across) {
            let start = row * row_length + 3 * column;
            for (sum, &level) in sums.iter_mut().zip(&levels[start..start + 3]) {
                *sum += down * across * f32::from(level);
            }
        }
    }
    sums
}

/// The four positions around a place along a side, and their weights.
fn taps(place: f32, side: u32) -> ([usize; 4], [f32; 4]) {
    /// The coefficient that reproduces slopes.
    const A: f32 = -0.5;
    let last = side as f32 - 1.0;
    // Two pixels outside, the weights no longer matter.
    let place = place.clamp(-2.0, last + 2.0);
    let before = place.floor();
    let part = place - before;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let weights = [far(part + 1.0), near(part), near(1.0 - part), far(2.0 - part)];
    let positions = [-1.0, 0.0, 1.0, 2.0].map(|step| (before + step).clamp(0.0, last) as usize);
    (positions, weights)
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    /// A slope, which bicubic interpolation reproduces exactly.
    fn slope(x: f32, y: f32) -> [f32; 3] {
        [0.0, 1.0, 2.0].map(|channel| 4.0 * x + 2.0 * y + 40.0 + channel)
    }

    fn frame(width: u32, height: u32) -> RgbImage {
        let level = |x, y| Rgb(slope(x as f32, y as f32).map(|level| level as u8));
        RgbImage::from_fn(width, height, level)
    }

    #[test]
    fn levels_between_pixels_follow_a_slope() {
        let frame = frame(30, 20);
        for (x, y) in
            (0..1000).map(|i| (1.0 + i as f32 * 0.027, 1.0 + (i * 7 % 1000) as f32 * 0.017))
        {
            let pairs = levels(&frame, x, y).into_iter().zip(slope(x, y));
            for (found, expected) in pairs {
                assert!((found - expected).abs() < 1e-3, "{found}, not {expected} at {x}, {y}");
            }
        }
    }

    /// Checks all pixels whose neighbours lie inside the frame.
    #[track_caller]
    fn assert_follows(flow: impl Fn(f32, f32) -> [f32; 2]) {
        let frame = frame(30, 20);
        let field =
            Array3::from_shape_fn((20, 30, 2), |(y, x, axis)| flow(x as f32, y as f32)[axis]);
        let mut compared = 0;
        for (x, y, pixel) in warped(&frame, field.view()).enumerate_pixels() {
            let [right, down] = flow(x as f32, y as f32);
            let (x, y) = (x as f32 + right, y as f32 + down);
            if (1.0..28.0).contains(&x) && (1.0..18.0).contains(&y) {
                for (&found, expected) in pixel.0.iter().zip(slope(x, y)) {
                    let apart = (f32::from(found) - expected).abs();
                    assert!(apart <= 0.501, "{found}, not {expected} at {x}, {y}");
                }
                compared += 1;
            }
        }
        assert!(compared > 200, "{compared}");
    }

    #[test]
    fn shifts_turns_and_zooms_show_the_colour_of_their_place() {
        assert_follows(|_, _| [2.0, -1.0]);
        assert_follows(|_, _| [0.25, 0.5]);
        let (sine, cosine) = 0.1_f32.sin_cos();
        assert_follows(|x, y| {
            let (x, y) = (x - 15.0, y - 10.0);
            [cosine * x - sine * y - x, sine * x + cosine * y - y]
        });
        assert_follows(|x, y| [0.2 * (x - 15.0), 0.2 * (y - 10.0)]);
    }

    #[test]
    fn zero_flow_changes_nothing() {
        let noise =
            RgbImage::from_fn(7, 5, |x, y| Rgb([x, y, x * y].map(|i| (i * 97 % 251) as u8)));
        assert_eq!(warped(&noise, Array3::zeros((5, 7, 2)).view()), noise);
    }

    #[test]
    fn beyond_the_border_the_last_pixels_repeat() {
        let frame = frame(6, 4);
        let far = Array3::from_elem((4, 6, 2), 1e9);
        assert!(warped(&frame, far.view()).pixels().all(|pixel| pixel == frame.get_pixel(5, 3)));
        let far = Array3::from_elem((4, 6, 2), -1e9);
        assert!(warped(&frame, far.view()).pixels().all(|pixel| pixel == frame.get_pixel(0, 0)));
    }

    /// Halfway between two pixels, the weights are -1/16, 9/16, 9/16 and -1/16.
    #[test]
    fn a_step_between_pixels_is_interpolated_by_a_cubic() {
        let step = RgbImage::from_fn(8, 1, |x, _| Rgb([if x < 4 { 32 } else { 160 }; 3]));
        let half = Array3::from_shape_fn((1, 8, 2), |(_, _, axis)| [0.5, 0.0][axis]);
        let levels: Vec<_> = warped(&step, half.view()).pixels().map(|pixel| pixel.0[0]).collect();
        assert_eq!(levels, [32, 32, 24, 96, 168, 160, 160, 160]);
    }
}
