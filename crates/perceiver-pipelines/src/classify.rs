use std::path::Path;

use burn::tensor::Device;
use perceiver_models::{Head, PerceiverConfig, ProblemType};

use crate::reader::{Answers, Question, Reader};
use crate::{Input, Result, Timings};

const HEADS: &str = "a PerceiverForSequenceClassification or one of the \
                     PerceiverForImageClassification heads";

/// Classifies texts or images, as the folder's head does.
///
/// ```no_run
/// use std::path::Path;
///
/// use burn::tensor::Device;
/// use perceiver_pipelines::{Classify, ClassifyOptions};
///
/// # fn main() -> perceiver_pipelines::Result<()> {
/// # #[cfg(feature = "flex")] {
/// let pipeline = Classify::from_pretrained("vision-perceiver-conv", &Device::flex())?;
/// for label in pipeline.run(Path::new("cat.jpg"), &ClassifyOptions::default())?.labels {
///     println!("{:.3} {}", label.score, label.name);
/// }
/// # }
/// # Ok(())
/// # }
/// ```
///
/// # Source
/// `TextClassificationPipeline` and `ImageClassificationPipeline` of transformers 5.23.
///
/// # Differences
/// A model of one label without `problem_type` is a regression, as it is to its own loss, and
/// gives its number; the reference's pipelines put a sigmoid on it.
#[derive(Debug)]
pub struct Classify {
    reader: Reader,
}

/// How [`Classify`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassifyOptions {
    /// Labels an answer has at most. 5 by default.
    pub top_k: usize,
    /// Inputs that go through the model at once, where there are many. 8 by default.
    pub batch: usize,
}

impl Default for ClassifyOptions {
    fn default() -> Self {
        Self { top_k: 5, batch: 8 }
    }
}

impl ClassifyOptions {
    /// Sets how many labels an answer has at most.
    #[must_use]
    pub fn with_top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k;
        self
    }

    /// Sets how many inputs go through the model at once; none counts as one.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }
}

/// A model's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    /// What the scores are.
    pub kind: ScoreKind,
    /// Labels with their scores, highest first.
    pub labels: Vec<ScoredLabel>,
}

/// What the scores of a model are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScoreKind {
    /// Probabilities of labels that exclude each other: softmax.
    Softmax,
    /// Probability of each label on its own: sigmoid.
    Sigmoid,
    /// The model's numbers as they are: a regression.
    Value,
}

/// A label with its score.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredLabel {
    /// Index of the class.
    pub index: usize,
    /// Its name in the configuration's `id2label`.
    pub name: String,
    /// A probability from 0 to 1, or the model's number.
    pub score: f64,
}

impl Classify {
    /// Loads the model of a folder onto a device, and its tokenizer or image processor.
    ///
    /// # Errors
    /// [`Error::WrongHead`](crate::Error::WrongHead) where the folder's model classifies nothing;
    /// [`Error::Model`](crate::Error::Model) where it cannot be loaded;
    /// [`Error::Data`](crate::Error::Data) where the settings of the tokenizer or image processor
    /// are damaged. Where there are none, the reference's defaults hold, and
    /// [`warnings`](Self::warnings) says so of images.
    pub fn from_pretrained(folder: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let reader = Reader::from_pretrained(folder.as_ref(), device, Head::is_classifier, HEADS)?;
        Ok(Self { reader })
    }

    /// What was suspicious about the folder, a line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.reader.warnings
    }

    /// The model's head: whether it takes texts or images.
    #[must_use]
    pub fn head(&self) -> Head {
        self.reader.head()
    }

    /// Finds the labels of the highest scores.
    ///
    /// # Errors
    /// When the model takes the other kind of input, the text is empty or too long, or the image
    /// cannot be read or does not fit the model.
    pub fn run(
        &self,
        input: impl Into<Input>,
        options: &ClassifyOptions,
    ) -> Result<Classification> {
        let logits = self.reader.ask(Question::Logits, &input.into())?.values;
        Ok(classification(&logits, &self.reader.config, options.top_k))
    }

    /// Classifies many texts or images in batches, in order. While the model is busy with one,
    /// the next is read and made ready on other threads.
    ///
    /// ```no_run
    /// # use std::path::PathBuf;
    /// # use perceiver_pipelines::{Classify, ClassifyOptions};
    /// # fn example(pipeline: &Classify, photos: Vec<PathBuf>) {
    /// let photos = photos.into_iter().map(Into::into);
    /// let mut answers = pipeline.run_all(photos, &ClassifyOptions::default());
    /// while let Some(answer) = answers.next() {
    ///     match answer {
    ///         Ok(answer) => println!("{}", answer.labels[0].name),
    ///         Err(error) => eprintln!("{error}"),
    ///     }
    /// }
    /// println!("{:?}", answers.timings());
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`run`](Self::run), for each input on its own.
    #[must_use]
    pub fn run_all<I>(&self, inputs: I, options: &ClassifyOptions) -> Classifications<'_>
    where
        I: IntoIterator<Item = Input>,
        I::IntoIter: Send + 'static,
    {
        let answers = self.reader.ask_all(Question::Logits, inputs, options.batch);
        Classifications { answers, config: &self.reader.config, top_k: options.top_k }
    }
}

