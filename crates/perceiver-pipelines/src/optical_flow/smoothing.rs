use ndarray::{Array3, ArrayView3};
use rayon::prelude::*;

/// Pixels from the middle of the window to its border.
const RADIUS: usize = 2;

/// The median of each direction over 5x5 pixels: it removes single errors and keeps the borders of
/// motions sharp. Beyond the border, the outermost vectors repeat.
///
/// # Shapes
/// - `flow`: `[height, width, 2]`
///
/// # Source
/// Sun, Roth and Black, "Secrets of optical flow estimation" (2010): a median after each warp.
pub(super) fn median(flow: ArrayView3<'_, f32>) -> Array3<f32> {
    let (height, width, _) = flow.dim();
    let mut smoothed = Array3::zeros(flow.raw_dim());
    let numbers = smoothed.as_slice_mut().expect("a new array is contiguous");
    numbers.par_chunks_mut((2 * width).max(1)).enumerate().for_each(|(y, row)| {
        let rows = around(y, height);
        for (x, vector) in row.chunks_mut(2).enumerate() {
            let columns = around(x, width);
            for (axis, number) in vector.iter_mut().enumerate() {
                let mut window = [0.0_f32; (2 * RADIUS + 1).pow(2)];
                for (values, row) in window.chunks_mut(2 * RADIUS + 1).zip(rows) {
                    for (value, column) in values.iter_mut().zip(columns) {
                        *value = flow[[row, column, axis]];
                    }
                }
                let middle = window.len() / 2;
                *number = *window.select_nth_unstable_by(middle, f32::total_cmp).1;
            }
        }
    });
    smoothed
}

/// The positions of a window along a side.
fn around(place: usize, side: usize) -> [usize; 2 * RADIUS + 1] {
    std::array::from_fn(|step| (place + step).saturating_sub(RADIUS).min(side - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_errors_vanish_and_slopes_stay() {
        let slope =
            Array3::from_shape_fn((9, 12, 2), |(y, x, axis)| [x as f32, 3.0 * y as f32][axis]);
        let mut flow = slope.clone();
        flow[[4, 6, 0]] = 1e6;
        flow[[2, 3, 1]] = -1e6;
        let found = median(flow.view());
        for y in 2..7 {
            for x in 2..10 {
                for axis in [0, 1] {
                    // An error moves the middle of a window by at most one place.
                    let expected = slope[[y, x, axis]];
                    let step = [1.0, 3.0][axis];
                    assert!((found[[y, x, axis]] - expected).abs() <= step, "{x}, {y}, {axis}");
                }
            }
        }
        assert_eq!(median(slope.view())[[4, 6, 1]], 12.0);
    }

    #[test]
    fn a_straight_border_between_two_motions_stays_where_it_is() {
        let flow = Array3::from_shape_fn((8, 10, 2), |(_, x, _)| if x < 5 { -2.0 } else { 7.0 });
        assert_eq!(median(flow.view()), flow);
    }

    #[test]
    fn flow_smaller_than_the_window_is_smoothed() {
        let flow = Array3::from_shape_fn((1, 2, 2), |(_, x, _)| x as f32);
        assert_eq!(median(flow.view()), flow);
    }
}
