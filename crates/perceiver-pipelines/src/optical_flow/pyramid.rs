use std::borrow::Cow;

use image::RgbImage;
use image::imageops::{FilterType, resize};
use ndarray::{Array3, ArrayView3};

/// Ratio of the sides of a level to those of the next finer one.
const SCALE: f64 = 0.7;

/// Height and width of every level, the coarsest first and the frame's own last.
///
/// Each is smaller than the next by [`SCALE`]. The coarsest still holds a tile; `levels` limits their
/// number.
pub(super) fn sizes(frame: [usize; 2], tile: [usize; 2], levels: usize) -> Vec<[usize; 2]> {
    let mut sizes = vec![frame];
    while sizes.len() < levels {
        let scale = SCALE.powi(sizes.len() as i32);
        let size = frame.map(|side| (side as f64 * scale).round() as usize);
        if size.iter().zip(tile).any(|(&side, tile)| side < tile) {
            break;
        }
        sizes.push(size);
    }
    sizes.reverse();
    sizes
}

/// The frame at another size: colours are means, weighted by a triangle over the pixels that they
/// replace.
pub(super) fn resized_frame(frame: &RgbImage, [height, width]: [usize; 2]) -> Cow<'_, RgbImage> {
    if frame.dimensions() == (width as u32, height as u32) {
        return Cow::Borrowed(frame);
    }
    Cow::Owned(resize(frame, width as u32, height as u32, FilterType::Triangle))
}

/// The same motion at another size: vectors are interpolated between the nearest four pixels, and
/// grow with the frame.
///
/// # Shapes
/// - `flow`: `[old_height, old_width, 2]`
/// - returns: `[height, width, 2]`
pub(super) fn resized_flow(flow: ArrayView3<'_, f32>, [height, width]: [usize; 2]) -> Array3<f32> {
    let (old_height, old_width, _) = flow.dim();
    let (rows, columns) = (Places::new(old_height, height), Places::new(old_width, width));
    let growth = [columns.growth, rows.growth];
    Array3::from_shape_fn((height, width, 2), |(y, x, axis)| {
        let (top, bottom, down) = rows.at(y);
        let (left, right, across) = columns.at(x);
        let row = |row: usize| {
            let [from, to] = [flow[[row, left, axis]], flow[[row, right, axis]]];
            from + across * (to - from)
        };
        let [from, to] = [row(top), row(bottom)];
        growth[axis] * (from + down * (to - from))
    })
}

/// The positions of the pixels along a side among those of another size.
struct Places {
    old: usize,
    growth: f32,
}

impl Places {
    fn new(old: usize, new: usize) -> Self {
        Self { old, growth: new as f32 / old as f32 }
    }

    /// The positions before and behind a pixel's middle, and the share of the second one.
    fn at(&self, place: usize) -> (usize, usize, f32) {
        let last = self.old - 1;
        let old = ((place as f32 + 0.5) / self.growth - 0.5).clamp(0.0, last as f32);
        let before = old as usize;
        (before, (before + 1).min(last), old - before as f32)
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn levels_shrink_until_they_are_a_tile() {
        let expected = [[16, 25], [24, 35], [34, 50], [48, 72]];
        assert_eq!(sizes([48, 72], [16, 24], 9), expected);
        assert_eq!(sizes([48, 72], [16, 24], 2), expected[2..]);
        assert_eq!(sizes([16, 24], [16, 24], 9), [[16, 24]]);
        assert_eq!(sizes([1080, 1920], [16, 24], usize::MAX).len(), 12);
    }

    #[test]
    fn one_level_is_the_frame() {
        assert_eq!(sizes([480, 640], [16, 24], 1), [[480, 640]]);
    }

    /// A rotation and a zoom are linear in place, so that interpolation is exact between the middles of
    /// the outermost pixels.
    #[test]
    fn turned_and_zoomed_motion_is_the_same_at_every_size() {
        let motion = |x: f32, y: f32| [0.3 * x - 0.1 * y + 2.0, 0.1 * x + 0.3 * y - 1.0];
        let middle = |place: usize| place as f32 + 0.5;
        let flow =
            Array3::from_shape_fn((12, 20, 2), |(y, x, axis)| motion(middle(x), middle(y))[axis]);
        for [height, width] in [[24, 40], [17, 29], [9, 13], [12, 33]] {
            let growth = [width as f32 / 20.0, height as f32 / 12.0];
            for ((y, x, axis), &found) in resized_flow(flow.view(), [height, width]).indexed_iter()
            {
                let (old_x, old_y) = (middle(x) / growth[0], middle(y) / growth[1]);
                if !(0.5..=19.5).contains(&old_x) || !(0.5..=11.5).contains(&old_y) {
                    continue;
                }
                let expected = motion(old_x, old_y)[axis] * growth[axis];
                assert!((found - expected).abs() < 1e-4, "{found}, not {expected} at {x}, {y}");
            }
        }
    }

    #[test]
    fn flow_of_the_same_size_is_unchanged() {
        let flow = Array3::from_shape_fn((5, 7, 2), |(y, x, axis)| (x * y + axis) as f32);
        assert_eq!(resized_flow(flow.view(), [5, 7]), flow);
    }

    #[test]
    fn a_single_pixel_fills_every_size() {
        let flow = Array3::from_elem((1, 1, 2), 2.0);
        let found = resized_flow(flow.view(), [3, 4]);
        assert!(found.indexed_iter().all(|((_, _, axis), &found)| found == [8.0, 6.0][axis]));
    }

    /// A slope keeps its levels at the middles of pixels: no shift by half a pixel.
    #[test]
    fn a_smaller_frame_is_not_shifted() {
        let frame = RgbImage::from_fn(40, 30, |x, y| Rgb([(4 * x + 2 * y + 20) as u8; 3]));
        for [height, width] in [[15, 20], [21, 28]] {
            let growth = 30.0 / height as f32;
            for (x, y, pixel) in resized_frame(&frame, [height, width]).enumerate_pixels() {
                let old = |place: u32| (place as f32 + 0.5) * growth - 0.5;
                let (old_x, old_y) = (old(x), old(y));
                if !(2.0..37.0).contains(&old_x) || !(2.0..27.0).contains(&old_y) {
                    continue;
                }
                let expected = 4.0 * old_x + 2.0 * old_y + 20.0;
                assert!((f32::from(pixel.0[0]) - expected).abs() <= 1.0, "{pixel:?} at {x}, {y}");
            }
        }
    }
}
