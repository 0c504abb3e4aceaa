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

    /// One batch of inputs that [fit together](Prepared::fits).
    pub(crate) fn stack(&self, inputs: &[Prepared]) -> NamedTensors {
        let (mut texts, mut values, mut image) = (Vec::new(), Vec::new(), [0; 3]);
        for input in inputs {
            match input {
                Prepared::Tokens(tokens) => texts.push(tokens.as_slice()),
                Prepared::Pixels(pixels, shape) => {
                    values.extend_from_slice(pixels);
                    image = *shape;
                }
            }
        }
        let (tensor, mask) = match &self.kind {
            Kind::Text(tokenizer) => text::stack(&texts, tokenizer.pad_token_id()),
            Kind::Image(_) => {
                let [channels, height, width] = image;
                (TensorData::new(values, [inputs.len(), channels, height, width]), None)
            }
        };
        let mut tensors = NamedTensors::from([("inputs".to_owned(), tensor)]);
        tensors.extend(mask.map(|mask| ("attention_mask".to_owned(), mask)));
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
}

/// The folder's image processor. A model that was saved alone has none.
pub(crate) fn image_processor(
    folder: &Path,
    warnings: &mut Vec<String>,
) -> Result<PerceiverImageProcessor> {
    if let Some(processor) = PerceiverImageProcessor::from_pretrained_if_present(folder)? {
        return Ok(processor);
    }
    let folder = folder.display();
    warnings.push(format!("{folder}: no preprocessor_config.json, the default settings are used"));
    Ok(PerceiverImageProcessor::default())
}
