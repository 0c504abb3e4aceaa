//! Where a model looks.

mod lines;
mod page;
mod picture;
mod tiles;

use std::ops::Range;
use std::path::Path;

use burn::tensor::{Device, TensorData};
use image::RgbImage;
use perceiver_data::{Encoding, PerceiverImageProcessor, PerceiverTokenizer, read_image};
use perceiver_models::{AnyPerceiver, Head, NamedTensors, PerceiverConfig, Pretrained};

use self::tiles::Decoder;
use crate::preparation::image_processor;
use crate::{Error, Input, Result, text};

const HEADS: &str = "a PerceiverForMaskedLM, a PerceiverForSequenceClassification or one of the \
                     PerceiverForImageClassification heads";

/// Shows where a model of texts or images looks: the maps of its cross-attentions, as heat over
/// the photo or over the characters of the text.
///
/// ```no_run
/// use std::path::Path;
///
/// use burn::tensor::Device;
/// use perceiver_pipelines::{Attend, AttendOptions};
///
/// # fn main() -> perceiver_pipelines::Result<()> {
/// # #[cfg(feature = "flex")] {
/// let pipeline = Attend::from_pretrained("vision-perceiver-conv", &Device::flex())?;
/// let attention = pipeline.run(Path::new("cat.jpg"), &AttendOptions::default())?;
/// std::fs::write("cat.html", attention.page("cat.jpg")).expect("the folder can be written");
/// # }
/// # Ok(())
/// # }
/// ```
///
/// The encoder's maps are computed in blocks of latents, so that memory does not grow with them.
///
/// # Source
/// Perceiver section 4.1, whose figures show such maps; `cross_attentions` of
/// `PerceiverModelOutput`.
#[derive(Debug)]
pub struct Attend {
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

/// Which maps are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AttendOptions {
    /// The encoder's cross-attention by default.
    pub layer: AttendLayer,
    /// One head; the average of all when absent.
    pub head: Option<usize>,
    /// One latent of the encoder, or one query of the decoder: in a text, a token. The average of
    /// all latents when absent; of the decoder's queries, that of the text's masks, where there
    /// are any.
    pub row: Option<usize>,
    /// What is shown side by side; one average by default.
    pub tiles: AttendTiles,
}

/// A cross-attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttendLayer {
    /// The latents look at the input.
    #[default]
    Encoder,
    /// The answers look at the latents. What is shown is the input once more, as seen by the
    /// latents in proportion to what the answers take of them; what the latents told each other
    /// in between does not show.
    Decoder,
}

/// What is shown side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttendTiles {
    /// Nothing: everything that was chosen is averaged.
    #[default]
    Average,
    /// The heads.
    Heads,
    /// The latents of the encoder or the queries of the decoder: of many, the 16 that look most
    /// sharply, sharpest first.
    Rows,
}

/// Where a model looks in an input.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// The cross-attention.
    pub layer: AttendLayer,
    /// What the weights are of.
    pub places: Places,
    /// One map, or one a tile.
    pub maps: Vec<AttentionMap>,
}

/// What a model can look at.
#[derive(Debug, Clone, PartialEq)]
pub enum Places {
    /// The characters of a text, in its order.
    Text(Vec<Character>),
    /// The tokens of an image, row by row.
    Image {
        /// What the model sees of the photo, in the photo's own pixels.
        photo: RgbImage,
        /// Rows of tokens.
        rows: usize,
        /// Columns of tokens.
        columns: usize,
    },
}

/// A character, or a special token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Character {
    /// How it is written.
    pub text: String,
    /// Where it stands, in bytes; nowhere, if it was put around the text.
    pub range: Option<Range<usize>>,
}

/// How much of the attention each place has.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionMap {
    /// The head; absent for an average.
    pub head: Option<usize>,
    /// The encoder's latent or the decoder's query; absent for an average.
    pub row: Option<usize>,
    /// One a place; they sum to one.
    pub weights: Vec<f32>,
}

