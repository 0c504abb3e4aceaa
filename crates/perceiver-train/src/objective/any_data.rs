use burn::module::Module;
use burn::tensor::{Int, Tensor};
use perceiver_models::any_data::{AnyDataLabels, Output};
use perceiver_models::losses::Labels;
use perceiver_models::{
    PerceiverClassifierOutput, PerceiverForAnyData, PerceiverHead as _, Request,
};

use super::{Measure, Objective, StepOutput, classification};
use crate::Metric;
use crate::any_data::AnyDataBatch;

/// Answers data of any kind: classes, numbers, a class for each element, or masked elements.
#[derive(Module, Debug)]
pub struct AnyDataTraining {
    head: PerceiverForAnyData,
}

impl AnyDataTraining {
    /// Trains a head.
    #[must_use]
    pub const fn new(head: PerceiverForAnyData) -> Self {
        Self { head }
    }
}

impl Objective for AnyDataTraining {
    type Head = PerceiverForAnyData;
    type Batch = AnyDataBatch;

    fn head(&self) -> &PerceiverForAnyData {
        &self.head
    }

    fn step(&self, batch: AnyDataBatch) -> StepOutput {
        step(&self.head, batch).0
    }
}

/// Scores of a batch with a class each, `[examples, classes]`, and the classes, `[examples]`.
pub(crate) type Classified = Option<(Tensor<2>, Tensor<1, Int>)>;

/// Loss and metrics, and the answers that a confusion matrix counts.
pub(crate) fn step(head: &PerceiverForAnyData, batch: AnyDataBatch) -> (StepOutput, Classified) {
    let AnyDataBatch { input, labels } = batch;
    let masked_ids = head.masked_ids(&input);
    let mut request = Request::new(input);
    request.labels.clone_from(&labels);
    let PerceiverClassifierOutput { loss, logits, .. } = head.forward(request);
    let loss = loss.expect("the batch has labels, or masked elements");
    let logits = logits.detach();
    let output = StepOutput::new(loss.clone());
    match (&head.any_data().output, labels) {
        (Output::Reconstruction { .. }, _) if masked_ids.is_some() => {
            let classes: Tensor<1, Int> = masked_ids.map_or_else(
                || unreachable!("there are masked ids"),
                |classes| classes.flatten(0, 1),
            );
            let scores: Tensor<2> = logits.flatten(0, 1);
            (output.with_all(classification::accuracies(&scores, classes)), None)
        }
        (Output::Reconstruction { .. }, _) => {
            (output.with(Measure::mean(Metric::SQUARED_ERROR, loss)), None)
        }
        (Output::MultiLabel { .. }, Some(AnyDataLabels::Whole(labels))) => {
            let scores: Tensor<2> = logits.squeeze_dim(1);
            let wanted = labels.values(&scores).greater_elem(0.5);
            let right = scores.greater_elem(0.0).equal(wanted);
            (output.with(Measure::mean(Metric::ACCURACY, right.float())), None)
        }
        (_, Some(AnyDataLabels::Whole(Labels::Classes(classes)))) => {
            let scores: Tensor<2> = logits.squeeze_dim(1);
            let output = output.with_all(classification::accuracies(&scores, classes.clone()));
            (output, Some((scores, classes)))
        }
        (_, Some(AnyDataLabels::Elements(classes))) => {
            let (scores, classes): (Tensor<2>, Tensor<1, Int>) =
                (logits.flatten(0, 1), classes.flatten(0, 1));
            let output = output.with_all(classification::accuracies(&scores, classes.clone()));
            (output, Some((scores, classes)))
        }
        (_, Some(AnyDataLabels::Whole(labels))) => {
            let answers: Tensor<2> = logits.squeeze_dim(1);
            let errors = (answers.clone() - labels.values(&answers)).square();
            (output.with(Measure::mean(Metric::ROOT_MEAN_SQUARE_ERROR, errors)), None)
        }
        (_, None) => unreachable!("the loss needs labels"),
    }
}
