//! What a model is worth on data it was not trained on.

mod classify;
mod totals;

use std::collections::BTreeMap;
use std::path::Path;

use burn::data::dataloader::DataLoader;
use burn::tensor::{Device, Int, Tensor};
use perceiver_data::{Clip, LabelledImage, LabelledText, MaskedText, PerceiverTokenizer, Source};
use perceiver_models::losses::AutoencodingLoss;
use perceiver_models::{
    Head, PerceiverConfig, PerceiverForImageClassificationConvProcessing,
    PerceiverForImageClassificationFourier, PerceiverForImageClassificationLearned, PerceiverHead,
    Pretrained,
};

pub use self::totals::Totals;
use crate::report::Confusion;
use crate::{
    Autoencoding, ClipBatcher, Collate, Error, Loader, MaskedLanguageModelling, MaskedTextBatcher,
    Objective, Outcome, Quantity, Result, Skipped,
};

/// What a model is worth on some examples.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// Mean loss.
    pub loss: f64,
    /// What people read, in the units of [`Quantity::unit`].
    pub measures: BTreeMap<Quantity, f64>,
    /// Answers by right class, of a head that chooses one class of several.
    pub confusion: Option<Confusion>,
    /// Examples that were read.
    pub examples: usize,
    /// Examples that could not be read.
    pub skipped: Skipped,
    /// What was suspicious about the folder, a line each.
    pub warnings: Vec<String>,
}

/// Examples to be measured on, which a head can take.
#[expect(missing_debug_implementations, reason = "sources need none")]
pub enum Examples {
    /// For the heads that classify images.
    Images(Box<dyn Source<Example = LabelledImage>>),
    /// For sequence classification.
    Texts(Box<dyn Source<Example = LabelledText>>),
    /// For masked language modelling.
    MaskedTexts(Box<dyn Source<Example = MaskedText>>),
    /// For autoencoding.
    Clips(Box<dyn Source<Example = Clip>>),
}

impl Examples {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Images(source) => source.len(),
            Self::Texts(source) => source.len(),
            Self::MaskedTexts(source) => source.len(),
            Self::Clips(source) => source.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A model's folder and where to run it.
#[derive(Debug)]
pub struct Evaluator<'a> {
    /// The folder: config.json, weights, the settings of tokenizer or image processor.
    pub folder: &'a Path,
    /// Examples that go through the model at once.
    pub batch: usize,
    /// Threads that prepare examples.
    pub workers: usize,
    /// Where the model runs.
    pub device: &'a Device,
}

impl Evaluator<'_> {
    /// Runs the model over all examples. `told` counts those that are done.
    ///
    /// # Errors
    /// Where the model or its settings cannot be loaded, its head cannot take such examples, or no
    /// example of a batch can be read. Fewer that cannot are [`skipped`](Evaluation::skipped).
    pub fn evaluate(&self, examples: Examples, told: &mut dyn FnMut(usize)) -> Result<Evaluation> {
        let head = PerceiverConfig::from_pretrained(self.folder)?.head()?;
        match (head, examples) {
            (Head::MaskedLm, Examples::MaskedTexts(source)) => {
                let (head, config, warnings) = self.load()?;
                let objective = MaskedLanguageModelling::new(head);
                let tokenizer = PerceiverTokenizer::from_pretrained(self.folder)?;
                let loader = self.loader(source, MaskedTextBatcher { tokenizer, multiple: 1 });
                self.all(&loader, warnings, told, |batch| {
                    self.check_ids(&batch.ids, &config)?;
                    self.check_ids(&batch.labels, &config)?;
                    Ok(objective.outcome(batch))
                })
            }
            (Head::SequenceClassification, Examples::Texts(source)) => self.texts(source, told),
            (Head::ImageClassificationLearned, Examples::Images(source)) => {
                self.images::<PerceiverForImageClassificationLearned>(source, told)
            }
            (Head::ImageClassificationFourier, Examples::Images(source)) => {
                self.images::<PerceiverForImageClassificationFourier>(source, told)
            }
            (Head::ImageClassificationConvProcessing, Examples::Images(source)) => {
                self.images::<PerceiverForImageClassificationConvProcessing>(source, told)
            }
            (Head::MultimodalAutoencoding, Examples::Clips(source)) => {
                let (head, config, warnings) = self.load()?;
                let objective = Autoencoding::new(head, AutoencodingLoss::default());
                let collate = ClipBatcher {
                    labels: config.num_labels(),
                    samples_per_patch: config.samples_per_patch,
                    points: None,
                    hidden_labels: 1.0,
                };
                let loader = self.loader(source, collate);
                self.all(&loader, warnings, told, |batch| Ok(objective.outcome(batch)))
            }
            (head, _) => Err(self.refuse(format!("a {head} cannot be measured on such data"))),
        }
    }

    fn refuse(&self, reason: impl std::fmt::Display) -> Error {
        Error::Evaluation { folder: self.folder.to_path_buf(), reason: reason.to_string() }
    }

    /// Some models know fewer tokens than there are bytes.
    fn check_ids(&self, ids: &Tensor<2, Int>, config: &PerceiverConfig) -> Result<()> {
        let known = config.vocab_size;
        if known >= PerceiverTokenizer::default().vocabulary_size() {
            return Ok(());
        }
        match ids.clone().max().into_scalar::<i64>() {
            id if id < known as i64 => Ok(()),
            id => {
                Err(self.refuse(format!("the model knows {known} tokens, a text has number {id}")))
            }
        }
    }

    fn load<H: PerceiverHead>(&self) -> Result<(H, PerceiverConfig, Vec<String>)> {
        let Pretrained { model, config, report } = H::from_pretrained(self.folder, self.device)?;
        Ok((model, config, report.warnings()))
    }

    fn loader<S: Source, C>(&self, source: S, collate: C) -> Loader<S, C> {
        Loader::validation(source, collate, self.batch, self.workers, self.device)
    }

    /// Adds up what `outcome` says of every batch.
    fn all<S, C>(
        &self,
        loader: &Loader<S, C>,
        warnings: Vec<String>,
        told: &mut dyn FnMut(usize),
        mut outcome: impl FnMut(C::Batch) -> Result<Outcome>,
    ) -> Result<Evaluation>
    where
        S: Source + 'static,
        C: Collate<S::Example, Batch: Send + 'static> + 'static,
    {
        let examples = loader.examples();
        let mut totals = Totals::default();
        let mut batches = loader.iter();
        while let Some(batch) = batches.next() {
            totals.add(outcome(batch.map_err(|error| self.refuse(error))?)?);
            told(batches.progress().items_processed.min(examples));
        }
        let skipped = loader.skipped();
        Ok(Evaluation {
            loss: totals.loss(),
            measures: totals.values(),
            confusion: None,
            examples: examples - skipped.count,
            skipped,
            warnings,
        })
    }
}

/// How many tokens of a text a model takes, special ones included.
///
/// # Errors
/// [`Error::Evaluation`] where there is no place for a word.
pub fn longest_text(
    folder: &Path,
    tokenizer: &PerceiverTokenizer,
    config: &PerceiverConfig,
) -> Result<usize> {
    const SHORTEST: usize = 8;
    let places = config.max_position_embeddings;
    let length = tokenizer.model_max_length().map_or(places, |length| length.min(places));
    if length < SHORTEST {
        let reason = format!("the model takes {length} tokens, expected {SHORTEST} or more");
        return Err(Error::Evaluation { folder: folder.to_path_buf(), reason });
    }
    Ok(length)
}
