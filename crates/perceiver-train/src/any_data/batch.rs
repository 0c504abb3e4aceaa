//! Batches of records of any data, padded to the longest of each modality.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use perceiver_models::any_data::{
    AnyDataConfig, AnyDataInput, AnyDataLabels, ModalityConfig, ModalityData, ModalityInput, Output,
};
use perceiver_models::losses::{IGNORED_LABEL, Labels};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::encode::{EncodedModality, EncodedRecord, EncodedTarget};
use crate::Collate;

/// Records of any data, and their labels.
#[derive(Debug, Clone)]
pub struct AnyDataBatch {
    /// The modalities, and the masked elements of a reconstruction.
    pub input: AnyDataInput,
    /// The labels, if there are any.
    pub labels: Option<AnyDataLabels>,
}

/// Makes batches for one model.
#[derive(Debug, Clone)]
pub(crate) struct AnyDataBatcher {
    pub(crate) config: AnyDataConfig,
}

impl Collate<EncodedRecord> for AnyDataBatcher {
    type Batch = AnyDataBatch;

    fn batch(
        &self,
        records: Vec<EncodedRecord>,
        random: &mut ChaCha8Rng,
        device: &Device,
    ) -> AnyDataBatch {
        let mut columns: Vec<Vec<EncodedModality>> = vec![Vec::new(); self.config.modalities.len()];
        let mut targets = Vec::with_capacity(records.len());
        for record in records {
            for (column, modality) in columns.iter_mut().zip(record.modalities) {
                column.push(modality);
            }
            targets.push(record.target);
        }
        let longest = |index: usize| columns[index].iter().map(|one| one.elements).max();
        let answered = self.config.output.modality().and_then(|name| self.config.modality(name));
        let elements = answered.and_then(|(index, modality)| match modality {
            ModalityConfig::Grid(grid) => Some(grid.patches().iter().product()),
            _ => longest(index),
        });
        let masked = match (&self.config.output, elements) {
            (Output::Reconstruction { mask_probability, .. }, Some(elements)) => {
                let index = answered.map_or(0, |(index, _)| index);
                let is_grid = matches!(answered, Some((_, ModalityConfig::Grid(_))));
                let lengths = columns[index].iter();
                let lengths = lengths.map(|one| if is_grid { elements } else { one.elements });
                Some(masked(lengths.collect(), elements, *mask_probability, random, device))
            }
            _ => None,
        };
        let labels = labels(targets, elements.unwrap_or(0), device);
        let modalities = self.config.modalities.iter().zip(columns);
        let modalities = modalities.map(|(config, examples)| modality(config, examples, device));
        AnyDataBatch { input: AnyDataInput { modalities: modalities.collect(), masked }, labels }
    }
}

/// One modality of a batch.
fn modality(
    config: &ModalityConfig,
    examples: Vec<EncodedModality>,
    device: &Device,
) -> ModalityInput {
    let batch = examples.len();
    let lengths: Vec<usize> = examples.iter().map(|example| example.elements).collect();
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let rows = |part: fn(&EncodedModality) -> &[f32], columns: usize| {
        let mut values = Vec::with_capacity(batch * longest * columns);
        for example in &examples {
            values.extend_from_slice(part(example));
            values.resize(values.len() + (longest - example.elements) * columns, 0.0);
        }
        let data = TensorData::new(values, [batch, longest, columns]);
        Tensor::<3>::from_data(data, device)
    };
    let ids = || {
        let mut ids: Vec<i64> = Vec::with_capacity(batch * longest);
        for example in &examples {
            ids.extend_from_slice(&example.ids);
            ids.resize(ids.len() + longest - example.elements, 0);
        }
        Tensor::<2, Int>::from_data(TensorData::new(ids, [batch, longest]), device)
    };
    let values = |columns| rows(|example| &example.values, columns);
    let data = match config {
        ModalityConfig::Series(series) => ModalityData::Series(values(series.channels.count())),
        ModalityConfig::Table(_) => {
            ModalityData::Table { numbers: values(1).squeeze_dim(2), categories: ids() }
        }
        ModalityConfig::Points(points) => ModalityData::Points {
            coordinates: rows(|example| &example.coordinates, points.centre.len()),
            features: match points.channels.count() {
                0 => None,
                count => Some(values(count)),
            },
        },
        ModalityConfig::Grid(grid) => ModalityData::Grid(values(grid.channels.count())),
        ModalityConfig::Tokens(_) => ModalityData::Tokens(ids()),
    };
    let padding = lengths.iter().any(|&length| length < longest).then(|| {
        let hidden = lengths.iter().flat_map(|&length| (0..longest).map(move |i| i >= length));
        let hidden = TensorData::new(hidden.collect::<Vec<bool>>(), [batch, longest]);
        Tensor::<2, Bool>::from_data(hidden, device)
    });
    ModalityInput::new(data).padding(padding)
}

