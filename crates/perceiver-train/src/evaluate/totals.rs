//! Numbers of several batches become one.

use std::collections::BTreeMap;

use burn::tensor::{DType, Tensor};

use crate::{Outcome, Quantity};

/// Losses and measures of several batches, added up.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Loss times weight, and the weights.
    loss: [f64; 2],
    /// Totals and counts.
    measures: BTreeMap<Quantity, [f64; 2]>,
}

impl Totals {
    /// Adds a batch. Waits for its numbers.
    ///
    /// A batch's loss weighs as much as what its first measure counted: examples, bytes or pixels.
    pub fn add(&mut self, outcome: Outcome) {
        let Outcome { loss, measures } = outcome;
        let quantities: Vec<_> = measures.iter().map(|measure| measure.quantity).collect();
        let numbers = measures.into_iter().flat_map(|measure| [measure.total, measure.count]);
        let loss = loss.without_autodiff().cast(DType::F32);
        let numbers = std::iter::once(loss).chain(numbers);
        // One tensor is fetched from the device, not one for each number.
        let numbers = Tensor::cat(numbers.collect(), 0).into_data().convert::<f64>();
        let numbers: Vec<f64> = numbers.iter().collect();
        let (loss, pairs) = (numbers[0], numbers[1..].chunks_exact(2));
        let weight = pairs.clone().next().map_or(1.0, |pair| pair[1]);
        // A batch in which nothing counts has no loss.
        if weight > 0.0 {
            self.loss[0] += weight * loss;
            self.loss[1] += weight;
        }
        for (quantity, pair) in quantities.into_iter().zip(pairs) {
            let sums = self.measures.entry(quantity).or_default();
            sums[0] += pair[0];
            sums[1] += pair[1];
        }
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.measures.is_empty() && self.loss[1] == 0.0
    }

    /// Mean loss; not a number where nothing was added.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.loss[0] / self.loss[1]
    }

    /// What people read, in the units of [`Quantity::unit`], of all that was counted.
    #[must_use]
    pub fn values(&self) -> BTreeMap<Quantity, f64> {
        let values = self.measures.iter().filter(|(_, [_, count])| *count > 0.0);
        values
            .map(|(quantity, [total, count])| (*quantity, quantity.value(*total, *count)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::Measure;

    fn outcome(loss: f32, right: f32, examples: f32) -> Outcome {
        let number = |number: f32| Tensor::from_floats([number], &Device::flex());
        let quantity = Quantity::Accuracy;
        let measure = Measure { quantity, total: number(right), count: number(examples) };
        Outcome { loss: number(loss), measures: vec![measure] }
    }

    #[test]
    fn a_smaller_batch_weighs_less() {
        let mut totals = Totals::default();
        totals.add(outcome(1.0, 3.0, 3.0));
        totals.add(outcome(5.0, 0.0, 1.0));
        assert_eq!(totals.loss(), 2.0);
        assert_eq!(totals.values(), [(Quantity::Accuracy, 75.0)].into());
    }

    /// Of a batch whose labels are all to be passed over, the mean loss is not a number.
    #[test]
    fn a_batch_in_which_nothing_counts_changes_nothing() {
        let mut totals = Totals::default();
        totals.add(outcome(f32::NAN, 0.0, 0.0));
        assert!(totals.values().is_empty());
        totals.add(outcome(2.0, 1.0, 2.0));
        assert_eq!(totals.loss(), 2.0);
    }

    #[test]
    fn without_batches_there_is_no_loss() {
        assert!(Totals::default().loss().is_nan());
    }
}
