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
