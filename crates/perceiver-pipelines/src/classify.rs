use std::path::Path;

use burn::tensor::Device;
use perceiver_models::{Head, PerceiverConfig, ProblemType, hub};

use crate::model_files::ModelFiles;
use crate::session::{Output, Outputs, Rows, Session};
use crate::{Input, LongTexts, Result, Timings};

const HEADS: &str = "a PerceiverForSequenceClassification or one of the \
                     PerceiverForImageClassification heads";

/// Classifies texts or images.
///
/// ```no_run
/// use std::path::Path;
///
/// use burn::tensor::Device;
/// use perceiver_pipelines::Classify;
///
/// # fn main() -> perceiver_pipelines::Result<()> {
/// # #[cfg(feature = "flex")] {
/// let pipeline = Classify::from_pretrained("vision-perceiver-conv", &Device::flex())?;
/// for label in pipeline.run(Path::new("cat.jpg"))?.labels {
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
/// A model with one label and without `problem_type` is a regression, as in its own loss, and
/// returns its value; the reference's pipelines apply a sigmoid to it.
#[derive(Debug, Clone)]
pub struct Classify {
    session: Session,
    top_k: usize,
    batch: usize,
}

/// The labels of an input.
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    /// The meaning of the scores.
    pub kind: ScoreKind,
    /// Labels with their scores, highest first.
    pub labels: Vec<ScoredLabel>,
}

/// The meaning of a model's scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScoreKind {
    /// Probabilities of mutually exclusive labels: softmax.
    Softmax,
    /// Independent probabilities of the labels: sigmoid.
    Sigmoid,
    /// Values of a regression.
    Value,
}

/// A label with its score.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredLabel {
    /// Index of the class.
    pub index: usize,
    /// Its name in the configuration's `id2label`.
    pub name: String,
    /// A probability from 0 to 1, or a value.
    pub score: f64,
}

impl Classify {
    /// Loads a model with its tokenizer or image processor from a folder, or by a hub id such as
    /// `deepmind/vision-perceiver-conv`.
    ///
    /// # Errors
    /// [`Error::WrongHead`](crate::Error::WrongHead) if the model is not a classifier;
    /// [`Error::Model`](crate::Error::Model) if it cannot be loaded;
    /// [`Error::Data`](crate::Error::Data) if the settings of the tokenizer or image processor are
    /// invalid. If they are missing, the reference's defaults apply, for images with one of the
    /// [`warnings`](Self::warnings).
    pub fn from_pretrained(source: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::load(ModelFiles::folder(&hub::folder(source)?), device)
    }

    /// Loads a model as `head`, whose name config.json may lack.
    ///
    /// # Errors
    /// As [`from_pretrained`](Self::from_pretrained), or if config.json names another head.
    pub fn from_pretrained_as(
        source: impl AsRef<Path>,
        head: Head,
        device: &Device,
    ) -> Result<Self> {
        Self::load(ModelFiles::folder(&hub::folder(source)?).with_head(head), device)
    }

    /// Loads a model from files in memory: names and contents of `config.json`,
    /// `model.safetensors` and the settings of the tokenizer or image processor.
    ///
    /// # Errors
    /// As [`from_pretrained`](Self::from_pretrained).
    pub fn from_files(files: &[(&str, &[u8])], device: &Device) -> Result<Self> {
        Self::load(ModelFiles::memory(files), device)
    }

    fn load(files: ModelFiles<'_>, device: &Device) -> Result<Self> {
        let session = Session::load(files, device, Head::is_classifier, HEADS)?;
        Ok(Self { session, top_k: 5, batch: 8 })
    }

    /// Sets the largest number of labels in an answer. 5 by default.
    #[must_use]
    pub fn top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k;
        self
    }

    /// Sets how many inputs go through the model at once in [`run_all`](Self::run_all); zero counts
    /// as one. 8 by default.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Sets how texts are read that are longer than the model's input. They are refused by default.
    #[must_use]
    pub fn long_texts(mut self, long_texts: LongTexts) -> Self {
        self.session.long_texts = long_texts;
        self
    }

    /// Warnings about the model's files, one line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.session.warnings
    }

    /// The model's head, which reads either texts or images.
    #[must_use]
    pub fn head(&self) -> Head {
        self.session.head
    }

    /// Finds the labels with the highest scores.
    ///
    /// # Errors
    /// Returns an error if the model reads the other kind of input, the text is empty or too long,
    /// or the image cannot be read or does not fit the model.
    pub fn run(&self, input: impl Into<Input>) -> Result<Classification> {
        let parts = self.session.run(Output::Logits, &input.into(), self.batch)?;
        Ok(classification(&parts, &self.session.config, self.top_k))
    }

    /// Classifies many texts or images in batches, in order. Other threads read and prepare the
    /// next batch while the model works.
    ///
    /// ```no_run
    /// # use std::path::PathBuf;
    /// # use perceiver_pipelines::Classify;
    /// # fn example(pipeline: &Classify, photos: Vec<PathBuf>) {
    /// let mut answers = pipeline.run_all(photos);
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
    /// Each input has its own result, with the errors of [`run`](Self::run).
    #[must_use]
    pub fn run_all<I>(&self, inputs: I) -> Classifications<'_>
    where
        I: IntoIterator<Item: Into<Input> + 'static, IntoIter: Send + 'static>,
    {
        let outputs = self.session.run_all(Output::Logits, inputs, self.batch);
        Classifications { outputs, config: &self.session.config, top_k: self.top_k }
    }
}

/// An iterator over the labels of many inputs, in order; see [`Classify::run_all`].
#[derive(Debug)]
pub struct Classifications<'a> {
    outputs: Outputs<'a>,
    config: &'a PerceiverConfig,
    top_k: usize,
}

impl Classifications<'_> {
    /// How long the parts of the run took so far.
    #[must_use]
    pub fn timings(&self) -> Timings {
        self.outputs.timings()
    }
}

impl Iterator for Classifications<'_> {
    type Item = Result<Classification>;

    fn next(&mut self) -> Option<Self::Item> {
        let output = self.outputs.next()?;
        Some(output.map(|parts| classification(&parts, self.config, self.top_k)))
    }
}

/// The labels of an input, whose scores are the means over its parts.
fn classification(parts: &[Rows], config: &PerceiverConfig, top_k: usize) -> Classification {
    let kind = score_kind(config);
    let mut means = Vec::new();
    for part in parts {
        let scores = scores(&part.values, kind);
        means.resize(scores.len(), 0.0);
        for (mean, score) in means.iter_mut().zip(scores) {
            *mean += score / parts.len() as f64;
        }
    }
    let mut labels = ranked(means, config);
    labels.truncate(top_k);
    Classification { kind, labels }
}

/// Every label with its score, highest first.
pub(crate) fn scored_labels(
    logits: &[f32],
    config: &PerceiverConfig,
    kind: ScoreKind,
) -> Vec<ScoredLabel> {
    ranked(scores(logits, kind), config)
}

fn ranked(scores: Vec<f64>, config: &PerceiverConfig) -> Vec<ScoredLabel> {
    let label = |(index, score)| {
        let name = i64::try_from(index).ok().and_then(|id| config.id2label.get(&id));
        let name = name.map_or_else(|| format!("LABEL_{index}"), String::clone);
        ScoredLabel { index, name, score }
    };
    let mut labels: Vec<_> = scores.into_iter().enumerate().map(label).collect();
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

fn scores(logits: &[f32], kind: ScoreKind) -> Vec<f64> {
    let logits: Vec<f64> = logits.iter().copied().map(f64::from).collect();
    match kind {
        ScoreKind::Value => logits,
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
