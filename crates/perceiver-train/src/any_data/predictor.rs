//! Answers of a model to raw records.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, activation};
use perceiver_data::{Record, Rows};
use perceiver_models::any_data::{AnyDataConfig, ModalityConfig, Output};
use perceiver_models::{
    LoadReport, PerceiverConfig, PerceiverForAnyData, PerceiverHead as _, Pretrained, Request,
};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::{AnyDataBatcher, EncodedRecord, RecordEncoder};
use crate::{Collate as _, Error, Result};

/// A model for any data, which answers raw records.
#[derive(Debug)]
pub struct Predictor {
    head: PerceiverForAnyData,
    config: PerceiverConfig,
    report: LoadReport,
    encoder: RecordEncoder,
    device: Device,
}

/// The answer to a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// One class of several.
    Class {
        /// The most probable class.
        label: String,
        /// Every class with its probability, the most probable first.
        scores: Vec<(String, f32)>,
    },
    /// Every label with its probability.
    Labels(Vec<(String, f32)>),
    /// Every number by its name, in the units of the data.
    Values(Vec<(String, f32)>),
    /// The most probable class of every element, with its probability.
    Elements(Vec<(String, f32)>),
    /// The content of every element, or of every patch of a grid, in the units of the data; the most
    /// probable id of every token.
    Reconstruction(Rows),
}

impl Predictor {
    /// Loads a model from a folder or by a hub id.
    ///
    /// # Errors
    /// [`Error::Model`] if it cannot be loaded, or is another head.
    pub fn open(source: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let device = device.clone().without_autodiff();
        let Pretrained { model: head, config, report, .. } =
            PerceiverForAnyData::from_pretrained(source, &device)?;
        let encoder = RecordEncoder::new(&config)?;
        Ok(Self { head, config, report, encoder, device })
    }

    /// The model's inputs and output.
    #[must_use]
    pub const fn config(&self) -> &AnyDataConfig {
        self.encoder.config()
    }

    /// Remarks about the loaded weights, for the user.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.report.warnings()
    }

    /// Answers records, whose targets are ignored: all of them at once.
    ///
    /// # Errors
    /// Each record has its own result: [`Error::Data`] with its origin and the reason if the model cannot
    /// take it; [`Error::Model`] if its answer is not finite.
    #[must_use]
    pub fn predict(&self, records: &[Record]) -> Vec<Result<Answer>> {
        let mut encoded = Vec::with_capacity(records.len());
        let fits: Vec<Result<()>> = records
            .iter()
            .map(|record| self.encode(record).map(|record| encoded.push(record)))
            .collect();
        let mut answers = self.answers(encoded).into_iter();
        let answer = |fits: Result<()>| match fits {
            Ok(()) => answers.next(),
            Err(error) => Some(Err(error)),
        };
        fits.into_iter().filter_map(answer).collect()
    }

    fn answers(&self, encoded: Vec<EncodedRecord>) -> Vec<Result<Answer>> {
        if encoded.is_empty() {
            return Vec::new();
        }
        let lengths: Vec<usize> = match self.config().output.modality() {
            Some(name) => {
                let place = self.config().modality(name);
                let (index, modality) = place.unwrap_or((0, &self.config().modalities[0]));
                let patches = match modality {
                    ModalityConfig::Grid(grid) => Some(grid.patches().iter().product()),
                    _ => None,
                };
                let length =
                    |index: usize| encoded.iter().map(move |r| r.modalities[index].elements);
                length(index).map(|elements| patches.unwrap_or(elements)).collect()
            }
            None => vec![1; encoded.len()],
        };
        let batcher = AnyDataBatcher { config: self.config().clone() };
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let mut input = batcher.batch(encoded, &mut random, &self.device).input;
        input.masked = None;
        self.decoded(self.head.forward(Request::new(input)).logits, &lengths)
    }

    fn encode(&self, record: &Record) -> Result<EncodedRecord> {
        let encoded = self.encoder.encode_input(record);
        encoded.map_err(|reason| {
            Error::Data(perceiver_data::Error::Data { path: PathBuf::from(&record.origin), reason })
        })
    }

    /// The answers in the words and units of the data.
    ///
    /// # Shapes
    /// - `logits`: `[batch, answers, outputs]`
    fn decoded(&self, logits: Tensor<3>, lengths: &[usize]) -> Vec<Result<Answer>> {
        let [_, answers, outputs] = logits.dims();
        let scores = match &self.config().output {
            Output::Classification { .. } | Output::Elements { .. } => {
                activation::softmax(logits, 2)
            }
            Output::MultiLabel { .. } => activation::sigmoid(logits),
            Output::Regression { .. } | Output::Reconstruction { .. } => logits,
        };
        let scores: Vec<f32> = scores.into_data().convert::<f32>().iter().collect();
        let names: Vec<String> = match &self.config().output {
            Output::Regression { targets, .. } => targets.clone(),
            _ => self.config.id2label.values().cloned().collect(),
        };
        let named = |row: &[f32]| names.iter().cloned().zip(row.iter().copied()).collect();
        let best = |row: &[f32]| {
            let best = highest(row);
            (names[best].clone(), row[best])
        };
        let examples = scores.chunks_exact(answers * outputs).zip(lengths);
        let answer = |example: &[f32], length: usize| match &self.config().output {
            Output::Classification { .. } => {
                let mut scores: Vec<(String, f32)> = named(example);
                scores.sort_by(|one, other| other.1.total_cmp(&one.1));
                Answer::Class { label: best(example).0, scores }
            }
            Output::MultiLabel { .. } => Answer::Labels(named(example)),
            Output::Regression { .. } => Answer::Values(named(example)),
            Output::Elements { .. } => {
                Answer::Elements(example.chunks_exact(outputs).take(length).map(best).collect())
            }
            Output::Reconstruction { modality, .. } if self.is_of_tokens(modality) => {
                let ids = example.chunks_exact(outputs).take(length).map(highest);
                Answer::Reconstruction(Rows::new(1, ids.map(|id| id as f32).collect()))
            }
            Output::Reconstruction { .. } => {
                Answer::Reconstruction(Rows::new(outputs, example[..length * outputs].to_vec()))
            }
        };
        let checked = |(example, &length): (&[f32], &usize)| {
            self.report.check_outputs(example.iter().copied())?;
            Ok(answer(example, length))
        };
        examples.map(checked).collect()
    }

    fn is_of_tokens(&self, modality: &str) -> bool {
        matches!(self.config().modality(modality), Some((_, ModalityConfig::Tokens(_))))
    }
}

/// The place of the highest number, the first of several equal ones.
fn highest(row: &[f32]) -> usize {
    (0..row.len()).rev().max_by(|&one, &other| row[one].total_cmp(&row[other])).unwrap_or(0)
}
