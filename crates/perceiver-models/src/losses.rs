//! The reference's losses and, for heads that the reference does not train, those of the papers.

mod autoencoding;
mod flow;

pub use autoencoding::{AutoencodingLoss, AutoencodingTargets};
use burn::tensor::{Int, Tensor, activation};
pub use flow::{FlowDistance, FlowLoss};

use crate::config::ProblemType;

/// The label that cross-entropy ignores.
pub const IGNORED_LABEL: i64 = -100;

/// The labels of a classifier or a regression.
#[derive(Debug, Clone)]
pub enum Labels {
    /// One class per example, `[batch]`; [`IGNORED_LABEL`] is ignored.
    Classes(Tensor<1, Int>),
    /// One number per label, `[batch, labels]`: the targets of a regression, or zero or one for each
    /// of several labels.
    Values(Tensor<2>),
}

/// Mean negative log-likelihood of the classes, without those that are [`IGNORED_LABEL`]; NaN if
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
    let (total, count) = cross_entropy_sum(scores, classes);
    total / count
}

/// Sum of the negative log-likelihoods of the classes, without those that are [`IGNORED_LABEL`], and
/// their number.
///
/// # Shapes
/// - `scores`: `[examples, classes]`
/// - `classes`: `[examples]`
/// - returns: `[1]` each
///
/// # Source
/// `torch.nn.CrossEntropyLoss(reduction="sum")`.
#[must_use]
pub fn cross_entropy_sum(scores: Tensor<2>, classes: Tensor<1, Int>) -> (Tensor<1>, Tensor<1>) {
    let [examples, _] = scores.dims();
    let ignored = classes.clone().equal_elem(IGNORED_LABEL);
    let counted = ignored.clone().bool_not().float().cast(scores.dtype());
    let classes = classes.mask_fill(ignored, 0).reshape([examples, 1]);
    let likelihoods: Tensor<1> =
        activation::log_softmax(scores, 1).gather(1, classes).reshape([examples]);
    (-(likelihoods * counted.clone()).sum(), counted.sum())
}

/// Mean cross-entropy with a distribution over classes per example, such as smoothed or mixed
/// labels.
///
/// # Shapes
/// - `scores`, `targets`: `[batch, classes]`; every row of `targets` sums to one
/// - returns: `[1]`
///
/// # Panics
/// If the shapes differ.
///
/// # Source
/// `torch.nn.CrossEntropyLoss` with class probabilities.
#[must_use]
pub fn soft_cross_entropy(scores: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    assert_eq!(scores.dims(), targets.dims(), "targets have another shape than the scores");
    -(activation::log_softmax(scores, 1) * targets).sum_dim(1).mean()
}

impl Labels {
    /// The type of problem that these labels imply if the configuration does not name one.
    ///
    /// # Source
    /// `PerceiverForSequenceClassification.forward`.
    #[must_use]
    pub const fn problem_type(&self, label_count: usize) -> ProblemType {
        match self {
            _ if label_count == 1 => ProblemType::Regression,
            Self::Classes(_) => ProblemType::SingleLabelClassification,
            Self::Values(_) => ProblemType::MultiLabelClassification,
        }
    }

    /// The labels as numbers in the shape of the scores.
    ///
    /// # Panics
    /// If their shape does not fit.
    #[must_use]
    pub fn values(&self, scores: &Tensor<2>) -> Tensor<2> {
        match self {
            Self::Values(values) => {
                assert_eq!(
                    values.dims(),
                    scores.dims(),
                    "labels have another shape than the scores"
                );
                values.clone()
            }
            Self::Classes(classes) => {
                let numbers = classes.clone().float().cast(scores.dtype());
                numbers.reshape(scores.dims())
            }
        }
    }
}

/// The loss of a classifier or a regression, by type of problem.
///
/// Without a type, the labels imply it ([`Labels::problem_type`]).
///
/// # Shapes
/// - `scores`: `[batch, labels]`
/// - returns: `[1]`
///
/// # Panics
/// If the problem needs labels of another kind or shape.
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
    match (problem_type.unwrap_or_else(|| labels.problem_type(label_count)), labels) {
        (ProblemType::Regression, labels) => {
            mean_squared_error(scores.clone(), labels.values(&scores))
        }
        (ProblemType::SingleLabelClassification, Labels::Classes(classes)) => {
            cross_entropy(scores, classes.clone())
        }
        (ProblemType::SingleLabelClassification, Labels::Values(_)) => {
            panic!("single_label_classification needs one class per example, not values")
        }
        (ProblemType::MultiLabelClassification, labels) => {
            binary_cross_entropy(scores.clone(), labels.values(&scores))
        }
    }
}

pub(crate) fn mean_squared_error(scores: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    (scores - targets).square().mean()
}

/// `max(x, 0) - x z + log(1 + exp(-|x|))`, which does not overflow.
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
    fn nothing_asked_sums_to_nothing() {
        let device = Device::flex();
        let scores = Tensor::<2>::from_data([[2.0, -1.0]], &device);
        let classes = Tensor::from_data(TensorData::from([IGNORED_LABEL]), &device);
        let (total, count) = cross_entropy_sum(scores, classes);
        assert_eq!([scalar(total), scalar(count)], [0.0, 0.0]);
    }

    #[test]
    fn soft_targets_weigh_the_classes() {
        let device = Device::flex();
        let scores = Tensor::<2>::from_data([[2.0, -1.0, 0.5]], &device);
        let class = |class: i64| Tensor::from_data(TensorData::from([class]), &device);
        let targets = Tensor::<2>::from_data([[0.25, 0.0, 0.75]], &device);
        let hard = |index| scalar(cross_entropy(scores.clone(), class(index)));
        let expected = 0.25 * hard(0) + 0.75 * hard(2);
        assert!((scalar(soft_cross_entropy(scores.clone(), targets)) - expected).abs() < 1e-6);
    }

    #[test]
    fn binary_cross_entropy_survives_extreme_scores() {
        let device = Device::flex();
        let scores = Tensor::<2>::from_data([[1e4, -1e4]], &device);
        let targets = Tensor::<2>::from_data([[1.0, 1.0]], &device);
        assert_eq!(scalar(binary_cross_entropy(scores, targets)), 5e3);
    }
}
