//! The `[data]` of a recipe.

mod arrays;
mod images;
mod series;

use std::path::PathBuf;

use perceiver_data::flow::FlowGeneratorOptions;
use perceiver_models::Head;
use perceiver_models::losses::FlowLoss;
use serde::{Deserialize, Serialize};

pub use self::arrays::{ArrayKind, ArraysData};
pub use self::images::{AugmentationSettings, ImageOptions};
pub use self::series::SeriesData;
use super::numbers;

/// Data to train on and to validate on. Relative paths begin at the folder given by
/// [`TrainOptions::data`](super::TrainOptions::data).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Data {
    /// Grey-scale images and labels in IDX files.
    IdxImages(IdxImagesData),
    /// A folder of images per class.
    ImageFolder(ImageFolderData),
    /// Texts with labels in a CSV file or JSON lines.
    TextTable(TextTableData),
    /// Rows of numbers and categories in a CSV file, for a model for any data.
    Table(TableData),
    /// Time series in a CSV file or in a `.ts` file, for a model for any data.
    Series(SeriesData),
    /// Examples in NumPy's arrays, for a model for any data.
    Arrays(ArraysData),
    /// Texts whose words are masked.
    PlainText(PlainTextData),
    /// Pairs of frames made from photos, with exact flow.
    GeneratedFlow(GeneratedFlowData),
    /// Real pairs of frames with the flow between them.
    FlowPairs(FlowPairsData),
    /// Videos and their sound.
    Videos(VideosData),
}

/// Files of [`Data::IdxImages`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdxImagesData {
    /// Training images, then their labels.
    pub train: [PathBuf; 2],
    /// Validation images, then their labels.
    pub validation: [PathBuf; 2],
    /// Names of the classes, in order of their numbers.
    pub classes: Vec<String>,
    /// Preparation of images.
    pub images: ImageOptions,
}

/// Folders of [`Data::ImageFolder`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFolderData {
    /// Training folder.
    pub train: PathBuf,
    /// Validation folder.
    pub validation: PathBuf,
    /// Preparation of images.
    pub images: ImageOptions,
}

/// Files of [`Data::TextTable`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextTableData {
    /// Training table.
    pub train: PathBuf,
    /// Validation table.
    pub validation: PathBuf,
    /// The column with the text.
    #[serde(default = "text_column")]
    pub text: String,
    /// The column with the name of the class.
    pub label: Option<String>,
    /// The columns with numbers to predict, instead of a class.
    pub values: Option<Vec<String>>,
    /// Longest text in tokens, including special ones; longer texts are cut.
    pub length: usize,
    /// Trains on a random piece of each text.
    #[serde(default)]
    pub random_pieces: bool,
    /// Smallest share of a text's words in a random piece.
    #[serde(default = "half")]
    pub shortest_piece: f64,
    /// Probability that a word of a training text is masked, 0 by default.
    #[serde(default)]
    pub mask_probability: f64,
    /// Pads lengths to a multiple of this many tokens.
    #[serde(default = "eight")]
    pub multiple: usize,
}

/// Files of [`Data::Table`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableData {
    /// Training table.
    pub train: PathBuf,
    /// Validation table.
    pub validation: PathBuf,
    /// The name of the model's modality.
    #[serde(default = "row_name")]
    pub name: String,
    /// The column with the name of the class.
    pub label: Option<String>,
    /// The columns with numbers to predict, instead of a class.
    pub values: Option<Vec<String>>,
    /// Columns to leave out, such as numbers of rows.
    #[serde(default)]
    pub ignored: Vec<String>,
}

fn row_name() -> String {
    "row".into()
}

const fn half() -> f64 {
    0.5
}

fn text_column() -> String {
    "text".into()
}

const fn eight() -> usize {
    8
}

/// Files of [`Data::PlainText`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainTextData {
    /// Training texts.
    pub train: Vec<PathBuf>,
    /// Validation texts.
    pub validation: Vec<PathBuf>,
    /// Tokens of a piece, including special ones.
    pub length: usize,
    /// Probability that a word of a training text is to be predicted.
    #[serde(default = "mask_probability")]
    pub mask_probability: f64,
    /// Share of those words that become `[MASK]`s.
    #[serde(default = "mask_share")]
    pub masked: f64,
    /// Share of those words that become random bytes.
    #[serde(default = "random_share")]
    pub random: f64,
    /// Predicts all other bytes as well, which the model learns to copy. Validation does not.
    #[serde(default)]
    pub copied: bool,
}

const fn mask_probability() -> f64 {
    0.15
}

const fn mask_share() -> f64 {
    0.8
}

const fn random_share() -> f64 {
    0.1
}

/// Photos of [`Data::GeneratedFlow`], and the pairs made from them. Frames have the model's
/// `train_size`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratedFlowData {
    /// Folder of training photos.
    pub train: PathBuf,
    /// Folder of validation photos.
    pub validation: PathBuf,
    /// Number of validation pairs.
    pub validation_pairs: usize,
    /// Largest number of pieces that move over the background.
    pub pieces: Option<usize>,
    /// Largest motion in pixels.
    pub max_motion: Option<f32>,
    /// Changes light, noise and blur of the second frame.
    #[serde(default = "yes")]
    pub changes_light: bool,
    /// Counts pixels that the second frame does not show.
    #[serde(default = "yes")]
    pub counts_hidden: bool,
    /// The loss.
    #[serde(default)]
    pub loss: FlowLoss,
}

const fn yes() -> bool {
    true
}

