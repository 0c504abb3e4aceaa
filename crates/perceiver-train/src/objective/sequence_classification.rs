use burn::module::Module;
use burn::tensor::{Int, Tensor};
use perceiver_core::KeyMask;
use perceiver_models::losses::{Labels, classification_loss};
use perceiver_models::{
    PerceiverForSequenceClassification, PerceiverHead as _, ProblemType, Request,
};

use super::{Measure, Objective, Outcome, Quantity, classification};

/// Classifying texts, or predicting numbers from them, by the problem type of the configuration.
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
    /// `[batch, tokens]`, hides padding; none where every text is as long.
    pub padding: Option<KeyMask>,
    /// Classes or values, as the problem type takes them.
    pub labels: Labels,
}

impl SequenceClassification {
    /// For a head to learn.
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

    fn outcome(&self, batch: LabelledTexts) -> Outcome {
        let LabelledTexts { ids, padding, labels } = batch;
        let scores = self.head.forward(Request::new(ids).mask(padding)).logits;
        compare(scores, labels, self.head.problem_type())
    }
}

/// Without a problem type in the configuration, the labels tell it.
///
/// # Shapes
/// - `scores`: `[batch, labels]`
pub(crate) fn compare(
    scores: Tensor<2>,
    labels: Labels,
    configured: Option<ProblemType>,
) -> Outcome {
    let loss = classification_loss(scores.clone(), &labels, configured);
    let problem = configured.unwrap_or_else(|| labels.problem_type(scores.dims()[1]));
    Outcome { loss, measures: measures(problem, scores.detach(), labels) }
}

fn measures(problem: ProblemType, scores: Tensor<2>, labels: Labels) -> Vec<Measure> {
    match (problem, labels) {
        (ProblemType::Regression, labels) => {
            let errors = (scores.clone() - labels.values(&scores)).square();
            vec![Measure::mean_of(Quantity::SquaredError, errors)]
        }
        (ProblemType::MultiLabelClassification, labels) => {
            let wanted = labels.values(&scores).greater_elem(0.5);
            let right = scores.greater_elem(0.0).equal(wanted);
            vec![Measure::mean_of(Quantity::Accuracy, right.float())]
        }
        (ProblemType::SingleLabelClassification, Labels::Classes(classes)) => {
            classification::accuracies(&scores, classes)
        }
        // The loss has panicked already.
        (ProblemType::SingleLabelClassification, Labels::Values(_)) => Vec::new(),
    }
}
