use burn::tensor::{Int, Tensor};
use perceiver_models::losses::IGNORED_LABEL;

use super::Measure;
use crate::Metric;

/// How often the right class has the highest score and, with more than five classes, one of the five
/// highest. Skips examples labelled [`IGNORED_LABEL`]. A score equal to the right one's counts as
/// higher, and so does NaN.
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
    // The count includes the right class.
    let ranks: Tensor<1, Int> =
        scores.clone().lower(right).bool_not().int().sum_dim(1).squeeze_dim(1);
    let among = |metric, highest: i64| {
        let right = ranks.clone().lower_equal_elem(highest).float() * counted.clone();
        Measure::new(metric, right.sum(), counted.clone().sum())
    };
    let mut measures = vec![among(Metric::ACCURACY, 1)];
    if class_count > 5 {
        measures.push(among(Metric::TOP_FIVE_ACCURACY, 5));
    }
    measures
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn values(scores: [[f32; 6]; 3], classes: [i64; 3]) -> Vec<(Metric, f64)> {
        let device = Device::flex();
        let (scores, classes) =
            (Tensor::from_data(scores, &device), Tensor::from_data(classes, &device));
        let value = |measure: Measure| {
            let [total, count] = [measure.total, measure.count].map(Tensor::into_scalar::<f64>);
            let value = measure.metric.value(total, count);
            (measure.metric, value)
        };
        accuracies(&scores, classes).into_iter().map(value).collect()
    }

    #[test]
    fn the_right_class_is_first_or_among_five_or_last() {
        let scores = [0.6, 0.5, 0.4, 0.3, 0.2, 0.1];
        let found = values([scores; 3], [0, 4, 5]);
        let [(accuracy, first), (top_five, five)] = &found[..] else { panic!("{found:?}") };
        assert_eq!([accuracy, top_five], [&Metric::ACCURACY, &Metric::TOP_FIVE_ACCURACY]);
        assert!((first - 100.0 / 3.0).abs() < 1e-4 && (five - 200.0 / 3.0).abs() < 1e-4);
    }

    #[test]
    fn an_example_without_a_label_does_not_count() {
        let scores = [0.6, 0.5, 0.4, 0.3, 0.2, 0.1];
        assert_eq!(values([scores; 3], [0, IGNORED_LABEL, IGNORED_LABEL])[0].1, 100.0);
    }

    #[test]
    fn scores_that_say_nothing_are_not_right() {
        let found = values([[0.0; 6], [f32::NAN; 6], [0.0; 6]], [0, 0, 0]);
        assert_eq!(found.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [0.0, 0.0]);
    }
}
