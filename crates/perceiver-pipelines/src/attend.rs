//! Where a model attends.

mod lines;
mod page;
mod picture;
mod tiles;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use image::RgbImage;
use perceiver_data::{Encoding, PerceiverTokenizer};
use perceiver_models::{Head, hub};

use self::tiles::{Decoder, Selection};
use crate::model_files::ModelFiles;
use crate::prefetch::Prefetch;
use crate::preparation::{ImagePreparation, Preparation, Prepared, TextPreparation};
use crate::session::Session;
use crate::{Input, LongTexts, Result};

const HEADS: &str = "a PerceiverForMaskedLM, a PerceiverForSequenceClassification or one of the \
                     PerceiverForImageClassification heads";

/// Shows where a model of texts or images attends: maps of its cross-attention, as heat over the
/// photo or over the characters of the text.
///
/// ```no_run
/// use std::path::Path;
///
/// use burn::tensor::Device;
/// use perceiver_pipelines::Attend;
///
/// # fn main() -> perceiver_pipelines::Result<()> {
/// # #[cfg(feature = "flex")] {
/// let pipeline = Attend::from_pretrained("vision-perceiver-conv", &Device::flex())?;
/// let attention = pipeline.run(Path::new("cat.jpg"))?;
/// std::fs::write("cat.html", attention.page("cat.jpg")).expect("the folder can be written");
/// # }
/// # Ok(())
/// # }
/// ```
///
/// The encoder's maps are computed in blocks of latents, so memory does not grow with the number of
/// latents.
///
/// # Source
/// Perceiver section 4.1, whose figures show such maps; `cross_attentions` of
/// `PerceiverModelOutput`.
#[derive(Debug, Clone)]
pub struct Attend {
    session: Session,
    layer: AttendLayer,
    selection: Selection,
}

/// A cross-attention of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttendLayer {
    /// The latents attend to the input.
    #[default]
    Encoder,
    /// The outputs attend to the latents. The maps show the input as seen by the latents, weighted
    /// by how much the outputs attend to each; self-attention in between does not show.
    Decoder,
}

/// The maps to show side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttendTiles {
    /// A single map: the average of everything selected.
    #[default]
    Average,
    /// One map per head.
    Heads,
    /// One map per latent of the encoder or query of the decoder; if there are many, the 16
    /// sharpest, sharpest first.
    Rows,
}

/// Where a model attends in an input.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// The cross-attention.
    pub layer: AttendLayer,
    /// The positions that have weights.
    pub places: Places,
    /// One map, or one per tile.
    pub maps: Vec<AttentionMap>,
}

/// The positions that a model can attend to.
#[derive(Debug, Clone, PartialEq)]
pub enum Places {
    /// The characters of a text, in order.
    Text(Vec<Character>),
    /// The tokens of an image, row by row.
    Image {
        /// The part of the photo that the model sees, at the photo's own resolution.
        photo: RgbImage,
        /// Rows of tokens.
        rows: usize,
        /// Columns of tokens.
        columns: usize,
    },
}

/// A character or a special token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Character {
    /// The character as text.
    pub text: String,
    /// Its bytes in the text; `None` if it was added around the text.
    pub range: Option<Range<usize>>,
}

/// The attention to each position.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionMap {
    /// The head; `None` for an average.
    pub head: Option<usize>,
    /// The encoder's latent or the decoder's query; `None` for an average.
    pub row: Option<usize>,
    /// One weight per position; they sum to one.
    pub weights: Vec<f32>,
}

/// An input that is ready for the model, and what to show of it.
#[derive(Debug)]
enum Subject {
    Text {
        tokens: Prepared,
        /// Indices of the mask tokens.
        masks: Vec<usize>,
        characters: Vec<Character>,
        /// The character that each token belongs to.
        owners: Vec<usize>,
    },
    Image {
        pixels: Prepared,
        photo: RgbImage,
        /// Rows and columns of tokens.
        grid: [usize; 2],
    },
}

