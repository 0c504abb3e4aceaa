use ndarray::{ArrayView3, Axis, Zip};

use super::{FlowFile, sides};

/// Errors of flow, over the pixels with known ground truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlowErrors {
    /// End-point error: mean distance between the ends of the two vectors, in pixels.
    pub end_point_error: f64,
    /// Share of pixels, from 0 to 1, whose error exceeds both 3 pixels and 5 % of the true motion:
    /// KITTI's Fl-all.
    pub outliers: f64,
    /// Number of pixels with known ground truth.
    pub pixels: usize,
}

/// Compares flow with the ground truth. Both errors are NaN if no pixel is known.
///
/// # Shapes
/// - `flow`: `[height, width, 2]`
///
/// # Panics
/// If the ground truth has another size.
///
/// # Source
/// Middlebury's end-point error; `flowErrorsOutlier` of KITTI 2015's development kit.
#[must_use]
pub fn flow_errors(flow: ArrayView3<'_, f32>, truth: &FlowFile) -> FlowErrors {
    assert_eq!(sides(&flow), sides(&truth.flow.view()), "flow and ground truth differ in size");
    let (mut distances, mut outliers, mut pixels) = (0.0, 0_usize, 0_usize);
    Zip::from(flow.lanes(Axis(2))).and(truth.flow.lanes(Axis(2))).and(&truth.known).for_each(
        |flow, truth, &known| {
            if !known {
                return;
            }
            let [dx, dy, x, y] =
                [flow[0] - truth[0], flow[1] - truth[1], truth[0], truth[1]].map(f64::from);
            let (distance, motion) = (dx.hypot(dy), x.hypot(y));
            distances += distance;
            // NaN is an outlier.
            outliers += usize::from(!(distance <= 3.0 || distance <= 0.05 * motion));
            pixels += 1;
        },
    );
    let mean = |sum: f64| sum / pixels as f64;
    FlowErrors { end_point_error: mean(distances), outliers: mean(outliers as f64), pixels }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use ndarray::{Array2, Array3};

    use super::*;

    fn row(vectors: &[[f32; 2]]) -> Array3<f32> {
        let numbers = vectors.iter().flatten().copied().collect();
        Array3::from_shape_vec((1, vectors.len(), 2), numbers).unwrap()
    }

    #[test]
    fn only_known_pixels_count() {
        let known = Array2::from_shape_vec((1, 3), vec![true, false, true]).unwrap();
        let truth = FlowFile { flow: row(&[[1.0, 1.0], [0.0, 0.0], [2.0, 0.0]]), known };
        let errors = flow_errors(row(&[[4.0, 5.0], [99.0, 99.0], [2.0, 1.0]]).view(), &truth);
        assert_eq!(errors, FlowErrors { end_point_error: 3.0, outliers: 0.5, pixels: 2 });
    }

    /// 4 pixels off is an outlier at a motion of 60 pixels, 5 % of which are 3, not at one of 100.
    #[test]
    fn outliers_are_off_in_pixels_and_in_percent() {
        let known = Array2::from_elem((1, 3), true);
        let truth = FlowFile { flow: row(&[[60.0, 0.0], [100.0, 0.0], [1.0, 0.0]]), known };
        let errors = flow_errors(row(&[[64.0, 0.0], [104.0, 0.0], [3.5, 0.0]]).view(), &truth);
        assert_eq!(errors.outliers, 1.0 / 3.0);
    }

    #[test]
    fn without_truth_there_are_no_errors() {
        let known = Array2::from_elem((1, 1), false);
        let flow = row(&[[0.0, 0.0]]);
        let errors = flow_errors(flow.view(), &FlowFile { flow: flow.clone(), known });
        assert!(errors.end_point_error.is_nan() && errors.outliers.is_nan());
        assert_eq!(errors.pixels, 0);
    }

    #[test]
    fn a_flow_that_is_not_a_number_is_an_outlier() {
        let truth = FlowFile { flow: row(&[[1.0, 0.0]]), known: Array2::from_elem((1, 1), true) };
        let errors = flow_errors(row(&[[f32::NAN, 0.0]]).view(), &truth);
        assert!(errors.end_point_error.is_nan());
        assert_eq!(errors.outliers, 1.0);
    }
}
