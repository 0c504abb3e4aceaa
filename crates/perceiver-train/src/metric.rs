use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A quantity that a training run measures and reports, such as accuracy.
///
/// Logs know a metric by its name alone, so two metrics of the same name are equal.
///
/// ```
/// use perceiver_train::Metric;
///
/// const CHAMFER: Metric = Metric::new("Chamfer distance", "mm");
/// const RECALL: Metric = Metric::percentage("recall").higher_is_better();
/// assert_eq!(RECALL.value(3.0, 4.0), 75.0);
/// ```
#[derive(Clone)]
pub struct Metric {
    /// Name in logs, learning curves and model cards.
    pub name: Cow<'static, str>,
    /// Unit of [`value`](Self::value); empty for a plain number.
    pub unit: Cow<'static, str>,
    /// If true, higher values are better.
    pub higher_is_better: bool,
    /// Turns the mean over all examples into the value reported.
    pub from_mean: fn(f64) -> f64,
}

impl Metric {
    /// Share of examples whose highest score belongs to the right class; for multi-label problems,
    /// share of labels whose score has the right sign.
    pub const ACCURACY: Self = Self::percentage("accuracy").higher_is_better();
    /// Share of examples whose right class is among the five highest scores.
    pub const TOP_FIVE_ACCURACY: Self = Self::percentage("top-5 accuracy").higher_is_better();
    /// Squared error of a regression.
    pub const SQUARED_ERROR: Self = Self::new("squared error", "");
    /// Root of the mean squared error of a regression, in the units of the data.
    pub const ROOT_MEAN_SQUARE_ERROR: Self =
        Self::new("root mean square error", "").displayed_as(f64::sqrt);
    /// Negative binary logarithm of the probability of the masked bytes.
    pub const BITS_PER_BYTE: Self = Self::new("bits per byte", "bits");
    /// Distance between predicted and true flow, in pixels.
    pub const END_POINT_ERROR: Self = Self::new("end-point error", "px");
    /// Share of pixels whose flow is off by more than three pixels and more than a twentieth of the
    /// true motion (`Fl-all`).
    pub const FLOW_OUTLIERS: Self = Self::percentage("Fl-all");
    /// Peak signal-to-noise ratio of pictures in 0 to 1.
    pub const PICTURE_PSNR: Self = Self::signal_to_noise("picture PSNR");
    /// Peak signal-to-noise ratio of sound in -1 to 1, with a peak of 1 as in DeepMind's measure.
    pub const SOUND_PSNR: Self = Self::signal_to_noise("sound PSNR");

    /// Metrics of the objectives in this crate.
    const OURS: [Self; 9] = [
        Self::ACCURACY,
        Self::TOP_FIVE_ACCURACY,
        Self::SQUARED_ERROR,
        Self::ROOT_MEAN_SQUARE_ERROR,
        Self::BITS_PER_BYTE,
        Self::END_POINT_ERROR,
        Self::FLOW_OUTLIERS,
        Self::PICTURE_PSNR,
        Self::SOUND_PSNR,
    ];

    /// A metric whose value is the mean over all examples. Lower is better, unless
    /// [`higher_is_better`](Self::higher_is_better) follows.
    #[must_use]
    pub const fn new(name: &'static str, unit: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            unit: Cow::Borrowed(unit),
            higher_is_better: false,
            from_mean: unchanged,
        }
    }

    /// A metric whose value is 100 times the mean over all examples, in percent. Lower is better,
    /// unless [`higher_is_better`](Self::higher_is_better) follows.
    #[must_use]
    pub const fn percentage(name: &'static str) -> Self {
        Self::new(name, "%").displayed_as(percent)
    }

    const fn signal_to_noise(name: &'static str) -> Self {
        Self::new(name, "dB").displayed_as(decibels).higher_is_better()
    }

    /// Says that higher values are better.
    #[must_use]
    pub const fn higher_is_better(mut self) -> Self {
        self.higher_is_better = true;
        self
    }

    /// Reports a function of the mean over all examples instead of the mean: with [`f64::sqrt`], a
    /// mean squared error is reported as its root.
    #[must_use]
    pub const fn displayed_as(mut self, from_mean: fn(f64) -> f64) -> Self {
        self.from_mean = from_mean;
        self
    }

    /// The value reported, from a sum over examples and their count.
    #[must_use]
    pub fn value(&self, total: f64, count: f64) -> f64 {
        (self.from_mean)(total / count)
    }

    /// If true, this crate defines the metric.
    pub(crate) fn is_ours(&self) -> bool {
        Self::OURS.contains(self)
    }

    /// The metric that a log calls by this name. Units of metrics from other crates are unknown.
    fn named(name: String) -> Self {
        let ours = Self::OURS.into_iter().find(|metric| metric.name == name);
        ours.unwrap_or_else(|| Self { name: Cow::Owned(name), ..Self::new("", "") })
    }
}

