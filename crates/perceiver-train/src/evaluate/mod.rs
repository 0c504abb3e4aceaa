//! Evaluation: loss and metrics of a model on held-out data.

mod classify;
mod cut_texts;
mod data;
mod flow;
mod mean_frame;

use std::path::{Path, PathBuf};

use burn::data::dataloader::DataLoader;
use burn::tensor::{Device, Int, Tensor};
use perceiver_data::{PerceiverTokenizer, Remarks, Source};
use perceiver_models::losses::AutoencodingLoss;
use perceiver_models::{
    CONFIG_NAME, Head, LoadOptions, LoadReport, PerceiverConfig,
    PerceiverForImageClassificationConvProcessing, PerceiverForImageClassificationFourier,
    PerceiverForImageClassificationLearned, PerceiverHead, Pretrained, ProblemType,
};

pub use self::data::{EvaluationData, Examples};
pub use self::flow::{FlowEvaluation, FlowSums};
use crate::report::Confusion;
use crate::totals::{Added, Totals};
use crate::{
    Autoencoding, ClipBatcher, Collate, Error, Loader, LoaderBuilder, MaskedLanguageModelling,
    MaskedTextBatcher, Metric, MetricValues, Objective, Result, Skipped, StepOutput,
};

/// Loss and metrics of a model on some examples.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// Mean loss.
    pub loss: f64,
    /// Values of the objective's metrics.
    pub measures: MetricValues,
    /// Answers by right class, for heads that choose one class of several.
    pub confusion: Option<Confusion>,
    /// Scores of simple methods on the same examples.
    pub baselines: Vec<Baseline>,
    /// Examples that were read.
    pub examples: usize,
    /// Examples that could not be read.
    pub skipped: Skipped,
    /// Warnings about the model's folder and its data, one per line.
    pub warnings: Vec<String>,
}

impl Evaluation {
    /// Puts warnings about the model before those about its data.
    fn warned(mut self, model: Vec<String>) -> Self {
        self.warnings.splice(0..0, model);
        self
    }
}

/// Adds what is known about the model's weights to the error about a loss that is not finite.
fn explained(evaluation: Result<Evaluation>, report: &LoadReport) -> Result<Evaluation> {
    match evaluation {
        Err(error @ Error::EvaluationNotFinite { .. }) => {
            let (path, cause) = (report.path.clone(), report.not_finite().to_string());
            let cause = cause.rsplit_once(": ").map_or("", |(_, cause)| cause);
            Err(Error::NoResult { path, reason: format!("{error}: {cause}") })
        }
        evaluation => evaluation,
    }
}

/// The score of a simple method.
#[derive(Debug, Clone)]
pub struct Baseline {
    /// The method: `the mean frame`.
    pub method: &'static str,
    /// The metric.
    pub metric: Metric,
    /// Its value.
    pub value: f64,
}

/// Evaluates any objective on a loader that is not shuffled, without dropout and gradients. Batches
/// are made on the objective's device.
///
/// # Errors
/// [`Error::ShuffledEvaluation`] if the loader is shuffled, [`Error::Training`] if no example can be
/// read, [`Error::EmptyEvaluation`] if a metric counts no examples, and
/// [`Error::EvaluationNotFinite`] if the loss of some examples is not finite.
pub fn evaluate<O, S, C>(objective: &O, loader: &Loader<S, C>) -> Result<Evaluation>
where
    O: Objective,
    S: Source + 'static,
    C: Collate<S::Example, Batch = O::Batch> + 'static,
{
    if loader.is_shuffled() {
        return Err(Error::ShuffledEvaluation);
    }
    let objective = objective.valid();
    let devices = objective.devices();
    let moved = devices.first().map(|device| loader.with_passes(loader.passes(), device));
    measure(moved.as_ref().unwrap_or(loader), &mut |_| {}, |batch| Ok(objective.step(batch)))
}

/// Adds up the outputs of all batches.
fn measure<S, C>(
    loader: &Loader<S, C>,
    on_progress: &mut dyn FnMut(usize),
    mut step: impl FnMut(C::Batch) -> Result<StepOutput>,
) -> Result<Evaluation>
where
    S: Source + 'static,
    C: Collate<S::Example, Batch: Send + 'static> + 'static,
{
    let examples = loader.examples();
    // A loader counts what it skips over all its passes.
    loader.forget_skipped();
    let mut totals = Totals::default();
    let mut batches = loader.iter();
    let mut first = 1;
    while let Some(batch) = batches.next() {
        let batch = batch.map_err(|error| Error::Training(error.to_string()))?;
        let added = totals.add(step(batch)?);
        let last = batches.progress().items_processed.min(examples);
        if let Added::Loss(loss) = added
            && !loss.is_finite()
        {
            let measure = "loss".to_owned();
            return Err(Error::EvaluationNotFinite { measure, first, last, value: loss });
        }
        first = last + 1;
        on_progress(last);
    }
    if let Some(metric) = totals.without_examples() {
        return Err(Error::EmptyEvaluation { metric: metric.name.to_string() });
    }
    let skipped = loader.skipped();
    // Another pass at the same time would add to the count.
    let read = examples.saturating_sub(skipped.count);
    let Remarks { left_out, notes } = loader.remarks();
    let skipped = Skipped::left_out(left_out).and(skipped);
    Ok(Evaluation {
        loss: totals.loss(),
        measures: totals.values(),
        confusion: None,
        baselines: Vec::new(),
        examples: read,
        skipped,
        warnings: notes,
    })
}

