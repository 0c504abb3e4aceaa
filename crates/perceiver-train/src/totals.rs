//! Losses and metrics of several batches, added up.

use burn::tensor::{DType, Tensor};

use crate::metric::MetricValues;
use crate::{Metric, StepOutput};

/// Sums of losses and measures over batches.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    /// The sum of weighted losses, and the sum of weights.
    loss: [f64; 2],
    measures: Vec<Sum>,
}

#[derive(Debug, Clone)]
struct Sum {
    metric: Metric,
    total: f64,
    count: f64,
    optional: bool,
}

/// The loss that a batch added.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Added {
    /// Nothing in the batch counted, such as in a batch without labels.
    Nothing,
    /// The mean loss of the batch.
    Loss(f64),
}

impl Totals {
    /// Adds a batch. Waits for the device to compute it.
    ///
    /// A batch's loss weighs as many examples, bytes or pixels as its first measure counts that is not
    /// optional. Without such a measure, all batches weigh the same.
    pub(crate) fn add(&mut self, output: StepOutput) -> Added {
        let StepOutput { loss, measures } = output;
        let loss = loss.without_autodiff().cast(DType::F32);
        let numbers = measures.iter().flat_map(|measure| [&measure.total, &measure.count]);
        let numbers = std::iter::once(loss).chain(numbers.cloned());
        // Fetches one tensor from the device, not one for each number.
        let numbers = Tensor::cat(numbers.collect(), 0).into_data().convert::<f64>();
        let numbers: Vec<f64> = numbers.iter().collect();
        let (loss, pairs) = (numbers[0], numbers[1..].chunks_exact(2));
        let mut counted = measures.iter().zip(pairs.clone());
        let weighing = counted.find(|(measure, _)| !measure.optional);
        let weight = weighing.map_or(1.0, |(_, pair)| pair[1]);
        // The loss of a batch in which nothing counts is not defined.
        if weight > 0.0 {
            self.loss[0] += weight * loss;
            self.loss[1] += weight;
        }
        for (measure, pair) in measures.into_iter().zip(pairs) {
            let known = self.measures.iter_mut().find(|sum| sum.metric == measure.metric);
            match known {
                Some(sum) => {
                    sum.total += pair[0];
                    sum.count += pair[1];
                }
                None => self.measures.push(Sum {
                    metric: measure.metric,
                    total: pair[0],
                    count: pair[1],
                    optional: measure.optional,
                }),
            }
        }
        if weight > 0.0 { Added::Loss(loss) } else { Added::Nothing }
    }

    /// If true, nothing counted.
    pub(crate) const fn is_empty(&self) -> bool {
        self.loss[1] <= 0.0
    }

    /// Mean loss; NaN if nothing was counted.
    pub(crate) fn loss(&self) -> f64 {
        self.loss[0] / self.loss[1]
    }

    /// Values of all metrics that counted an example.
    pub(crate) fn values(&self) -> MetricValues {
        let counted = self.measures.iter().filter(|sum| sum.count > 0.0);
        counted.map(|sum| (sum.metric.clone(), sum.metric.value(sum.total, sum.count))).collect()
    }

    /// A metric that should have counted examples and did not.
    pub(crate) fn without_examples(&self) -> Option<&Metric> {
        let empty = |sum: &&Sum| sum.count <= 0.0 && !sum.optional;
        self.measures.iter().find(empty).map(|sum| &sum.metric)
    }

    /// The metric by which losses are weighted, if it counted no example.
    pub(crate) fn without_weight(&self) -> Option<&Metric> {
        let weighing = self.measures.iter().find(|sum| !sum.optional);
        weighing.filter(|_| self.loss[1] <= 0.0).map(|sum| &sum.metric)
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::Measure;

    fn output(loss: f32, right: f32, examples: f32) -> StepOutput {
        let number = |number: f32| Tensor::from_floats([number], &Device::flex());
        let measure = Measure::new(Metric::ACCURACY, number(right), number(examples));
        StepOutput::new(number(loss)).with(measure)
    }

    fn accuracy(totals: &Totals) -> Option<f64> {
        totals.values().get(&Metric::ACCURACY)
    }

    #[test]
    fn a_smaller_batch_weighs_less() {
        let mut totals = Totals::default();
        totals.add(output(1.0, 3.0, 3.0));
        totals.add(output(5.0, 0.0, 1.0));
        assert_eq!((totals.loss(), accuracy(&totals)), (2.0, Some(75.0)));
    }

    /// The mean loss of a batch without labels is NaN.
    #[test]
    fn a_batch_in_which_nothing_counts_changes_nothing() {
        let mut totals = Totals::default();
        assert_eq!(totals.add(output(f32::NAN, 0.0, 0.0)), Added::Nothing);
        assert!(totals.is_empty());
        assert_eq!(accuracy(&totals), None);
        assert_eq!(totals.without_examples(), Some(&Metric::ACCURACY));
        assert_eq!(totals.without_weight(), Some(&Metric::ACCURACY));
        assert_eq!(totals.add(output(2.0, 1.0, 2.0)), Added::Loss(2.0));
        assert_eq!(totals.loss(), 2.0);
        assert_eq!(totals.without_examples().or(totals.without_weight()), None);
    }

    #[test]
    fn an_optional_metric_may_count_nothing() {
        let mut totals = Totals::default();
        let StepOutput { loss, measures } = output(1.0, 0.0, 0.0);
        let labels = measures.into_iter().map(Measure::optional);
        let errors = Measure::mean(Metric::SQUARED_ERROR, loss.clone());
        totals.add(labels.fold(StepOutput::new(loss).with(errors), StepOutput::with));
        assert_eq!((totals.without_examples(), accuracy(&totals)), (None, None));
    }

    #[test]
    fn an_optional_metric_that_comes_first_does_not_weigh_the_loss() {
        let number = |number: f32| Tensor::from_floats([number], &Device::flex());
        let batch = |loss, labels, errors: &[f32]| {
            let labels = Measure::new(Metric::ACCURACY, number(labels), number(labels));
            let errors = Tensor::<1>::from_floats(errors, &Device::flex());
            let errors = Measure::mean(Metric::SQUARED_ERROR, errors);
            StepOutput::new(number(loss)).with(labels.optional()).with(errors)
        };
        let mut totals = Totals::default();
        totals.add(batch(1.0, 0.0, &[0.5, 0.5, 0.5]));
        assert_eq!((totals.loss(), totals.without_weight()), (1.0, None));
        totals.add(batch(5.0, 2.0, &[0.5]));
        assert_eq!((totals.loss(), accuracy(&totals)), (2.0, Some(100.0)));

        // Without any other metric, batches weigh the same.
        let mut totals = Totals::default();
        for (loss, labels) in [(1.0, 0.0), (2.0, 3.0)] {
            let labels = Measure::new(Metric::ACCURACY, number(labels), number(labels));
            totals.add(StepOutput::new(number(loss)).with(labels.optional()));
        }
        assert_eq!((totals.loss(), totals.without_weight()), (1.5, None));
    }

    #[test]
    fn without_batches_there_is_no_loss() {
        let totals = Totals::default();
        assert!(totals.is_empty() && totals.loss().is_nan());
    }
}