fn unchanged(mean: f64) -> f64 {
    mean
}

fn percent(mean: f64) -> f64 {
    100.0 * mean
}

fn decibels(mean: f64) -> f64 {
    -10.0 * mean.log10()
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, unit, higher_is_better, .. } = self;
        f.debug_struct("Metric")
            .field("name", name)
            .field("unit", unit)
            .field("higher_is_better", higher_is_better)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Metric {}

impl Hash for Metric {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// Values of metrics, in the order in which the objective measures them: the most telling first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricValues(Vec<(Metric, f64)>);

impl MetricValues {
    /// The value of a metric.
    #[must_use]
    pub fn get(&self, metric: &Metric) -> Option<f64> {
        self.iter().find(|(found, _)| *found == metric).map(|(_, value)| value)
    }

    /// All metrics with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&Metric, f64)> {
        self.0.iter().map(|(metric, value)| (metric, *value))
    }

    /// If true, nothing was measured.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replaces metrics that a log knows by name alone.
    pub(crate) fn describe(&mut self, metrics: &[Metric]) {
        for (metric, _) in &mut self.0 {
            if let Some(known) = metrics.iter().find(|known| *known == metric) {
                *metric = known.clone();
            }
        }
    }
}

/// Names, values and units: `accuracy 98.400 %, error 0.512 mm`.
impl fmt::Display for MetricValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (metric, value)) in self.iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            let space = if metric.unit.is_empty() { "" } else { " " };
            write!(f, "{separator}{} {value:.3}{space}{}", metric.name, metric.unit)?;
        }
        Ok(())
    }
}

impl FromIterator<(Metric, f64)> for MetricValues {
    fn from_iter<T: IntoIterator<Item = (Metric, f64)>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

impl Serialize for MetricValues {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(metric, value)| (&metric.name, value)))
    }
}

impl<'de> Deserialize<'de> for MetricValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ValuesByName)
    }
}

struct ValuesByName;

impl<'de> Visitor<'de> for ValuesByName {
    type Value = MetricValues;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from names of metrics to numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MetricValues, A::Error> {
        let mut values = Vec::new();
        // JSON writes numbers that are not finite as null.
        while let Some((name, value)) = map.next_entry::<String, Option<f64>>()? {
            values.push((Metric::named(name), value.unwrap_or(f64::NAN)));
        }
        Ok(MetricValues(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_from_sums_and_counts() {
        assert_eq!(Metric::ACCURACY.value(3.0, 4.0), 75.0);
        assert_eq!(Metric::END_POINT_ERROR.value(3.0, 4.0), 0.75);
        assert_eq!(Metric::PICTURE_PSNR.value(1.0, 100.0), 20.0);
        assert_eq!(Metric::new("error", "m").displayed_as(f64::sqrt).value(18.0, 2.0), 3.0);
    }

    #[test]
    fn values_are_written_with_their_names_and_units() {
        let error = Metric::new("error", "mm");
        let values = [(Metric::ACCURACY, 98.4), (Metric::SQUARED_ERROR, 2.0), (error, 0.5123)];
        let values: MetricValues = values.into_iter().collect();
        assert_eq!(values.to_string(), "accuracy 98.400 %, squared error 2.000, error 0.512 mm");
        assert_eq!(MetricValues::default().to_string(), "");
    }

    #[test]
    fn metrics_from_a_log_keep_their_order_and_regain_their_units() {
        let mut values: MetricValues =
            serde_json::from_str(r#"{"recall":1.5,"accuracy":null}"#).unwrap_or_default();
        let found = |values: &MetricValues| -> Vec<_> {
            values.iter().map(|(metric, _)| (metric.name.clone(), metric.unit.clone())).collect()
        };
        let expected = |unit: &'static str| [("recall", unit), ("accuracy", "%")];
        let expected = |unit| expected(unit).map(|(name, unit)| (name.into(), unit.into()));
        assert_eq!(found(&values), expected(""));
        values.describe(&[Metric::percentage("recall")]);
        assert_eq!(found(&values), expected("%"));
        assert!(values.get(&Metric::ACCURACY).is_some_and(f64::is_nan));
    }
}
