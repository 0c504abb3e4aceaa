use burn::module::Module;
use burn::tensor::{Int, Tensor};
use perceiver_core::KeyMask;
use perceiver_models::losses::{Labels, classification_loss};
use perceiver_models::{
    PerceiverForSequenceClassification, PerceiverHead as _, ProblemType, Request,
};

use super::{Measure, Objective, StepOutput, classification};
use crate::Metric;

/// Classifies texts, or predicts numbers from them, by the configuration's problem type.
///
/// # Source
/// `PerceiverForSequenceClassification.forward`.
#[derive(Module, Debug)]
pub struct SequenceClassification {
    head: PerceiverForSequenceClassification,
}

/// Texts and their labels.
#[derive(Debug, Clone)]
pub struct LabelledTexts {
    /// `[batch, tokens]`.
    pub ids: Tensor<2, Int>,
    /// `[batch, tokens]`, hides padding; absent if all texts are equally long.
    pub padding: Option<KeyMask>,
    /// Classes or values, as the problem type expects.
    pub labels: Labels,
}

impl SequenceClassification {
    /// Trains a head.
    #[must_use]
    pub const fn new(head: PerceiverForSequenceClassification) -> Self {
        Self { head }
    }
}

impl Objective for SequenceClassification {
    type Head = PerceiverForSequenceClassification;
    type Batch = LabelledTexts;

    fn head(&self) -> &PerceiverForSequenceClassification {
        &self.head
    }

    fn step(&self, batch: LabelledTexts) -> StepOutput {
        let LabelledTexts { ids, padding, labels } = batch;
        let scores = self.head.forward(Request::new(ids).mask(padding)).logits;
        compare(scores, labels, self.head.problem_type())
    }
}

/// Derives the problem type from the labels if the configuration has none.
///
/// # Shapes
/// - `scores`: `[batch, labels]`
pub(crate) fn compare(
    scores: Tensor<2>,
    labels: Labels,
    configured: Option<ProblemType>,
) -> StepOutput {
    let loss = classification_loss(scores.clone(), &labels, configured);
    let problem = configured.unwrap_or_else(|| labels.problem_type(scores.dims()[1]));
    StepOutput::new(loss).with_all(measures(problem, scores.detach(), labels))
}

fn measures(problem: ProblemType, scores: Tensor<2>, labels: Labels) -> Vec<Measure> {
    match (problem, labels) {
        (ProblemType::Regression, labels) => {
            let errors = (scores.clone() - labels.values(&scores)).square();
            vec![Measure::mean(Metric::SQUARED_ERROR, errors)]
        }
        (ProblemType::MultiLabelClassification, labels) => {
            let wanted = labels.values(&scores).greater_elem(0.5);
            let right = scores.greater_elem(0.0).equal(wanted);
            vec![Measure::mean(Metric::ACCURACY, right.float())]
        }
        (ProblemType::SingleLabelClassification, Labels::Classes(classes)) => {
            classification::accuracies(&scores, classes)
        }
        // The loss has panicked already.
        (ProblemType::SingleLabelClassification, Labels::Values(_)) => Vec::new(),
    }
}
