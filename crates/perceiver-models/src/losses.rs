//! The reference's training losses.

use burn::tensor::{Int, Tensor, activation};

use crate::config::ProblemType;

/// The label that cross-entropy passes over.
pub const IGNORED_LABEL: i64 = -100;

/// What a classifier's scores are compared with.
#[derive(Debug, Clone)]
pub enum Labels {
    /// One class an example, `[batch]`; [`IGNORED_LABEL`] is passed over.
    Classes(Tensor<1, Int>),
    /// One number a label, `[batch, labels]`: targets of a regression, or zero and one for each
    /// of several labels.
    Values(Tensor<2>),
}

/// Mean negative log-likelihood of the classes that are not [`IGNORED_LABEL`]; not a number when
/// all are.
///
/// # Shapes
/// - `scores`: `[examples, classes]`
/// - `classes`: `[examples]`
/// - returns: `[1]`
///
/// # Source
/// `torch.nn.CrossEntropyLoss`.
#[must_use]
pub fn cross_entropy(scores: Tensor<2>, classes: Tensor<1, Int>) -> Tensor<1> {
    let [examples, _] = scores.dims();
    let ignored = classes.clone().equal_elem(IGNORED_LABEL);
    let counted = ignored.clone().bool_not().float().cast(scores.dtype());
    let classes = classes.mask_fill(ignored, 0).reshape([examples, 1]);
    let likelihoods: Tensor<1> =
        activation::log_softmax(scores, 1).gather(1, classes).reshape([examples]);
    -(likelihoods * counted.clone()).sum() / counted.sum()
}

/// The loss of a classifier, or of a regression, by `problem_type`.
///
/// Without a problem type it is inferred: one label is a regression, classes are one label an
/// example, values are several.
///
/// # Shapes
/// - `scores`: `[batch, labels]`
/// - returns: `[1]`
///
/// # Panics
/// If the labels are of another kind or shape than the problem asks for.
///
/// # Source
/// `PerceiverForSequenceClassification.forward`, `ForSequenceClassificationLoss`.
#[must_use]
pub fn classification_loss(
    scores: Tensor<2>,
    labels: &Labels,
    problem_type: Option<ProblemType>,
) -> Tensor<1> {
    let [_, label_count] = scores.dims();
    let problem_type = problem_type.unwrap_or(match labels {
        _ if label_count == 1 => ProblemType::Regression,
        Labels::Classes(_) => ProblemType::SingleLabelClassification,
        Labels::Values(_) => ProblemType::MultiLabelClassification,
    });
    match (problem_type, labels) {
        (ProblemType::Regression, labels) => {
            mean_squared_error(scores.clone(), values(labels, &scores))
        }
        (ProblemType::SingleLabelClassification, Labels::Classes(classes)) => {
            cross_entropy(scores, classes.clone())
        }
        (ProblemType::SingleLabelClassification, Labels::Values(_)) => {
            panic!("single_label_classification takes one class an example, not values")
        }
        (ProblemType::MultiLabelClassification, labels) => {
            binary_cross_entropy(scores.clone(), values(labels, &scores))
        }
    }
}

/// Labels as numbers shaped like the scores.
fn values(labels: &Labels, scores: &Tensor<2>) -> Tensor<2> {
    match labels {
        Labels::Values(values) => {
            assert_eq!(values.dims(), scores.dims(), "labels have another shape than the scores");
            values.clone()
        }
        Labels::Classes(classes) => {
            let numbers = classes.clone().float().cast(scores.dtype());
            numbers.reshape(scores.dims())
        }
    }
}

fn mean_squared_error(scores: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    (scores - targets).square().mean()
}

/// `max(x, 0) - x z + log(1 + exp(-|x|))`, which no score overflows.
fn binary_cross_entropy(scores: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let tail = scores.clone().abs().neg().exp().log1p();
    (activation::relu(scores.clone()) - scores * targets + tail).mean()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn scalar(loss: Tensor<1>) -> f32 {
        loss.into_scalar()
    }

    #[test]
    fn cross_entropy_of_even_scores_is_the_logarithm_of_the_classes() {
        let device = Device::flex();
        let scores = Tensor::zeros([3, 4], &device);
        let classes = Tensor::from_data(TensorData::from([1i64, 3, 0]), &device);
        assert!((scalar(cross_entropy(scores, classes)) - 4f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn an_ignored_label_changes_nothing() {
        let device = Device::flex();
        let scores = Tensor::<2>::from_data([[2.0, -1.0], [0.5, 3.0]], &device);
        let one = Tensor::from_data(TensorData::from([1i64]), &device);
        let both = Tensor::from_data(TensorData::from([1i64, IGNORED_LABEL]), &device);
        let alone = scalar(cross_entropy(scores.clone().narrow(0, 0, 1), one));
        assert_eq!(scalar(cross_entropy(scores, both)), alone);
    }

    #[test]
    fn binary_cross_entropy_survives_extreme_scores() {
        let device = Device::flex();
        let scores = Tensor::<2>::from_data([[1e4, -1e4]], &device);
        let targets = Tensor::<2>::from_data([[1.0, 1.0]], &device);
        assert_eq!(scalar(binary_cross_entropy(scores, targets)), 5e3);
    }
}
