/// Squared error of a reconstruction.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SquaredError {
    sum: f64,
    count: usize,
}

impl SquaredError {
    /// Adds the error of another part.
    pub fn merge(&mut self, other: Self) {
        self.sum += other.sum;
        self.count += other.count;
    }

    /// The mean squared error; 0 without numbers.
    #[must_use]
    pub fn mean(self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    /// Peak signal-to-noise ratio in decibels; infinite without error.
    ///
    /// The peak is 1 for colours and for sound; Perceiver IO does not state its peak for sound.
    #[must_use]
    pub fn psnr(self) -> f64 {
        -10.0 * self.mean().log10()
    }

    /// Adds the errors of numbers, up to the length of the shorter argument.
    pub(crate) fn add(&mut self, expected: impl Iterator<Item = f32>, found: &[f32]) {
        for (expected, &found) in expected.zip(found) {
            self.sum += (f64::from(found) - f64::from(expected)).powi(2);
            self.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_weighed_by_their_numbers() {
        let (mut one, mut other) = (SquaredError::default(), SquaredError::default());
        one.add([0.0, 0.0, 0.0].into_iter(), &[0.0, 0.0, 0.0]);
        other.add([0.5].into_iter(), &[0.3]);
        one.merge(other);
        assert!((one.mean() - 0.01).abs() < 1e-8, "{one:?}");
        assert!((one.psnr() - 20.0).abs() < 1e-5, "{one:?}");
    }

    #[test]
    fn without_error_the_ratio_is_infinite() {
        assert_eq!(SquaredError::default().psnr(), f64::INFINITY);
    }
}
