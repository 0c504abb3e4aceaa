use std::f64::consts::LN_2;

use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};
use perceiver_core::KeyMask;
use perceiver_models::losses::{IGNORED_LABEL, cross_entropy_sum};
use perceiver_models::{PerceiverForMaskedLM, PerceiverHead as _, Request};

use super::{Measure, Objective, StepOutput};
use crate::Metric;

/// Predicts masked bytes of texts.
///
/// # Source
/// Perceiver IO section 4.1; BERT, arXiv 1810.04805.
#[derive(Module, Debug)]
pub struct MaskedLanguageModelling {
    head: PerceiverForMaskedLM,
}

/// Texts, and the bytes that are masked in them.
#[derive(Debug, Clone)]
pub struct MaskedTexts {
    /// `[batch, tokens]`, some of them masked.
    pub ids: Tensor<2, Int>,
    /// `[batch, tokens]`, hides padding; absent if all texts are equally long.
    pub padding: Option<KeyMask>,
    /// `[batch, points]`, the positions to predict. Only they are decoded.
    pub points: Tensor<2, Int>,
    /// `[batch, points]`, the original ids, or [`IGNORED_LABEL`] where a text has fewer positions to
    /// predict than another.
    pub labels: Tensor<2, Int>,
}

impl MaskedTexts {
    /// Collects the positions to predict from labels of all positions.
    ///
    /// # Shapes
    /// - `ids`: `[batch, tokens]`
    /// - `padding`: `[batch, tokens]`
    /// - `labels`: a row per text with its original ids, or [`IGNORED_LABEL`] where there is nothing
    ///   to predict
    ///
    /// # Panics
    /// If the number of rows is not the number of texts.
    #[must_use]
    pub fn new(ids: Tensor<2, Int>, padding: Option<KeyMask>, labels: &[Vec<i64>]) -> Self {
        let [batch, _] = ids.dims();
        assert_eq!(labels.len(), batch, "labels need a row per text");
        let asked = |row: &Vec<i64>| -> Vec<(i64, i64)> {
            let labels = (0..).zip(row.iter().copied());
            labels.filter(|&(_, label)| label != IGNORED_LABEL).collect()
        };
        let mut asked: Vec<_> = labels.iter().map(asked).collect();
        let count = asked.iter().map(Vec::len).max().unwrap_or(0).max(1);
        for row in &mut asked {
            row.resize(count, (0, IGNORED_LABEL));
        }
        let (points, labels): (Vec<_>, Vec<_>) = asked.into_iter().flatten().unzip();
        let device = ids.device();
        let rows = |values| Tensor::from_data(TensorData::new(values, [batch, count]), &device);
        Self { points: rows(points), labels: rows(labels), ids, padding }
    }
}

impl MaskedLanguageModelling {
    /// Trains a head.
    #[must_use]
    pub const fn new(head: PerceiverForMaskedLM) -> Self {
        Self { head }
    }
}

impl Objective for MaskedLanguageModelling {
    type Head = PerceiverForMaskedLM;
    type Batch = MaskedTexts;

    fn head(&self) -> &PerceiverForMaskedLM {
        &self.head
    }

    /// The loss is the mean over all masked bytes of the batch, or zero without any.
    fn step(&self, batch: MaskedTexts) -> StepOutput {
        let MaskedTexts { ids, padding, points, labels } = batch;
        let encoded = self.head.encode(Request::new(ids).mask(padding));
        let scores = self.head.decode(&encoded, points).flatten(0, 1);
        let (total, count) = cross_entropy_sum(scores, labels.flatten(0, 1));
        let bits = Measure::new(Metric::BITS_PER_BYTE, total.clone() / LN_2, count.clone());
        StepOutput::new(total / count.clamp_min(1.0)).with(bits)
    }
}
