//! From texts and images to a model's tensors.

use std::slice;
use std::time::Duration;

use burn::tensor::{Device, Int, Tensor, TensorData};
use image::RgbImage;
use ndarray::{Array3, Axis};
use perceiver_data::{Encoding, PerceiverImageProcessor, PerceiverTokenizer, read_image};

use perceiver_models::{
    Head, ImagePreprocessorConfig, PerceiverConfig, PerceiverForImageClassificationConvProcessing,
    PerceiverForImageClassificationFourier, PerceiverForImageClassificationLearned, Request,
};
use web_time::Instant;

use crate::long_texts::{LongTexts, windows};
use crate::model_files::ModelFiles;
use crate::{Error, Input, Result, text};

/// Prepares the inputs of a head that reads texts or images.
#[derive(Debug)]
pub(crate) struct Preparation {
    head: Head,
    kind: Kind,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one per pipeline")]
enum Kind {
    Text(TextPreparation),
    Image(ImagePreparation),
}

/// A tokenizer, and the limits of its model.
#[derive(Debug)]
pub(crate) struct TextPreparation {
    pub(crate) tokenizer: PerceiverTokenizer,
    config: PerceiverConfig,
}

/// An image processor, and the images that its model accepts.
#[derive(Debug)]
pub(crate) struct ImagePreparation {
    processor: PerceiverImageProcessor,
    preprocessor: ImagePreprocessorConfig,
    /// Height and width of the only size, if positions are learned.
    size: Option<[usize; 2]>,
}

/// An input that the model accepts.
#[derive(Debug, PartialEq)]
pub(crate) enum Prepared {
    Text(Vec<u32>),
    /// The windows of a text that is longer than the model's input.
    Windows(Vec<Vec<u32>>),
    /// `[3, height, width]`
    Image(Array3<f32>),
}

/// How long preparing an input took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) decoding: Duration,
    pub(crate) preprocessing: Duration,
}

impl Preparation {
    pub(crate) fn load(
        files: ModelFiles<'_>,
        head: Head,
        config: &PerceiverConfig,
        warnings: &mut Vec<String>,
    ) -> Result<Self> {
        let (preprocessor, size) = match head {
            Head::ImageClassificationLearned => (
                PerceiverForImageClassificationLearned::preprocessor_config(config),
                Some(config.image_size.height_width()),
            ),
            Head::ImageClassificationFourier => {
                (PerceiverForImageClassificationFourier::preprocessor_config(config), None)
            }
            Head::ImageClassificationConvProcessing => {
                (PerceiverForImageClassificationConvProcessing::preprocessor_config(config), None)
            }
            _ => {
                let (tokenizer, config) = (files.tokenizer()?, config.clone());
                let kind = Kind::Text(TextPreparation { tokenizer, config });
                return Ok(Self { head, kind });
            }
        };
        let processor = files.image_processor(warnings)?;
        let kind = Kind::Image(ImagePreparation { processor, preprocessor, size });
        Ok(Self { head, kind })
    }

    /// Prepares an input for the model, and measures the time.
    pub(crate) fn prepare(&self, input: &Input, long: LongTexts) -> (Result<Prepared>, Cost) {
        self.read(
            input,
            |texts, text| texts.prepare(text, long),
            |images, image| images.pixels(image).map(Prepared::Image),
        )
    }

    /// Passes an input on to the function for its kind, if the model reads that kind.
    pub(crate) fn read<T>(
        &self,
        input: &Input,
        text: impl FnOnce(&TextPreparation, &str) -> Result<T>,
        image: impl FnOnce(&ImagePreparation, &RgbImage) -> Result<T>,
    ) -> (Result<T>, Cost) {
        let mut cost = Cost::default();
        let start = Instant::now();
        let wrong_input = |expected, given| {
            let head = self.head;
            Err(Error::WrongInput { head, expected, given })
        };
        let result = match (&self.kind, input) {
            (Kind::Text(texts), Input::Text(input)) => text(texts, input),
            (Kind::Image(images), Input::Image(input)) => image(images, input),
            (Kind::Image(images), Input::ImageFile(path)) => {
                let input = read_image(path);
                cost.decoding = start.elapsed();
                input
                    .map_err(Error::from)
                    .and_then(|input| image(images, &input).map_err(|source| source.in_image(path)))
            }
            (Kind::Text(_), _) => wrong_input("a text", "an image"),
            (Kind::Image(_), _) => wrong_input("an image", "a text"),
        };
        cost.preprocessing = start.elapsed() - cost.decoding;
        (result, cost)
    }
}

impl TextPreparation {
    /// The tokens of a text that the model accepts, which are those of its beginning if texts are
    /// truncated.
    pub(crate) fn encode(&self, text: &str, long: LongTexts) -> Result<Encoding> {
        match long {
            LongTexts::Truncate => text::encode_beginning(text, &self.tokenizer, &self.config),
            _ => text::encode(text, &self.tokenizer, &self.config),
        }
    }