/// Elements drawn with a probability from the first ones of each example, at least one.
fn masked(
    lengths: Vec<usize>,
    elements: usize,
    probability: f64,
    random: &mut ChaCha8Rng,
    device: &Device,
) -> Tensor<2, Bool> {
    let mut masked = vec![false; lengths.len() * elements];
    for (row, &length) in masked.chunks_mut(elements).zip(&lengths) {
        row[..length].fill_with(|| random.random_bool(probability));
        if !row.contains(&true) {
            row[random.random_range(0..length)] = true;
        }
    }
    Tensor::from_data(TensorData::new(masked, [lengths.len(), elements]), device)
}

/// The labels of a batch; `None` if an example has none.
fn labels(
    targets: Vec<Option<EncodedTarget>>,
    elements: usize,
    device: &Device,
) -> Option<AnyDataLabels> {
    let targets: Vec<EncodedTarget> = targets.into_iter().collect::<Option<_>>()?;
    let batch = targets.len();
    let (mut classes, mut values) = (Vec::new(), Vec::new());
    for target in targets {
        match target {
            EncodedTarget::Class(class) => classes.push(class),
            EncodedTarget::Values(numbers) => values.extend(numbers),
            EncodedTarget::Elements(mut labels) => {
                labels.resize(elements, IGNORED_LABEL);
                classes.extend(labels);
            }
        }
    }
    Some(if !values.is_empty() {
        let shape = [batch, values.len() / batch];
        let values = TensorData::new(values, shape);
        AnyDataLabels::Whole(Labels::Values(Tensor::from_data(values, device)))
    } else if elements > 0 {
        let classes = TensorData::new(classes, [batch, elements]);
        AnyDataLabels::Elements(Tensor::from_data(classes, device))
    } else {
        let classes = TensorData::new(classes, [batch]);
        AnyDataLabels::Whole(Labels::Classes(Tensor::from_data(classes, device)))
    })
}

#[cfg(all(test, feature = "flex"))]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use perceiver_models::PerceiverConfig;
    use rand::SeedableRng as _;
    use serde_json::json;

    use super::*;

    fn batch(output: serde_json::Value, lengths: [usize; 2], labels: bool) -> AnyDataBatch {
        let channels = json!({"mean": [0.0, 0.0], "deviation": [1.0, 1.0]});
        let series = json!([{"name": "ecg", "kind": "series", "max_length": 4,
            "position": {"kind": "fourier", "bands": 1}, "channels": channels}]);
        let config = PerceiverConfig::default();
        let config = config.with_field("modalities", series).with_field("output", output);
        let batcher = AnyDataBatcher { config: AnyDataConfig::from_config(&config).unwrap() };
        let record = |elements: usize| {
            let values = (0..2 * elements).map(|i| i as f32 + 1.0).collect();
            let ecg = EncodedModality { elements, values, ..EncodedModality::default() };
            let target = EncodedTarget::Elements(vec![1; elements]);
            EncodedRecord { modalities: vec![ecg], target: labels.then_some(target) }
        };
        let mut random = ChaCha8Rng::seed_from_u64(7);
        batcher.batch(lengths.map(record).to_vec(), &mut random, &Device::flex())
    }

    #[test]
    fn shorter_examples_are_padded_and_their_labels_ignored() {
        let batch = batch(json!({"kind": "elements", "modality": "ecg"}), [1, 3], true);
        let ModalityInput { data, padding } = &batch.input.modalities[0];
        let ModalityData::Series(values) = data else { panic!("no series") };
        let expected = [[[1.0, 2.0], [0.0; 2], [0.0; 2]], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]];
        values.to_data().assert_eq(&TensorData::from(expected), false);
        let expected = TensorData::from([[false, true, true], [false; 3]]);
        padding.as_ref().unwrap().to_data().assert_eq(&expected, false);
        let Some(AnyDataLabels::Elements(classes)) = batch.labels else { panic!("no labels") };
        let expected = [[1, IGNORED_LABEL, IGNORED_LABEL], [1, 1, 1]];
        classes.to_data().assert_eq(&TensorData::from(expected), false);
    }

    #[test]
    fn examples_of_one_length_need_no_padding() {
        let batch = batch(json!({"kind": "elements", "modality": "ecg"}), [2, 2], true);
        assert!(batch.input.modalities[0].padding.is_none());
    }

    /// With a probability this small, it is the only one.
    #[test]
    fn an_element_of_every_example_is_masked_and_no_padding() {
        let output =
            json!({"kind": "reconstruction", "modality": "ecg", "mask_probability": 1e-12});
        let masked = batch(output, [1, 40], false).input.masked.unwrap().int();
        let counts = masked.clone().sum_dim(1).into_data();
        counts.assert_eq(&TensorData::from([[1_i64], [1]]), false);
        let first = masked.narrow(0, 0, 1).narrow(1, 0, 1).into_data();
        first.assert_eq(&TensorData::from([[1_i64]]), false);
    }
}
