use burn::tensor::{Int, Tensor};
use perceiver_models::losses::IGNORED_LABEL;

use super::{Measure, Quantity};

/// How often the right class has the highest score, and, of more than five classes, one of the five
/// highest. Examples of [`IGNORED_LABEL`] do not count; a score as high as the right one's counts as
/// higher, and so does one that is not a number.
///
/// # Shapes
/// - `scores`: `[batch, classes]`
/// - `classes`: `[batch]`
pub(super) fn accuracies(scores: &Tensor<2>, classes: Tensor<1, Int>) -> Vec<Measure> {
    let [batch, class_count] = scores.dims();
    let ignored = classes.clone().equal_elem(IGNORED_LABEL);
    let counted = ignored.clone().bool_not().float();
    let classes = classes.mask_fill(ignored, 0).reshape([batch, 1]);
    let right = scores.clone().gather(1, classes).expand([batch, class_count]);
    // The right class is among them.
    let ranks: Tensor<1, Int> =
        scores.clone().lower(right).bool_not().int().sum_dim(1).squeeze_dim(1);
    let among = |quantity, highest: i64| {
        let right = ranks.clone().lower_equal_elem(highest).float() * counted.clone();
        Measure::new(quantity, right.sum(), counted.clone().sum())
    };
    let mut measures = vec![among(Quantity::Accuracy, 1)];
    if class_count > 5 {
        measures.push(among(Quantity::TopFiveAccuracy, 5));
    }
    measures
}