impl Attend {
    /// Loads a model with its tokenizer or image processor from a folder, or by a hub id such as
    /// `deepmind/vision-perceiver-conv`.
    ///
    /// # Errors
    /// [`Error::WrongHead`](crate::Error::WrongHead) if the model reads neither texts nor single
    /// images; [`Error::Model`](crate::Error::Model) if it cannot be loaded;
    /// [`Error::Data`](crate::Error::Data) if the settings of the tokenizer or image processor are
    /// invalid.
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
        let accepts = |head: Head| head == Head::MaskedLm || head.is_classifier();
        let session = Session::load(files, device, accepts, HEADS)?;
        Ok(Self { session, layer: AttendLayer::default(), selection: Selection::default() })
    }

    /// Sets the cross-attention to show. The encoder's by default.
    #[must_use]
    pub fn layer(mut self, layer: AttendLayer) -> Self {
        self.layer = layer;
        self
    }

    /// Selects one head. The average of all by default.
    #[must_use]
    pub fn head(mut self, head: usize) -> Self {
        self.selection.head = Some(head);
        self
    }

    /// Selects one latent of the encoder, or one query of the decoder, which in a text is a token.
    /// By default all latents are averaged, or the queries of a text's masks, or all queries if
    /// there are no masks.
    #[must_use]
    pub fn row(mut self, row: usize) -> Self {
        self.selection.row = Some(row);
        self
    }

    /// Sets the maps to show side by side. A single average by default.
    #[must_use]
    pub fn tiles(mut self, tiles: AttendTiles) -> Self {
        self.selection.tiles = tiles;
        self
    }

    /// If true, reads the beginning of a text that is longer than the model's input, cut at a byte as
    /// in training. Such a text is refused by default.
    #[must_use]
    pub fn truncate(mut self, truncate: bool) -> Self {
        self.session.long_texts = if truncate { LongTexts::Truncate } else { LongTexts::Refuse };
        self
    }

    /// Warnings about the model's files, one line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.session.warnings
    }

    /// Finds where the model attends.
    ///
    /// # Errors
    /// Returns an error if the model reads the other kind of input, the text is empty or too long,
    /// the image cannot be read or does not fit the model, or the selected head or row does not
    /// exist.
    pub fn run(&self, input: impl Into<Input>) -> Result<Attention> {
        let Session { preparation, long_texts, .. } = &self.session;
        self.attention(Subject::prepare(preparation, &input.into(), *long_texts)?)
    }

    /// Finds where the model attends in many inputs, in order. Another thread reads and prepares
    /// the next input while the model works.
    ///
    /// # Errors
    /// Each input has its own result, with the errors of [`run`](Self::run).
    pub fn run_all<I>(&self, inputs: I) -> impl Iterator<Item = Result<Attention>> + use<'_, I>
    where
        I: IntoIterator<Item: Into<Input> + 'static, IntoIter: Send + 'static>,
    {
        let Session { preparation, long_texts, .. } = &self.session;
        let (preparation, long_texts) = (Arc::clone(preparation), *long_texts);
        let prepare = move |input: &Input| Subject::prepare(&preparation, input, long_texts);
        let subjects = Prefetch::new(prepare, inputs.into_iter().map(Into::into), 1).flatten();
        subjects.map(|subject| self.attention(subject?))
    }

    fn attention(&self, subject: Subject) -> Result<Attention> {
        let layer = self.layer;
        match subject {
            Subject::Text { tokens, masks, characters, owners } => {
                let queries = match self.session.head {
                    // The query of rank i predicts the token of rank i, however many there are.
                    Head::MaskedLm => owners.len(),
                    _ => 1,
                };
                let masks: Vec<usize> = masks.into_iter().filter(|&mask| mask < queries).collect();
                let default = if masks.is_empty() { (0..queries).collect() } else { masks };
                let maps = self.maps(&tokens, queries, default)?.into_iter().map(|map| {
                    let mut weights = vec![0.0; characters.len()];
                    for (&character, weight) in owners.iter().zip(map.weights) {
                        weights[character] += weight;
                    }
                    AttentionMap { weights, ..map }
                });
                let maps = maps.collect();
                Ok(Attention { layer, places: Places::Text(characters), maps })
            }
            Subject::Image { pixels, photo, grid: [rows, columns] } => {
                let maps = self.maps(&pixels, 1, vec![0])?;
                Ok(Attention { layer, places: Places::Image { photo, rows, columns }, maps })
            }
        }
    }

    /// The maps over tokens. The decoder has `queries` queries about the input; the `default` ones
    /// are shown unless a row is selected.
    fn maps(
        &self,
        input: &Prepared,
        queries: usize,
        default: Vec<usize>,
    ) -> Result<Vec<AttentionMap>> {
        let maps = self.session.maps(input, self.layer == AttendLayer::Decoder);
        let maps = match maps.decoder {
            None => tiles::of_encoder(maps.encoder, self.selection),
            Some(weights) => {
                let decoder = Decoder::new(weights, queries, default);
                tiles::of_decoder(&decoder, maps.encoder, self.selection)
            }
        }?;
        self.session.report.check_outputs(maps.iter().flat_map(|map| &map.weights).copied())?;
        Ok(maps)
    }
}

impl Subject {
    fn prepare(preparation: &Preparation, input: &Input, long: LongTexts) -> Result<Self> {
        let text = |texts: &TextPreparation, text: &str| Self::text(texts, text, long);
        preparation.read(input, text, Self::image).0
    }

    fn text(texts: &TextPreparation, text: &str, long: LongTexts) -> Result<Self> {
        let tokenizer = &texts.tokenizer;
        let encoding = texts.encode(text, long)?;
        let (characters, owners) = characters(text, &encoding, tokenizer)?;
        let ids = encoding.input_ids;
        let mask = tokenizer.mask_token_id();
        let masks = ids.iter().enumerate().filter(|&(_, &id)| id == mask);
        let masks = masks.map(|(place, _)| place).collect();
        Ok(Self::Text { tokens: Prepared::Text(ids), masks, characters, owners })
    }

    fn image(images: &ImagePreparation, image: &RgbImage) -> Result<Self> {
        let pixels = images.pixels(image)?;
        let grid = images.grid(&pixels)?;
        Ok(Self::Image { pixels: Prepared::Image(pixels), photo: images.crop(image)?, grid })
    }
}

impl AttentionMap {
    /// The `count` positions with the largest weights, largest first, as pairs of index and weight.
    #[must_use]
    pub fn strongest(&self, count: usize) -> Vec<(usize, f32)> {
        let mut places: Vec<(usize, f32)> = self.weights.iter().copied().enumerate().collect();
        places.sort_by(|one, other| other.1.total_cmp(&one.1));
        places.truncate(count);
        places
    }
}

/// The characters of a text with the special tokens around them, and the character that each token
/// belongs to.
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
        let continues =
            range.is_some() && characters.last().is_some_and(|last| last.range == range);
        if !continues {
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