/// Evaluates the model in a folder: config.json, weights, and the settings of its tokenizer or image
/// processor.
#[derive(Debug, Clone)]
pub struct Evaluator {
    folder: PathBuf,
    head: Head,
    config: PerceiverConfig,
    batch_size: usize,
    workers: usize,
}

impl Evaluator {
    /// Reads the configuration in a folder.
    ///
    /// # Errors
    /// [`Error::Model`] if it cannot be read.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_path_buf();
        let config = PerceiverConfig::from_pretrained(&folder)?;
        let head = config.head().map_err(|error| of_config(error, &folder))?;
        Ok(Self { head, folder, config, batch_size: 16, workers: 1 })
    }

    /// Reads the configuration in a folder, which may lack the name of the model's head.
    ///
    /// # Errors
    /// [`Error::Model`] if it cannot be read or names another head.
    pub fn open_as(folder: impl AsRef<Path>, head: Head) -> Result<Self> {
        let folder = folder.as_ref().to_path_buf();
        let config = PerceiverConfig::from_pretrained(&folder)?.with_head(head);
        let config = config.map_err(|error| of_config(error, &folder))?;
        Ok(Self { head, folder, config, batch_size: 16, workers: 1 })
    }

    /// Examples of a batch: 16 by default.
    #[must_use]
    pub fn batch_size(self, batch_size: usize) -> Self {
        Self { batch_size, ..self }
    }

    /// Threads that prepare examples: 1 by default.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// The model's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The model's head.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// The name of a class.
    #[must_use]
    pub fn class_name(&self, class: usize) -> String {
        let name = i64::try_from(class).ok().and_then(|id| self.config.id2label.get(&id));
        name.map_or_else(|| format!("LABEL_{class}"), String::clone)
    }

    /// Runs the model over all examples. `on_progress` receives the number of examples so far.
    ///
    /// # Errors
    /// If the model or its settings cannot be loaded, its head cannot take such examples, or there is
    /// no example that can be read. [`skipped`](Evaluation::skipped) counts those that could not.
    ///
    /// # Panics
    /// If the batch size or the number of workers is 0.
    pub fn evaluate(
        &self,
        examples: Examples,
        device: &Device,
        on_progress: &mut dyn FnMut(usize),
    ) -> Result<Evaluation> {
        if examples.is_empty() {
            return Err(self.refused("the data has 0 examples, expected 1 or more"));
        }
        self.check_classes()?;
        // On a device with autodiff, dropout would be on.
        let device = &device.clone().without_autodiff();
        let evaluation = match (self.head, examples) {
            (Head::MaskedLm, Examples::MaskedTexts(source)) => {
                let (head, report) = self.load(device)?;
                let objective = MaskedLanguageModelling::new(head);
                let tokenizer = PerceiverTokenizer::from_pretrained(&self.folder)?;
                let batcher = MaskedTextBatcher { multiple: 1 };
                let loader = self.loader(source, batcher, device);
                let evaluation = measure(&loader, on_progress, |batch| {
                    self.check_ids(&batch.ids, &tokenizer)?;
                    self.check_ids(&batch.labels, &tokenizer)?;
                    Ok(objective.step(batch))
                });
                explained(evaluation, &report)
                    .map(|evaluation| evaluation.warned(report.warnings()))
            }
            (Head::AnyData, Examples::Records(source)) => self.records(source, device, on_progress),
            (Head::SequenceClassification, Examples::Texts(source)) => {
                self.texts(source, device, on_progress)
            }
            (Head::ImageClassificationLearned, Examples::Images(source)) => {
                self.images::<PerceiverForImageClassificationLearned>(source, device, on_progress)
            }
            (Head::ImageClassificationFourier, Examples::Images(source)) => {
                self.images::<PerceiverForImageClassificationFourier>(source, device, on_progress)
            }
            (Head::ImageClassificationConvProcessing, Examples::Images(source)) => {
                self.images::<PerceiverForImageClassificationConvProcessing>(
                    source,
                    device,
                    on_progress,
                )
            }
            (Head::MultimodalAutoencoding, Examples::Clips { clips, train }) => {
                let train = train.as_ref().unwrap_or(&clips);
                let baselines = mean_frame::mean_frame_and_silence(&**train, &*clips);
                let (head, report) = self.load(device)?;
                let objective = Autoencoding::new(head, AutoencodingLoss::default());
                let batcher = ClipBatcher {
                    labels: self.config.num_labels(),
                    samples_per_patch: self.config.samples_per_patch,
                    points: None,
                    hidden_labels: 1.0,
                };
                let loader = self.loader(clips, batcher, device);
                let evaluation = measure(&loader, on_progress, |batch| Ok(objective.step(batch)));
                explained(evaluation, &report).map(|evaluation| Evaluation {
                    baselines,
                    ..evaluation.warned(report.warnings())
                })
            }
            (head, _) => Err(self.refused(format!("a {head} cannot be evaluated on such data"))),
        };
        evaluation.map_err(|error| match error {
            error @ Error::NoResult { .. } => error,
            error if error.had_begun() => {
                Error::NoResult { path: self.folder.clone(), reason: error.to_string() }
            }
            error => error,
        })
    }

    /// With a single class, every answer is right.
    fn check_classes(&self) -> Result<()> {
        let chooses = match self.head {
            Head::SequenceClassification => {
                self.config.problem_type == Some(ProblemType::SingleLabelClassification)
            }
            head => head.is_classifier(),
        };
        match self.config.num_labels() {
            1 if chooses => {
                Err(self.refused("the model has one class, expected two or more to choose from"))
            }
            _ => Ok(()),
        }
    }

    /// Some models know fewer tokens than there are bytes, or lack an added token.
    fn check_ids(&self, ids: &Tensor<2, Int>, tokenizer: &PerceiverTokenizer) -> Result<()> {
        let known = self.config.vocab_size;
        let largest_added = tokenizer.added_tokens().keys().next_back();
        if known >= PerceiverTokenizer::default().vocabulary_size()
            && largest_added.is_none_or(|&id| (id as usize) < known)
        {
            return Ok(());
        }
        match ids.clone().max().into_scalar::<i64>() {
            id if id < known as i64 => Ok(()),
            id => Err(self.refused(format!("the model knows {known} tokens, found token {id}"))),
        }
    }

    fn load<H: PerceiverHead>(&self, device: &Device) -> Result<(H, LoadReport)> {
        // The folder's configuration need not name a head that was given.
        let options = LoadOptions::default();
        let loaded = H::from_pretrained_for(&self.folder, &self.config, device, &options);
        let Pretrained { model, report, .. } =
            loaded.map_err(|error| of_config(error, &self.folder))?;
        Ok((model, report))
    }

    fn loader<S: Source, C>(&self, source: S, collate: C, device: &Device) -> Loader<S, C> {
        let loader = LoaderBuilder::new(collate).batch_size(self.batch_size);
        loader.workers(self.workers).device(device).build(source)
    }
}

