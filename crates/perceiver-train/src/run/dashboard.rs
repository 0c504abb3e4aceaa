use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry,
};

use crate::{Outcome, Quantity};

/// A quantity as burn's dashboard shows it.
#[derive(Clone)]
pub(super) struct QuantityMetric {
    quantity: Quantity,
    name: MetricName,
    /// Total and count of the last batch, and of all since the last reset.
    batch: [f64; 2],
    all: [f64; 2],
}

impl QuantityMetric {
    pub(super) fn new(quantity: Quantity) -> Self {
        let name = Arc::new(quantity.name().to_owned());
        Self { quantity, name, batch: [0.0; 2], all: [0.0; 2] }
    }

    fn shown(&self, [total, count]: [f64; 2]) -> f64 {
        self.quantity.value(total, count)
    }

    fn entry(&self) -> SerializedEntry {
        let (all, batch, unit) =
            (self.shown(self.all), self.shown(self.batch), self.quantity.unit());
        let formatted = format!("epoch {all:.3} {unit} - batch {batch:.3} {unit}");
        SerializedEntry::new(formatted, NumericEntry::Value(all).serialize())
    }
}

impl Adaptor<Self> for Outcome {
    fn adapt(&self) -> Self {
        self.clone()
    }
}

impl Metric for QuantityMetric {
    type Input = Outcome;

    fn name(&self) -> MetricName {
        Arc::clone(&self.name)
    }

    fn attributes(&self) -> MetricAttributes {
        let unit = Some(self.quantity.unit().to_owned());
        NumericAttributes { unit, higher_is_better: self.quantity.rises() }.into()
    }

    fn update(
        &mut self,
        outcome: &Outcome,
        _: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.batch = [0.0; 2];
        for measure in outcome.measures.iter().filter(|m| m.quantity == self.quantity) {
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

impl Numeric for QuantityMetric {
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
