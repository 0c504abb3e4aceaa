//! Means and deviations of columns of numbers.

use perceiver_models::any_data::Channels;

/// Sums over the numbers of each column, without those that are not finite.
#[derive(Debug, Clone, Default)]
pub(super) struct Scale {
    columns: Vec<Column>,
}

/// Mean and squared deviations so far, by Welford's recurrence.
#[derive(Debug, Clone, Copy, Default)]
struct Column {
    count: f64,
    mean: f64,
    squares: f64,
    missing: bool,
}

impl Scale {
    /// Adds rows of as many columns as the first ones. Other rows are refused later, by the model.
    pub(super) fn add(&mut self, columns: usize, values: &[f32]) {
        if self.columns.is_empty() {
            self.columns = vec![Column::default(); columns];
        }
        if self.columns.len() != columns || columns == 0 {
            return;
        }
        for row in values.chunks_exact(columns) {
            for (column, &value) in self.columns.iter_mut().zip(row) {
                column.add(f64::from(value));
            }
        }
    }

    pub(super) fn channels(&self) -> Channels {
        Channels {
            mean: self.mean(),
            deviation: self.deviation(),
            missing: self.columns.iter().any(|column| column.missing),
        }
    }

    pub(super) fn mean(&self) -> Vec<f64> {
        self.columns.iter().map(|column| column.mean).collect()
    }

    pub(super) fn deviation(&self) -> Vec<f64> {
        self.columns.iter().map(Column::deviation).collect()
    }
}

impl Column {
    fn add(&mut self, value: f64) {
        if !value.is_finite() {
            self.missing = true;
            return;
        }
        self.count += 1.0;
        let off = value - self.mean;
        self.mean += off / self.count;
        self.squares += off * (value - self.mean);
    }

    /// One for numbers that are all the same, which carry no information.
    fn deviation(&self) -> f64 {
        let deviation = (self.squares / self.count.max(1.0)).sqrt();
        if deviation > f64::from(f32::EPSILON) * self.mean.abs() { deviation } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_missing_do_not_count() {
        let mut scale = Scale::default();
        scale.add(2, &[1.0, 7.0, f32::NAN, 7.0]);
        scale.add(2, &[5.0, 7.0]);
        scale.add(3, &[9.0, 9.0, 9.0]);
        // Of 1 and 5; sevens have no deviation.
        let expected = Channels { mean: vec![3.0, 7.0], deviation: vec![2.0, 1.0], missing: true };
        assert_eq!(scale.channels(), expected);
    }

    #[test]
    fn a_small_deviation_of_large_numbers_is_found() {
        let mut scale = Scale::default();
        // NumPy's `std` of 4194304, 4194305, 4194306 is the square root of two thirds.
        scale.add(1, &[4_194_304.0, 4_194_305.0, 4_194_306.0]);
        assert!((scale.deviation()[0] - (2.0_f64 / 3.0).sqrt()).abs() < 1e-9);
    }
}