/// Names the file in an error about the configuration of a folder.
fn of_config(error: perceiver_models::Error, folder: &Path) -> perceiver_models::Error {
    match error {
        perceiver_models::Error::Config { path: None, field, message } => {
            let path = Some(folder.join(CONFIG_NAME));
            perceiver_models::Error::Config { path, field, message }
        }
        error => error,
    }
}

/// The longest text that a model takes, in tokens including special ones.
fn longest_text(
    folder: &Path,
    tokenizer: &PerceiverTokenizer,
    config: &PerceiverConfig,
) -> Result<usize> {
    const SHORTEST: usize = 8;
    let places = config.max_position_embeddings;
    let length = tokenizer.model_max_length().map_or(places, |length| length.min(places));
    if length < SHORTEST {
        let reason = format!("the model takes {length} tokens, expected {SHORTEST} or more");
        return Err(Error::evaluation(folder, reason));
    }
    Ok(length)
}

#[cfg(all(test, feature = "flex"))]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use perceiver_data::MaskedText;

    use super::*;

    #[test]
    fn data_without_examples_is_refused_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let config = r#"{"architectures": ["PerceiverForMaskedLM"]}"#;
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let evaluator = Evaluator::open(&folder).unwrap();
        let nothing = Examples::MaskedTexts(Box::new(Vec::<MaskedText>::new()));
        let error = evaluator.evaluate(nothing, &Device::flex(), &mut |_| {}).unwrap_err();
        let expected =
            format!("{}: the data has 0 examples, expected 1 or more", folder.path().display());
        assert_eq!(error.to_string(), expected);
    }
}