impl Attend {
    /// Loads the model of a folder onto a device, and its tokenizer or image processor.
    ///
    /// # Errors
    /// [`Error::WrongHead`] where the folder's model takes neither texts nor images;
    /// [`Error::Model`] where it cannot be loaded; [`Error::Data`] where the settings of the
    /// tokenizer or image processor are damaged.
    pub fn from_pretrained(folder: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let folder = folder.as_ref();
        let config = PerceiverConfig::from_pretrained(folder)?;
        let mut warnings = Vec::new();
        let preparation = match config.head() {
            Ok(Head::MaskedLm | Head::SequenceClassification) => {
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
        let Pretrained { model, config, report } = AnyPerceiver::from_pretrained(folder, device)?;
        warnings.extend(report.warnings());
        Ok(Self { model, config, preparation, warnings, device: device.clone() })
    }

    /// What was suspicious about the folder, a line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Finds where the model looks.
    ///
    /// # Errors
    /// When the model takes the other kind of input, the text is empty or too long, the image
    /// cannot be read or does not fit the model, or there is no such head or row.
    pub fn run(&self, input: impl Into<Input>, options: &AttendOptions) -> Result<Attention> {
        match (&self.preparation, input.into()) {
            (Preparation::Text(tokenizer), Input::Text(text)) => {
                self.in_text(tokenizer, &text, options)
            }
            (Preparation::Image(processor), Input::Image(image)) => {
                self.in_image(processor, &image, options)
            }
            (Preparation::Image(processor), Input::ImageFile(path)) => {
                let image = read_image(&path)?;
                self.in_image(processor, &image, options).map_err(|source| source.in_image(&path))
            }
            (Preparation::Text(_), _) => Err(self.wrong_input("a text", "an image")),
            (Preparation::Image(_), _) => Err(self.wrong_input("an image", "a text")),
        }
    }

    fn wrong_input(&self, expected: &'static str, given: &'static str) -> Error {
        Error::WrongInput { head: self.model.head(), expected, given }
    }

    fn in_text(
        &self,
        tokenizer: &PerceiverTokenizer,
        text: &str,
        options: &AttendOptions,
    ) -> Result<Attention> {
        let encoding = text::encode(text, tokenizer, &self.config)?;
        let ids: Vec<i64> = encoding.input_ids.iter().map(|&id| i64::from(id)).collect();
        let queries = match self.model.head() {
            // The query of rank i is asked about the token of rank i, however many there are.
            Head::MaskedLm => encoding.len(),
            _ => 1,
        };
        let masks = encoding.input_ids.iter().enumerate();
        let masks: Vec<usize> = masks
            .filter(|&(place, &id)| place < queries && id == tokenizer.mask_token_id())
            .map(|(place, _)| place)
            .collect();
        let chosen = if masks.is_empty() { (0..queries).collect() } else { masks };
        let inputs = TensorData::new(ids, [1, encoding.len()]);
        let (maps, _) = self.maps(inputs, queries, chosen, options)?;
        let (characters, owners) = characters(text, &encoding, tokenizer)?;
        let maps = maps.into_iter().map(|map| {
            let mut weights = vec![0.0; characters.len()];
            for (&character, weight) in owners.iter().zip(map.weights) {
                weights[character] += weight;
            }
            AttentionMap { weights, ..map }
        });
        let maps = maps.collect();
        Ok(Attention { layer: options.layer, places: Places::Text(characters), maps })
    }

    fn in_image(
        &self,
        processor: &PerceiverImageProcessor,
        image: &RgbImage,
        options: &AttendOptions,
    ) -> Result<Attention> {
        let pixels = processor.preprocess(std::slice::from_ref(image))?;
        let (_, channels, height, width) = pixels.dim();
        let (values, _) = pixels.into_raw_vec_and_offset();
        let inputs = TensorData::new(values, [1, channels, height, width]);
        let (maps, grid) = self.maps(inputs, 1, vec![0], options)?;
        let photo = processor.crop(image)?.into_owned();
        let (rows, columns) = (grid[0], grid[1]);
        let places = Places::Image { photo, rows, columns };
        Ok(Attention { layer: options.layer, places, maps })
    }

    /// The maps over tokens, and how the tokens lie. The decoder has so many `queries` about the
    /// input, of which the `chosen` ones are looked at unless the options choose.
    fn maps(
        &self,
        inputs: TensorData,
        queries: usize,
        chosen: Vec<usize>,
        options: &AttendOptions,
    ) -> Result<(Vec<AttentionMap>, Vec<usize>)> {
        let inputs = NamedTensors::from([("inputs".to_owned(), inputs)]);
        let decoder = options.layer == AttendLayer::Decoder;
        let (maps, grid) =
            self.model.cross_attention_maps(inputs, &self.config, decoder, &self.device)?;
        let maps = match maps.decoder {
            None => tiles::of_encoder(maps.encoder, options)?,
            Some(weights) => {
                let decoder = Decoder::new(weights, queries, chosen);
                tiles::of_decoder(&decoder, maps.encoder, options)?
            }
        };
        Ok((maps, grid))
    }
}

impl AttendOptions {
    /// Shows another cross-attention.
    #[must_use]
    pub fn with_layer(mut self, layer: AttendLayer) -> Self {
        self.layer = layer;
        self
    }

    /// Shows one head.
    #[must_use]
    pub fn with_head(mut self, head: usize) -> Self {
        self.head = Some(head);
        self
    }

    /// Shows one latent of the encoder, or one query of the decoder.
    #[must_use]
    pub fn with_row(mut self, row: usize) -> Self {
        self.row = Some(row);
        self
    }

    /// Shows several maps side by side.
    #[must_use]
    pub fn with_tiles(mut self, tiles: AttendTiles) -> Self {
        self.tiles = tiles;
        self
    }
}

impl AttentionMap {
    /// The `count` places of the greatest weights, greatest first: their ranks and weights.
    #[must_use]
    pub fn strongest(&self, count: usize) -> Vec<(usize, f32)> {
        let mut places: Vec<(usize, f32)> = self.weights.iter().copied().enumerate().collect();
        places.sort_by(|one, other| other.1.total_cmp(&one.1));
        places.truncate(count);
        places
    }
}

/// The characters of a text with the special tokens around them, and the character of every
/// token.
fn characters(
    text: &str,
    encoding: &Encoding,
    tokenizer: &PerceiverTokenizer,
) -> Result<(Vec<Character>, Vec<usize>)> {
    let mut characters: Vec<Character> = Vec::new();
    let mut owners = Vec::with_capacity(encoding.len());
    for (&id, offset) in encoding.input_ids.iter().zip(&encoding.offsets) {
        let range = offset
            .map(|span| text.floor_char_boundary(span.start)..text.ceil_char_boundary(span.end));
        let goes_on = range.is_some() && characters.last().is_some_and(|last| last.range == range);
        if !goes_on {
            let text = match &range {
                Some(range) => text[range.clone()].to_owned(),
                None => tokenizer.decode(&[id], false)?,
            };
            characters.push(Character { text, range });
        }
        owners.push(characters.len() - 1);
    }
    Ok((characters, owners))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use perceiver_data::EncodeOptions;

    use super::*;

    #[test]
    fn the_bytes_of_a_character_are_one_place() {
        let tokenizer = PerceiverTokenizer::default();
        let text = "é[MASK]e";
        let encoding = tokenizer.encode(text, &EncodeOptions::default()).unwrap();
        let (characters, owners) = characters(text, &encoding, &tokenizer).unwrap();
        let texts: Vec<_> = characters.iter().map(|character| character.text.as_str()).collect();
        assert_eq!(texts, ["[CLS]", "é", "[MASK]", "e", "[SEP]"]);
        assert_eq!(owners, [0, 1, 1, 2, 3, 4]);
        assert_eq!(characters[2].range, Some(2..8));
        assert_eq!(characters[4].range, None);
    }

    #[test]
    fn the_strongest_places_come_first() {
        let map = AttentionMap { head: None, row: None, weights: vec![0.2, 0.5, 0.3] };
        assert_eq!(map.strongest(2), [(1, 0.5), (2, 0.3)]);
    }
}
