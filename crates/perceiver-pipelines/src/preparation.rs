//! From texts and images to a model's tensors.

use std::path::Path;
use std::time::{Duration, Instant};

use burn::tensor::TensorData;
use image::RgbImage;
use perceiver_data::{PerceiverImageProcessor, PerceiverTokenizer, read_image};
use perceiver_models::{Head, NamedTensors, PerceiverConfig};

use crate::{Error, Input, Result, text};

/// A model's tokenizer or image processor, with what the model can take.
#[derive(Debug)]
pub(crate) struct Preparation {
    head: Head,
    config: PerceiverConfig,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Text(Box<PerceiverTokenizer>),
    Image(Box<PerceiverImageProcessor>),
}

/// An input that a model can take.
#[derive(Debug, PartialEq)]
pub(crate) enum Prepared {
    Tokens(Vec<u32>),
    /// Channels, height and width.
    Pixels(Vec<f32>, [usize; 3]),
}

/// How long an input took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) decoding: Duration,
    pub(crate) preprocessing: Duration,
}

impl Preparation {
    /// For a folder whose head takes texts or images.
    pub(crate) fn from_pretrained(
        folder: &Path,
        head: Head,
        config: &PerceiverConfig,
        warnings: &mut Vec<String>,
    ) -> Result<Self> {
        let kind = match head {
            Head::ImageClassificationLearned
            | Head::ImageClassificationFourier
            | Head::ImageClassificationConvProcessing => {
                Kind::Image(Box::new(image_processor(folder, warnings)?))
            }
            _ => Kind::Text(Box::new(PerceiverTokenizer::from_pretrained(folder)?)),
        };
        Ok(Self { head, config: config.clone(), kind })
    }

    /// Makes of an input what the model takes, and says how long that took.
    pub(crate) fn prepare(&self, input: &Input) -> (Result<Prepared>, Cost) {
        let mut cost = Cost::default();
        let start = Instant::now();
        let prepared = match (&self.kind, input) {
            (Kind::Text(tokenizer), Input::Text(text)) => {
                text::encode(text, tokenizer, &self.config)
                    .map(|encoding| Prepared::Tokens(encoding.input_ids))
            }
            (Kind::Image(processor), Input::Image(image)) => self.pixels(processor, image),
            (Kind::Image(processor), Input::ImageFile(path)) => {
                let image = read_image(path);
                cost.decoding = start.elapsed();
                image.map_err(Error::from).and_then(|image| {
                    let pixels = self.pixels(processor, &image);
                    pixels.map_err(|source| source.in_image(path))
                })
            }
            (Kind::Text(_), _) => Err(self.wrong_input("a text", "an image")),
            (Kind::Image(_), _) => Err(self.wrong_input("an image", "a text")),
        };
        cost.preprocessing = start.elapsed() - cost.decoding;
        (prepared, cost)
    }

    fn pixels(&self, processor: &PerceiverImageProcessor, image: &RgbImage) -> Result<Prepared> {
        let pixels = processor.preprocess(std::slice::from_ref(image))?;
        let (_, channels, height, width) = pixels.dim();
        let [rows, columns] = self.config.image_size.height_width();
        if self.head == Head::ImageClassificationLearned && (height, width) != (rows, columns) {
            return Err(Error::ImageSize { height, width, rows, columns });
        }
        let (values, _) = pixels.into_raw_vec_and_offset();
        Ok(Prepared::Pixels(values, [channels, height, width]))
    }

    fn wrong_input(&self, expected: &'static str, given: &'static str) -> Error {
        Error::WrongInput { head: self.head, expected, given }
    }

    /// One batch of inputs that [fit together](Prepared::fits): shorter texts are filled up with
    /// hidden tokens.
    pub(crate) fn stack(&self, inputs: &[Prepared]) -> NamedTensors {
        let longest = inputs.iter().map(Prepared::tokens).max().unwrap_or(0);
        let pad = match &self.kind {
            Kind::Text(tokenizer) => tokenizer.pad_token_id(),
            Kind::Image(_) => 0,
        };
        let (mut ids, mut kept, mut pixels) = (Vec::new(), Vec::new(), Vec::new());
        let mut image = [0; 3];
        for input in inputs {
            match input {
                Prepared::Tokens(tokens) => {
                    let missing = longest - tokens.len();
                    ids.extend(tokens.iter().map(|&id| i64::from(id)));
                    ids.extend(std::iter::repeat_n(i64::from(pad), missing));
                    kept.extend(std::iter::repeat_n(1_i64, tokens.len()));
                    kept.extend(std::iter::repeat_n(0_i64, missing));
                }
                Prepared::Pixels(values, shape) => {
                    pixels.extend_from_slice(values);
                    image = *shape;
                }
            }
        }
        let batch = inputs.len();
        if ids.is_empty() {
            let [channels, height, width] = image;
            let pixels = TensorData::new(pixels, [batch, channels, height, width]);
            return NamedTensors::from([("inputs".to_owned(), pixels)]);
        }
        let mut tensors = NamedTensors::new();
        if kept.contains(&0) {
            let mask = TensorData::new(kept, [batch, longest]);
            tensors.insert("attention_mask".to_owned(), mask);
        }
        tensors.insert("inputs".to_owned(), TensorData::new(ids, [batch, longest]));
        tensors
    }
}

impl Prepared {
    /// Whether both can be in one batch.
    pub(crate) fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tokens(_), Self::Tokens(_)) => true,
            (Self::Pixels(_, one), Self::Pixels(_, other)) => one == other,
            _ => false,
        }
    }

    fn tokens(&self) -> usize {
        match self {
            Self::Tokens(tokens) => tokens.len(),
            Self::Pixels(..) => 0,
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
    fn shorter_texts_of_a_batch_are_filled_up_and_hidden() {
        let preparation = Preparation {
            head: Head::SequenceClassification,
            config: PerceiverConfig::default(),
            kind: Kind::Text(Box::default()),
        };
        let texts = [Prepared::Tokens(vec![4, 70, 5]), Prepared::Tokens(vec![4, 70, 71, 5])];
        let tensors = preparation.stack(&texts);
        let inputs = TensorData::from([[4_i64, 70, 5, 0], [4, 70, 71, 5]]);
        let mask = TensorData::from([[1_i64, 1, 1, 0], [1, 1, 1, 1]]);
        assert_eq!(tensors["inputs"], inputs);
        assert_eq!(tensors["attention_mask"], mask);
        assert!(!preparation.stack(&texts[..1]).contains_key("attention_mask"));
    }
}