/// Answers to many inputs, in their order: what [`Classify::run_all`] returns.
#[derive(Debug)]
pub struct Classifications<'a> {
    answers: Answers<'a>,
    config: &'a PerceiverConfig,
    top_k: usize,
}

impl Classifications<'_> {
    /// Where the time went so far.
    #[must_use]
    pub fn timings(&self) -> Timings {
        self.answers.timings()
    }
}

impl Iterator for Classifications<'_> {
    type Item = Result<Classification>;

    fn next(&mut self) -> Option<Self::Item> {
        let answer = self.answers.next()?;
        Some(answer.map(|rows| classification(&rows.values, self.config, self.top_k)))
    }
}

fn classification(logits: &[f32], config: &PerceiverConfig, top_k: usize) -> Classification {
    let kind = score_kind(config);
    let mut labels = scored_labels(logits, config, kind);
    labels.truncate(top_k);
    Classification { kind, labels }
}

/// Every label with its score, highest first.
pub(crate) fn scored_labels(
    logits: &[f32],
    config: &PerceiverConfig,
    kind: ScoreKind,
) -> Vec<ScoredLabel> {
    let label = |(index, score)| {
        let name = i64::try_from(index).ok().and_then(|id| config.id2label.get(&id));
        let name = name.map_or_else(|| format!("LABEL_{index}"), String::clone);
        ScoredLabel { index, name, score }
    };
    let logits: Vec<f64> = logits.iter().copied().map(f64::from).collect();
    let mut labels: Vec<_> = scores(&logits, kind).into_iter().enumerate().map(label).collect();
    labels.sort_by(|one, other| other.score.total_cmp(&one.score));
    labels
}

fn score_kind(config: &PerceiverConfig) -> ScoreKind {
    match config.problem_type {
        Some(ProblemType::Regression) => ScoreKind::Value,
        Some(ProblemType::MultiLabelClassification) => ScoreKind::Sigmoid,
        Some(ProblemType::SingleLabelClassification) => ScoreKind::Softmax,
        None if config.num_labels() == 1 => ScoreKind::Value,
        None => ScoreKind::Softmax,
    }
}

fn scores(logits: &[f64], kind: ScoreKind) -> Vec<f64> {
    match kind {
        ScoreKind::Value => logits.to_vec(),
        ScoreKind::Sigmoid => logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
        ScoreKind::Softmax => {
            let greatest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = logits.iter().map(|logit| (logit - greatest).exp()).collect();
            let sum: f64 = weights.iter().sum();
            weights.into_iter().map(|weight| weight / sum).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_finite_for_extreme_logits() {
        assert_eq!(scores(&[1000.0, -1000.0], ScoreKind::Softmax), [1.0, 0.0]);
        assert_eq!(scores(&[1000.0, -1000.0], ScoreKind::Sigmoid), [1.0, 0.0]);
        assert_eq!(scores(&[1000.0, -1000.0], ScoreKind::Value), [1000.0, -1000.0]);
    }

    #[test]
    fn one_label_without_a_problem_type_is_a_number() {
        let mut config = PerceiverConfig::default();
        assert_eq!(score_kind(&config), ScoreKind::Softmax);
        config.id2label.remove(&1);
        assert_eq!(score_kind(&config), ScoreKind::Value);
        config.problem_type = Some(ProblemType::MultiLabelClassification);
        assert_eq!(score_kind(&config), ScoreKind::Sigmoid);
    }
}
