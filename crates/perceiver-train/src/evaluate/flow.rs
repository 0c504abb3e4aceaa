//! Optical flow, compared with simple methods.

use ndarray::Array3;
use perceiver_data::flow::{FlowErrors, FlowFile, FlowPair, flow_errors, global_shift};

use crate::{Error, Metric, Result};

/// Errors of predicted flow, beside those of zero flow and of one shift of the whole frame.
///
/// Pairs are added one by one, since they may differ in size. A pair without a pixel whose flow is
/// known does not count.
#[derive(Debug, Clone, Default)]
pub struct FlowEvaluation {
    /// End-point errors of each pair in pixels: the model's, zero flow's and the shift's.
    pub pairs: Vec<[f64; 3]>,
    /// The model's errors.
    pub model: FlowSums,
    /// Errors of flow that is zero everywhere.
    pub zero_flow: FlowSums,
    /// Errors of the best single shift.
    pub global_shift: FlowSums,
}

/// Errors of a method over all pairs, in which every known pixel counts the same.
#[derive(Debug, Clone, Default)]
pub struct FlowSums {
    distance: f64,
    outliers: f64,
    /// Number of known pixels.
    pub pixels: usize,
}

impl FlowSums {
    /// Adds a pair. Returns its end-point error.
    fn add(&mut self, flow: &Array3<f32>, truth: &FlowFile) -> f64 {
        let FlowErrors { end_point_error, outliers, pixels } = flow_errors(flow.view(), truth);
        self.distance += end_point_error * pixels as f64;
        self.outliers += outliers * pixels as f64;
        self.pixels += pixels;
        end_point_error
    }

    /// Mean end-point error in pixels; NaN without known pixels.
    #[must_use]
    pub fn end_point_error(&self) -> f64 {
        self.distance / self.pixels as f64
    }

    /// Outliers (`Fl-all`) in percent; NaN without known pixels.
    #[must_use]
    pub fn outliers(&self) -> f64 {
        100.0 * self.outliers / self.pixels as f64
    }
}

impl FlowEvaluation {
    /// Adds a pair, and the model's flow `[height, width, 2]` in pixels.
    ///
    /// # Panics
    /// If the flow has another size than the pair's.
    pub fn add(&mut self, pair: FlowPair, found: &Array3<f32>) {
        let FlowPair { first, second, flow, valid } = pair;
        // Its means would be NaN.
        if !valid.iter().any(|&known| known) {
            return;
        }
        let truth = FlowFile { flow, known: valid };
        let [x, y] = global_shift(&first, &second);
        let shift =
            Array3::from_shape_fn(found.dim(), |(_, _, axis)| if axis == 0 { x } else { y });
        let zero = Array3::zeros(found.dim());
        self.pairs.push([
            self.model.add(found, &truth),
            self.zero_flow.add(&zero, &truth),
            self.global_shift.add(&shift, &truth),
        ]);
    }

    /// Checks that the errors are numbers.
    ///
    /// # Errors
    /// [`Error::EmptyEvaluation`] if no pixel's flow is known, [`Error::EvaluationNotFinite`] if the
    /// model's flow is not finite in some pair.
    pub fn check(&self) -> Result<()> {
        if self.model.pixels == 0 {
            return Err(Error::EmptyEvaluation { metric: Metric::END_POINT_ERROR.name.into() });
        }
        let Some((&[value, ..], pair)) =
            self.pairs.iter().zip(1..).find(|([model, ..], _)| !model.is_finite())
        else {
            return Ok(());
        };
        let measure = Metric::END_POINT_ERROR.name.into();
        Err(Error::EvaluationNotFinite { measure, first: pair, last: pair, value })
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};
    use ndarray::Array2;

    use super::*;

    /// Noise, whose second frame shows what is three pixels further right in the first.
    fn pair() -> FlowPair {
        let level = |x: u32, y: u32| ((x * 7919 + y * 104_729) % 251) as u8;
        let frame = |shift| RgbImage::from_fn(32, 32, |x, y| Rgb([level((x + shift) % 32, y); 3]));
        let flow = Array3::from_shape_fn((32, 32, 2), |(_, _, axis)| [3.0, 0.0][axis]);
        let valid = Array2::from_elem((32, 32), true);
        FlowPair { first: frame(3), second: frame(0), flow, valid }
    }

    #[test]
    fn a_shift_explains_moved_noise_and_zero_flow_misses_it() {
        let mut evaluation = FlowEvaluation::default();
        let found = Array3::from_shape_fn((32, 32, 2), |(_, _, axis)| [3.0, 4.0][axis]);
        evaluation.add(pair(), &found);
        let FlowEvaluation { pairs, model, zero_flow, global_shift } = evaluation;
        assert_eq!((model.end_point_error(), model.outliers()), (4.0, 100.0));
        assert_eq!((zero_flow.end_point_error(), zero_flow.outliers()), (3.0, 0.0));
        assert!(global_shift.end_point_error() < 0.1, "{pairs:?}");
    }

    #[test]
    fn a_pair_without_a_known_pixel_does_not_count_and_alone_is_an_error() {
        let unknown = || FlowPair { valid: Array2::from_elem((32, 32), false), ..pair() };
        let found = Array3::from_shape_fn((32, 32, 2), |(_, _, axis)| [3.0, 4.0][axis]);
        let mut evaluation = FlowEvaluation::default();
        evaluation.add(unknown(), &found);
        let message = evaluation.check().map_err(|error| error.to_string());
        assert_eq!(message, Err("metric `end-point error` counted no examples".to_owned()));
        evaluation.add(pair(), &found);
        evaluation.add(unknown(), &found);
        assert_eq!((evaluation.pairs.len(), evaluation.model.end_point_error()), (1, 4.0));
        assert!(evaluation.check().is_ok());
        evaluation.add(pair(), &found.mapv(|_| f32::NAN));
        let message = evaluation.check().map_err(|error| error.to_string());
        let expected = "end-point error of example 2 is NaN, expected a finite number";
        assert_eq!(message, Err(expected.to_owned()));
    }
}
