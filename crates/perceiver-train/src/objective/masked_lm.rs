use std::f64::consts::LN_2;

use burn::module::Module;
use burn::tensor::{Int, Tensor};
use perceiver_core::{KeyMask, OutputOptions};
use perceiver_models::PerceiverForMaskedLM;
use perceiver_models::losses::cross_entropy_sum;

use super::{Measure, Objective, Outcome, Quantity};

/// Filling in bytes of a text that were masked.
///
/// # Source
/// Perceiver IO section 4.1; BERT, arXiv 1810.04805.
#[derive(Module, Debug)]
pub struct MaskedLanguageModelling {
    head: PerceiverForMaskedLM,
}

/// Texts, and the bytes that were masked in them.
#[derive(Debug, Clone)]
pub struct MaskedTexts {
    /// `[batch, tokens]`, some of them masked.
    pub ids: Tensor<2, Int>,
    /// `[batch, tokens]`, hides padding; none where every text is as long.
    pub padding: Option<KeyMask>,
    /// `[batch, tokens]`, what was there, or [`IGNORED_LABEL`] where nothing is asked.
    ///
    /// [`IGNORED_LABEL`]: perceiver_models::losses::IGNORED_LABEL
    pub labels: Tensor<2, Int>,
}

impl MaskedLanguageModelling {
    /// For a head to learn.
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

    /// The mean over all masked bytes of the batch; zero where nothing is asked.
    fn outcome(&self, batch: MaskedTexts) -> Outcome {
        let MaskedTexts { ids, padding, labels } = batch;
        let options = OutputOptions::default();
        let scores = self.head.forward(ids, padding.as_ref(), None, options).logits;
        let [_, count] = labels.dims();
        let scores = scores.narrow(1, 0, count).flatten(0, 1);
        let (total, count) = cross_entropy_sum(scores, labels.flatten(0, 1));
        let bits = Measure::new(Quantity::BitsPerByte, total.clone() / LN_2, count.clone());
        Outcome { loss: total / count.clamp_min(1.0), measures: vec![bits] }
    }
}
