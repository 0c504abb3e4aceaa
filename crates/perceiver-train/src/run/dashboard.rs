use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::metric::{
    Adaptor, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry,
};

use crate::{Metric, StepOutput};

/// A metric on burn's dashboard.
#[derive(Clone)]
pub(super) struct DashboardMetric {
    metric: Metric,
    name: MetricName,
    /// Total and count of the last batch, and of all since the last reset.
    batch: [f64; 2],
    all: [f64; 2],
}

impl DashboardMetric {
    pub(super) fn new(metric: Metric) -> Self {
        let name = Arc::new(metric.name.clone().into_owned());
        Self { metric, name, batch: [0.0; 2], all: [0.0; 2] }
    }

    fn shown(&self, [total, count]: [f64; 2]) -> f64 {
        self.metric.value(total, count)
    }

    /// A batch may have no example that counts.
    fn text(&self, sums: [f64; 2]) -> String {
        match sums[1] > 0.0 {
            true => format!("{:.3} {}", self.shown(sums), self.metric.unit),
            false => "unknown".to_owned(),
        }
    }

    fn entry(&self) -> SerializedEntry {
        let formatted = format!("epoch {} - batch {}", self.text(self.all), self.text(self.batch));
        SerializedEntry::new(formatted, NumericEntry::Value(self.shown(self.all)).serialize())
    }
}

impl Adaptor<Self> for StepOutput {
    fn adapt(&self) -> Self {
        self.clone()
    }
}

impl burn::train::metric::Metric for DashboardMetric {
    type Input = StepOutput;

    fn name(&self) -> MetricName {
        Arc::clone(&self.name)
    }

    fn attributes(&self) -> MetricAttributes {
        let unit = Some(self.metric.unit.clone().into_owned());
        NumericAttributes { unit, higher_is_better: self.metric.higher_is_better }.into()
    }

    fn update(
        &mut self,
        output: &StepOutput,
        _: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.batch = [0.0; 2];
        for measure in output.measures.iter().filter(|m| m.metric == self.metric) {
            self.batch = [
                measure.total.clone().try_into_scalar::<f64>()?,
                measure.count.clone().try_into_scalar::<f64>()?,
            ];
        }
        self.all = [self.all[0] + self.batch[0], self.all[1] + self.batch[1]];
        Ok(self.entry())
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.entry())
    }

    fn clear(&mut self) {
        (self.batch, self.all) = ([0.0; 2], [0.0; 2]);
    }
}

impl Numeric for DashboardMetric {
    fn value(&self) -> Option<NumericEntry> {
        (self.batch[1] > 0.0).then(|| NumericEntry::Value(self.shown(self.batch)))
    }

    fn running_value(&self) -> Option<NumericEntry> {
        (self.all[1] > 0.0).then(|| NumericEntry::Value(self.shown(self.all)))
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(self.shown(self.all))
    }
}
