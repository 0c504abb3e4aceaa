/// How far a reconstruction is from what it reconstructs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SquaredError {
    sum: f64,
    count: usize,
}

impl SquaredError {
    /// Counts in the numbers of another part.
    pub fn merge(&mut self, other: Self) {
        self.sum += other.sum;
        self.count += other.count;
    }

    /// The mean of the squares; 0 of no numbers.
    #[must_use]
    pub fn mean(self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    /// The peak signal-to-noise ratio in decibels; infinite where there is no error.
    ///
    /// The peak is 1, for colours and sound alike; Perceiver IO does not say which it takes of
    /// sound.
    #[must_use]
    pub fn psnr(self) -> f64 {
        -10.0 * self.mean().log10()
    }

    /// Counts in numbers and what was expected of them, up to the shorter of the two.
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