impl GeneratedFlowData {
    /// Options for a number of pairs of a height and width.
    pub(super) fn options(&self, pairs: usize, size: [usize; 2]) -> FlowGeneratorOptions {
        let usual = FlowGeneratorOptions::new(pairs, size);
        FlowGeneratorOptions {
            pieces: self.pieces.unwrap_or(usual.pieces),
            max_motion: self.max_motion.unwrap_or(usual.max_motion),
            changes_light: self.changes_light,
            counts_hidden: self.counts_hidden,
            ..usual
        }
    }
}

/// Folders of [`Data::FlowPairs`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowPairsData {
    /// Training folder.
    pub train: PathBuf,
    /// Validation folder.
    pub validation: PathBuf,
    /// The loss.
    #[serde(default)]
    pub loss: FlowLoss,
}

/// Files of [`Data::Videos`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideosData {
    /// Videos, whose last seconds are held out for validation.
    pub files: Vec<PathBuf>,
    /// The class of each video, if they have any.
    #[serde(default)]
    pub labels: Vec<usize>,
    /// Length of the held-out end.
    pub held_out_seconds: f64,
    /// Frames per second.
    #[serde(default = "frames_per_second")]
    pub frames_per_second: f64,
    /// Frames from the start of a clip to that of the next.
    pub stride: usize,
    /// Crops random squares of training clips, mirrored half of the time.
    #[serde(default)]
    pub random_crops: bool,
    /// Pixels to decode in each step.
    pub pixels: usize,
    /// Patches of sound to decode in each step.
    pub sound_patches: usize,
}

const fn frames_per_second() -> f64 {
    25.0
}

impl Data {
    /// Height and width of images to classify.
    pub(super) fn image_size(&self) -> Option<[usize; 2]> {
        match self {
            Self::IdxImages(data) => Some(data.images.size.map(|side| side as usize)),
            Self::ImageFolder(data) => Some(data.images.size.map(|side| side as usize)),
            _ => None,
        }
    }

    /// The name in a recipe.
    const fn kind(&self) -> &'static str {
        match self {
            Self::IdxImages(_) => "idx-images",
            Self::ImageFolder(_) => "image-folder",
            Self::TextTable(_) => "text-table",
            Self::Table(_) => "table",
            Self::Series(_) => "series",
            Self::Arrays(_) => "arrays",
            Self::PlainText(_) => "plain-text",
            Self::GeneratedFlow(_) => "generated-flow",
            Self::FlowPairs(_) => "flow-pairs",
            Self::Videos(_) => "videos",
        }
    }

    /// Checks that a head can learn from this, and everything else that needs no files.
    pub(super) fn check(&self, head: Head) -> Result<(), String> {
        let kinds: &[&str] = match head {
            Head::Model => {
                return Err("`architecture` PerceiverModel has no loss to learn by".into());
            }
            Head::MaskedLm => &["plain-text"],
            Head::SequenceClassification => &["text-table"],
            Head::ImageClassificationLearned
            | Head::ImageClassificationFourier
            | Head::ImageClassificationConvProcessing => &["idx-images", "image-folder"],
            Head::OpticalFlow => &["generated-flow", "flow-pairs"],
            Head::MultimodalAutoencoding => &["videos"],
            Head::AnyData => &["table", "series", "arrays"],
            _ => return Err(format!("`architecture` {head} has no loss to learn by")),
        };
        let kind = self.kind();
        if !kinds.contains(&kind) {
            let expected = kinds.join(" or ");
            return Err(format!("`data.kind` is {kind}, expected {expected} for {head}"));
        }
        let share = |name: &str, share: f64| {
            let is_share = (0.0..=1.0).contains(&share);
            numbers::check(&format!("data.{name}"), share, is_share, "from 0 to 1")
        };
        match self {
            Self::IdxImages(data) => data.images.check(),
            Self::ImageFolder(data) => data.images.check(),
            Self::TextTable(data) => {
                if data.label.is_some() == data.values.is_some() {
                    return Err("`data` needs either a `label` column or `values` columns".into());
                }
                if data.multiple == 0 || data.length == 0 || data.length % data.multiple != 0 {
                    return Err(format!(
                        "`data.length` is {}, expected a multiple of `multiple`, {}",
                        data.length, data.multiple
                    ));
                }
                share("shortest_piece", data.shortest_piece)?;
                share("mask_probability", data.mask_probability)
            }
            Self::Table(data) => {
                if data.label.is_some() == data.values.is_some() {
                    return Err("`data` needs either a `label` column or `values` columns".into());
                }
                Ok(())
            }
            Self::Series(data) => data.check(),
            Self::Arrays(data) => data.check(),
            Self::PlainText(data) => {
                if data.length < 16 {
                    return Err(format!("`data.length` is {}, expected 16 or more", data.length));
                }
                share("mask_probability", data.mask_probability)?;
                share("masked + random", data.masked + data.random)
            }
            Self::GeneratedFlow(data) => {
                let some = data.validation_pairs > 0;
                some.then_some(()).ok_or("`data.validation_pairs` is 0, expected 1 or more".into())
            }
            Self::FlowPairs(_) => Ok(()),
            Self::Videos(data) => {
                let (videos, labels) = (data.files.len(), data.labels.len());
                if labels > 0 && labels != videos {
                    return Err(format!("`data.labels` has {labels} classes for {videos} videos"));
                }
                let some = data.stride > 0 && data.pixels > 0 && data.sound_patches > 0;
                let timed = data.held_out_seconds > 0.0 && data.frames_per_second > 0.0;
                (some && timed && !data.files.is_empty())
                    .then_some(())
                    .ok_or("`data` needs files and positive numbers".into())
            }
        }
    }
}
