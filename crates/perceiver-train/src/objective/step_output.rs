use burn::tensor::{DType, ExecutionError, Tensor};
use burn::train::ItemLazy;
use burn::train::metric::{Adaptor, LossInput};

use crate::Metric;

/// Loss and metrics of one batch.
///
/// ```
/// # use burn::tensor::{Bool, Tensor};
/// use perceiver_train::{Measure, Metric, StepOutput};
///
/// fn output(loss: Tensor<1>, correct: Tensor<1, Bool>) -> StepOutput {
///     StepOutput::new(loss).with(Measure::mean(Metric::ACCURACY, correct.float()))
/// }
/// ```
#[derive(Debug, Clone)]
pub struct StepOutput {
    /// `[1]`: the mean over the batch, which is differentiated. It weighs as many examples as the
    /// first measure counts that is not optional.
    pub loss: Tensor<1>,
    /// What people read besides the loss, the most telling first.
    pub measures: Vec<Measure>,
}

impl StepOutput {
    /// A loss without metrics.
    ///
    /// # Shapes
    /// - `loss`: `[1]`
    ///
    /// # Panics
    /// If the loss is not one number.
    #[must_use]
    pub fn new(loss: Tensor<1>) -> Self {
        assert_one(&loss, "the loss");
        Self { loss, measures: Vec::new() }
    }

    /// Adds a metric.
    ///
    /// # Panics
    /// If this batch has a measure of the same metric already.
    #[must_use]
    pub fn with(mut self, measure: Measure) -> Self {
        let name = &measure.metric.name;
        let twice = self.measures.iter().any(|other| other.metric == measure.metric);
        assert!(!twice, "metric `{name}` is measured twice in one batch");
        self.measures.push(measure);
        self
    }

    /// Adds metrics.
    pub(super) fn with_all(self, measures: impl IntoIterator<Item = Measure>) -> Self {
        measures.into_iter().fold(self, Self::with)
    }
}

impl ItemLazy for StepOutput {
    /// The same numbers without their graph, so that a log does not keep the graph alive.
    fn sync(self) -> Result<Self, ExecutionError> {
        self.loss.device().flush()?;
        let measures = self.measures.into_iter().map(|measure| Measure {
            total: measure.total.without_autodiff(),
            count: measure.count.without_autodiff(),
            ..measure
        });
        Ok(Self { measures: measures.collect(), loss: self.loss.without_autodiff() })
    }
}

impl Adaptor<LossInput> for StepOutput {
    fn adapt(&self) -> LossInput {
        LossInput::new(self.loss.clone())
    }
}

/// A metric's sum over the examples of a batch, and their count: batches add up.
#[derive(Debug, Clone)]
pub struct Measure {
    /// The metric.
    pub metric: Metric,
    /// `[1]`, the sum over all that was counted.
    pub total: Tensor<1>,
    /// `[1]`, the number of examples, bytes or pixels that were counted.
    pub count: Tensor<1>,
    /// If true, a run without a single counted example leaves the metric out of its log. Otherwise
    /// it ends in an error, since a mean over nothing is undefined.
    pub optional: bool,
}

impl Measure {
    /// A sum and a count, in single precision and outside the graph.
    ///
    /// # Shapes
    /// - `total`, `count`: `[1]`
    ///
    /// # Panics
    /// If either is not one number.
    #[must_use]
    pub fn new(metric: Metric, total: Tensor<1>, count: Tensor<1>) -> Self {
        assert_one(&total, format_args!("the total of metric `{}`", metric.name));
        assert_one(&count, format_args!("the count of metric `{}`", metric.name));
        let number = |tensor: Tensor<1>| tensor.detach().cast(DType::F32);
        Self { metric, total: number(total), count: number(count), optional: false }
    }

    /// The mean of all values in a tensor; `bool.float()` gives a share.
    #[must_use]
    pub fn mean<const D: usize>(metric: Metric, values: Tensor<D>) -> Self {
        let values = values.detach().cast(DType::F32);
        let count = values.shape().num_elements() as f32;
        let count = Tensor::from_data([count], (&values.device(), DType::F32));
        Self::new(metric, values.sum(), count)
    }

    /// Leaves the metric out where no example counts, instead of ending in an error.
    #[must_use]
    pub fn optional(self) -> Self {
        Self { optional: true, ..self }
    }
}

fn assert_one(tensor: &Tensor<1>, name: impl std::fmt::Display) {
    let [values] = tensor.dims();
    assert_eq!(values, 1, "{name} has {values} values, expected 1");
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn numbers<const N: usize>(numbers: [f32; N]) -> Tensor<1> {
        Tensor::from_floats(numbers, &Device::flex())
    }

    #[test]
    #[should_panic(expected = "the total of metric `accuracy` has 3 values, expected 1")]
    fn a_total_for_each_example_is_refused() {
        let _ = Measure::new(Metric::ACCURACY, numbers([1.0, 0.0, 1.0]), numbers([3.0]));
    }

    #[test]
    #[should_panic(expected = "metric `accuracy` is measured twice in one batch")]
    fn a_metric_is_measured_once() {
        let measure = Measure::mean(Metric::ACCURACY, numbers([1.0, 0.0]));
        let _ = StepOutput::new(numbers([0.5])).with(measure.clone()).with(measure);
    }
}
