use std::path::Path;

use burn::tensor::{Device, TensorData};
use image::RgbImage;
use perceiver_data::{PerceiverImageProcessor, PerceiverTokenizer, read_image};
use perceiver_models::{
    AnyPerceiver, ForwardOptions, Head, LoadOptions, NamedTensors, PerceiverConfig, Pretrained,
    ProblemType,
};

use crate::{Error, Result, text};

const HEADS: &str = "a PerceiverForSequenceClassification or one of the \
                     PerceiverForImageClassification heads";

/// Classifies texts or images, as the folder's head does.
///
/// ```no_run
/// use std::path::Path;
///
/// use burn::tensor::Device;
/// use perceiver_pipelines::{Classify, ClassifyInput};
///
/// # fn main() -> perceiver_pipelines::Result<()> {
/// # #[cfg(feature = "flex")] {
/// let pipeline = Classify::from_pretrained("vision-perceiver-conv", &Device::flex())?;
/// let photo = ClassifyInput::ImageFile(Path::new("cat.jpg"));
/// for label in pipeline.run(photo, 5)?.labels {
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
    model: AnyPerceiver,
    config: PerceiverConfig,
    preparation: Preparation,
    warnings: Vec<String>,
    device: Device,
}

#[derive(Debug)]
enum Preparation {
    Text(Box<PerceiverTokenizer>),
    Image(Box<PerceiverImageProcessor>),
}

/// What is to be classified.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum ClassifyInput<'a> {
    /// A text.
    Text(&'a str),
    /// An upright image in colour.
    Image(&'a RgbImage),
    /// An image file, read as [`read_image`] does.
    ImageFile(&'a Path),
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
    /// [`Error::WrongHead`] where the folder's model classifies nothing; [`Error::Model`] where
    /// it cannot be loaded; [`Error::Data`] where the settings of the tokenizer or image
    /// processor are damaged. Where there are none, the reference's defaults hold, and
    /// [`warnings`](Self::warnings) says so of images.
    pub fn from_pretrained(folder: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let folder = folder.as_ref();
        let config = PerceiverConfig::from_pretrained(folder)?;
        let mut warnings = Vec::new();
        let preparation = match config.head() {
            Ok(Head::SequenceClassification) => {
                Preparation::Text(Box::new(PerceiverTokenizer::from_pretrained(folder)?))
            }
            Ok(
                Head::ImageClassificationLearned
                | Head::ImageClassificationFourier
                | Head::ImageClassificationConvProcessing,
            ) => Preparation::Image(Box::new(image_processor(folder, &mut warnings)?)),
            Ok(head) => {
                let path = folder.to_path_buf();
                return Err(Error::WrongHead { path, head, expected: HEADS });
            }
            // Without a known head, the loading below fails and says so with the file's name.
            Err(_) => Preparation::Text(Box::default()),
        };
        let Pretrained { model, config, report } =
            AnyPerceiver::from_pretrained(folder, device, &LoadOptions::default())?;
        warnings.extend(report.warnings());
        Ok(Self { model, config, preparation, warnings, device: device.clone() })
    }

    /// What was suspicious about the folder, a line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The model's head: whether it takes texts or images.
    #[must_use]
    pub fn head(&self) -> Head {
        self.model.head()
    }

    /// Finds the `top_k` labels of the highest scores.
    ///
    /// # Errors
    /// When the model takes the other kind of input, the text is empty or too long, or the image
    /// cannot be read or does not fit the model.
    pub fn run(&self, input: ClassifyInput<'_>, top_k: usize) -> Result<Classification> {
        let logits = match (&self.preparation, input) {
            (Preparation::Text(tokenizer), ClassifyInput::Text(text)) => {
                self.text_logits(tokenizer, text)?
            }
            (Preparation::Image(processor), ClassifyInput::Image(image)) => {
                self.image_logits(processor, image.clone())?
            }
            (Preparation::Image(processor), ClassifyInput::ImageFile(path)) => {
                let image = read_image(path)?;
                self.image_logits(processor, image).map_err(|source| Error::ImageFile {
                    path: path.to_path_buf(),
                    source: Box::new(source),
                })?
            }
            (Preparation::Text(_), _) => return Err(self.wrong_input("a text", "an image")),
            (Preparation::Image(_), _) => return Err(self.wrong_input("an image", "a text")),
        };
        Ok(self.classification(&logits, top_k))
    }

    fn wrong_input(&self, expected: &'static str, given: &'static str) -> Error {
        Error::WrongInput { head: self.head(), expected, given }
    }

    fn text_logits(&self, tokenizer: &PerceiverTokenizer, text: &str) -> Result<Vec<f64>> {
        let encoding = text::encode(text, tokenizer, &self.config)?;
        let ids: Vec<i64> = encoding.input_ids.iter().map(|&id| i64::from(id)).collect();
        self.logits(TensorData::new(ids, [1, encoding.len()]))
    }

    fn image_logits(
        &self,
        processor: &PerceiverImageProcessor,
        image: RgbImage,
    ) -> Result<Vec<f64>> {
        let pixels = processor.preprocess(&[image])?;
        let (images, channels, height, width) = pixels.dim();
        let [rows, columns] = self.config.image_size.height_width();
        if self.head() == Head::ImageClassificationLearned && (height, width) != (rows, columns) {
            return Err(Error::ImageSize { height, width, rows, columns });
        }
        let (values, _) = pixels.into_raw_vec_and_offset();
        self.logits(TensorData::new(values, [images, channels, height, width]))
    }

    fn logits(&self, inputs: TensorData) -> Result<Vec<f64>> {
        let inputs = NamedTensors::from([("inputs".to_owned(), inputs)]);
        let options = ForwardOptions::default();
        let outputs = self.model.forward(inputs, &self.config, options, &self.device)?;
        Ok(outputs.get("logits").into_iter().flat_map(TensorData::iter::<f64>).collect())
    }

    fn classification(&self, logits: &[f64], top_k: usize) -> Classification {
        let kind = score_kind(&self.config);
        let label = |(index, score)| {
            let name = i64::try_from(index).ok().and_then(|id| self.config.id2label.get(&id));
            let name = name.map_or_else(|| format!("LABEL_{index}"), String::clone);
            ScoredLabel { index, name, score }
        };
        let mut labels: Vec<_> = scores(logits, kind).into_iter().enumerate().map(label).collect();
        labels.sort_by(|one, other| other.score.total_cmp(&one.score));
        labels.truncate(top_k);
        Classification { kind, labels }
    }
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

/// The folder's image processor. A model that was saved alone has none.
fn image_processor(folder: &Path, warnings: &mut Vec<String>) -> Result<PerceiverImageProcessor> {
    const SETTINGS: &str = "preprocessor_config.json";
    if folder.join(SETTINGS).exists() {
        return Ok(PerceiverImageProcessor::from_pretrained(folder)?);
    }
    warnings.push(format!("{}: no {SETTINGS}, the default settings are used", folder.display()));
    Ok(PerceiverImageProcessor::default())
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