    fn prepare(&self, text: &str, long: LongTexts) -> Result<Prepared> {
        match self.encode(text, long) {
            Err(Error::TextTooLong { length, limit }) if long == LongTexts::Windows => {
                let encoding = text::encode_of_any_length(text, &self.tokenizer, &self.config)?;
                let windows = windows(text, &encoding, limit);
                match windows.is_empty() {
                    true => Err(Error::TextTooLong { length, limit }),
                    false => Ok(Prepared::Windows(windows)),
                }
            }
            encoding => Ok(Prepared::Text(encoding?.input_ids)),
        }
    }
}

impl ImagePreparation {
    /// The pixels of an image that the model accepts, `[3, height, width]`.
    pub(crate) fn pixels(&self, image: &RgbImage) -> Result<Array3<f32>> {
        let pixels = self.processor.preprocess(slice::from_ref(image))?;
        let pixels = pixels.index_axis_move(Axis(0), 0);
        let (_, height, width) = pixels.dim();
        if let Some([rows, columns]) = self.size
            && (height, width) != (rows, columns)
        {
            return Err(Error::ImageSize { height, width, rows, columns });
        }
        self.grid(&pixels)?;
        Ok(pixels)
    }

    /// Rows and columns of the model's tokens.
    pub(crate) fn grid(&self, pixels: &Array3<f32>) -> Result<[usize; 2]> {
        let (_, height, width) = pixels.dim();
        let grid = self.preprocessor.token_grid([height, width]);
        grid.ok_or(Error::ImageTooSmall { height, width })
    }

    /// The part of an image that the model sees, at the image's own resolution.
    pub(crate) fn crop(&self, image: &RgbImage) -> Result<RgbImage> {
        Ok(self.processor.crop(image)?.into_owned())
    }
}

impl Prepared {
    /// Returns true if both inputs fit in one batch.
    pub(crate) fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Image(one), Self::Image(other)) => one.dim() == other.dim(),
            (Self::Image(_), _) | (_, Self::Image(_)) => false,
            _ => true,
        }
    }

    /// The inputs of the model: several for a text in windows.
    pub(crate) fn into_parts(self) -> Vec<Self> {
        match self {
            Self::Windows(windows) => windows.into_iter().map(Self::Text).collect(),
            whole => vec![whole],
        }
    }
}

/// One batch of texts.
pub(crate) fn stack_texts<L>(inputs: &[Prepared], device: &Device) -> Request<Tensor<2, Int>, L> {
    let texts = inputs.iter().filter_map(|input| match input {
        Prepared::Text(ids) => Some(ids.as_slice()),
        Prepared::Windows(_) | Prepared::Image(_) => None,
    });
    text::request(&texts.collect::<Vec<_>>(), device)
}

/// One batch of images of equal size, `[images, 3, height, width]`.
pub(crate) fn stack_images(inputs: &[Prepared], device: &Device) -> Tensor<4> {
    let (mut values, mut size) = (Vec::<f32>::new(), (0, 0, 0));
    for input in inputs {
        if let Prepared::Image(pixels) = input {
            if values.is_empty() {
                values.reserve_exact(inputs.len() * pixels.len());
            }
            match pixels.as_slice() {
                Some(pixels) => values.extend_from_slice(pixels),
                None => values.extend(pixels),
            }
            size = pixels.dim();
        }
    }
    let (channels, height, width) = size;
    let pixels = TensorData::new(values, [inputs.len(), channels, height, width]);
    Tensor::from_data(pixels, device)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    /// Prepares a photo for images of 4x4 pixels.
    fn prepared(head: Head) -> Result<Prepared> {
        let settings = br#"{"size": 4, "crop_size": 4}"#;
        let files = [("preprocessor_config.json", &settings[..])];
        let (files, config) = (ModelFiles::memory(&files), PerceiverConfig::default());
        let preparation = Preparation::load(files, head, &config, &mut Vec::new()).unwrap();
        preparation.prepare(&RgbImage::new(20, 30).into(), LongTexts::Refuse).0
    }

    #[test]
    fn images_have_a_size_that_the_head_reads() {
        let fourier = prepared(Head::ImageClassificationFourier).unwrap();
        assert!(matches!(fourier, Prepared::Image(pixels) if pixels.dim() == (3, 4, 4)));
        let message = |head| prepared(head).unwrap_err().to_string();
        let conv = message(Head::ImageClassificationConvProcessing);
        let expected =
            "the image processor gives 4x4 pixels, expected at least 5x5 for the convolution";
        assert_eq!(conv, expected);
        let learned = message(Head::ImageClassificationLearned);
        assert!(learned.contains("expected the 56x56 of the model's `image_size`"), "{learned}");
    }

    #[test]
    fn inputs_of_the_other_kind_are_refused() {
        let (files, config) = (ModelFiles::memory(&[]), PerceiverConfig::default());
        let preparation =
            Preparation::load(files, Head::MaskedLm, &config, &mut Vec::new()).unwrap();
        let prepared = preparation.prepare(&RgbImage::new(9, 9).into(), LongTexts::Refuse).0;
        let refused = prepared.unwrap_err().to_string();
        assert_eq!(refused, "PerceiverForMaskedLM takes a text, not an image");
    }
}
