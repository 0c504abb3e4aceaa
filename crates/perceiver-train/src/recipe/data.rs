//! The `[data]` of a recipe.

use std::path::PathBuf;

use perceiver_data::augment::{Augmentation, RandAugment};
use perceiver_data::flow::FlowGeneratorOptions;
use perceiver_models::Head;
use perceiver_models::losses::FlowLoss;
use serde::Deserialize;

/// What to learn from, and what to be measured on. Relative paths begin at the folder that the
/// caller names.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Data {
    /// Grey pictures and labels in IDX files.
    IdxImages(IdxImagesData),
    /// A folder of pictures for every class.
    ImageFolder(ImageFolderData),
    /// Texts with labels in a CSV file or JSON lines.
    TextTable(TextTableData),
    /// Texts in which words are masked.
    PlainText(PlainTextData),
    /// Pairs of frames made from photos, with exact flow.
    GeneratedFlow(GeneratedFlowData),
    /// Real pairs of frames with the flow between them.
    FlowPairs(FlowPairsData),
    /// Videos and their sound.
    Videos(VideosData),
}

/// Files of [`Data::IdxImages`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdxImagesData {
    /// Pictures, then labels, to learn from.
    pub train: [PathBuf; 2],
    /// Pictures, then labels, to be measured on.
    pub validation: [PathBuf; 2],
    /// Names of the classes in the order of their numbers.
    pub classes: Vec<String>,
    /// What is done to pictures.
    pub images: ImageOptions,
}

/// Folders of [`Data::ImageFolder`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFolderData {
    /// To learn from.
    pub train: PathBuf,
    /// To be measured on.
    pub validation: PathBuf,
    /// What is done to pictures.
    pub images: ImageOptions,
}

/// What is done to pictures.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageOptions {
    /// Height and width that the model takes.
    pub size: [u32; 2],
    /// Means of the channels, of values from 0 to 1.
    #[serde(default = "image_mean")]
    pub mean: [f64; 3],
    /// Standard deviations of the channels.
    #[serde(default = "image_deviation")]
    pub deviation: [f64; 3],
    /// The share of a target that is spread over all classes.
    #[serde(default)]
    pub label_smoothing: f32,
    /// Whether half of a batch gets MixUp, the other half CutMix.
    #[serde(default)]
    pub mixed: bool,
    /// What is drawn anew every time a picture is learned from.
    #[serde(default)]
    pub augmentation: AugmentationSettings,
}

/// The reference's mean of ImageNet.
const fn image_mean() -> [f64; 3] {
    [0.485, 0.456, 0.406]
}

/// The reference's deviation of ImageNet.
const fn image_deviation() -> [f64; 3] {
    [0.229, 0.224, 0.225]
}

/// How a picture is changed before it is learned from.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentationSettings {
    /// A random crop of 8 to 100 percent of the area, resized.
    pub random_resized_crop: bool,
    /// Mirrored half of the time.
    pub flip: bool,
    /// Shifted by up to so many pixels.
    pub shift: u32,
    /// How many operations of RandAugment, none by default.
    pub rand_augment_layers: usize,
    /// How strong they are, from 0 to 30.
    pub rand_augment_magnitude: u32,
}

/// Files of [`Data::TextTable`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextTableData {
    /// To learn from.
    pub train: PathBuf,
    /// To be measured on.
    pub validation: PathBuf,
    /// The column of the text.
    #[serde(default = "text_column")]
    pub text: String,
    /// The column of the class's name.
    pub label: Option<String>,
    /// The columns of numbers, where these are to be predicted.
    pub values: Option<Vec<String>>,
    /// Tokens to which texts are cut, special ones included.
    pub length: usize,
    /// Whether a random piece of each text is learned from.
    #[serde(default)]
    pub random_pieces: bool,
    /// The least share of a text's words that a random piece has.
    #[serde(default = "half")]
    pub shortest_piece: f64,
    /// Probability that a word of what is learned from is hidden, 0 by default.
    #[serde(default)]
    pub mask_probability: f64,
    /// Lengths are padded to a multiple of this many tokens.
    #[serde(default = "eight")]
    pub multiple: usize,
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
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainTextData {
    /// To learn from.
    pub train: Vec<PathBuf>,
    /// To be measured on.
    pub validation: Vec<PathBuf>,
    /// Tokens of a piece, special ones included.
    pub length: usize,
    /// Probability that a word of what is learned from is asked for.
    #[serde(default = "mask_probability")]
    pub mask_probability: f64,
    /// The share of those that become `[MASK]`s.
    #[serde(default = "mask_share")]
    pub masked: f64,
    /// The share of those that become random bytes.
    #[serde(default = "random_share")]
    pub random: f64,
    /// Whether everything else is asked for as well, to be copied. When a model is measured it is
    /// not.
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

/// Photos of [`Data::GeneratedFlow`], and what is made of them. Frames are as large as the
/// model's `train_size`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratedFlowData {
    /// Folder of photos to learn from.
    pub train: PathBuf,
    /// Folder of photos to be measured on.
    pub validation: PathBuf,
    /// Pairs to be measured on.
    pub validation_pairs: usize,
    /// Most pieces that move over the background.
    pub pieces: Option<usize>,
    /// How far a pixel moves at most, in pixels.
    pub max_motion: Option<f32>,
    /// Whether the second frame has another light, noise and blur than the first.
    #[serde(default = "yes")]
    pub changes_light: bool,
    /// Whether pixels count that the second frame does not show.
    #[serde(default = "yes")]
    pub counts_hidden: bool,
    /// How flow is compared with the truth.
    #[serde(default)]
    pub loss: FlowLoss,
}

const fn yes() -> bool {
    true
}

impl GeneratedFlowData {
    /// How so many pairs of this height and width are made.
    #[must_use]
    pub fn options(&self, pairs: usize, size: [usize; 2]) -> FlowGeneratorOptions {
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
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowPairsData {
    /// To learn from.
    pub train: PathBuf,
    /// To be measured on.
    pub validation: PathBuf,
    /// How flow is compared with the truth.
    #[serde(default)]
    pub loss: FlowLoss,
}

/// Files of [`Data::Videos`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideosData {
    /// Videos, of whose end the last seconds are kept apart to be measured on.
    pub files: Vec<PathBuf>,
    /// The class of each video, where they have any.
    #[serde(default)]
    pub labels: Vec<usize>,
    /// How long that end is.
    pub held_out_seconds: f64,
    /// Frames a second.
    #[serde(default = "frames_per_second")]
    pub frames_per_second: f64,
    /// Frames from the start of a clip to that of the next.
    pub stride: usize,
    /// Whether clips to learn from are random squares of the frames, mirrored half of the time.
    #[serde(default)]
    pub random_crops: bool,
    /// Pixels that every step asks for.
    pub pixels: usize,
    /// Patches of sound that every step asks for.
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

    /// The name it has in a recipe.
    const fn kind(&self) -> &'static str {
        match self {
            Self::IdxImages(_) => "idx-images",
            Self::ImageFolder(_) => "image-folder",
            Self::TextTable(_) => "text-table",
            Self::PlainText(_) => "plain-text",
            Self::GeneratedFlow(_) => "generated-flow",
            Self::FlowPairs(_) => "flow-pairs",
            Self::Videos(_) => "videos",
        }
    }

    /// Whether a head can learn from this, and what else can be told without its files.
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
            _ => return Err(format!("`architecture` {head} has no loss to learn by")),
        };
        let kind = self.kind();
        if !kinds.contains(&kind) {
            let expected = kinds.join(" or ");
            return Err(format!("`data.kind` is {kind}, {head} learns from {expected}"));
        }
        let share = |name: &str, share: f64| {
            let fits = (0.0..=1.0).contains(&share);
            fits.then_some(()).ok_or(format!("`data.{name}` is {share}, expected 0 to 1"))
        };
        match self {
            Self::IdxImages(data) => data.images.check(),
            Self::ImageFolder(data) => data.images.check(),
            Self::TextTable(data) => {
                if data.label.is_some() == data.values.is_some() {
                    return Err(
                        "`data` names a `label` column or `values` columns, one of both".into()
                    );
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
            Self::PlainText(data) => {
                if data.length < 16 {
                    return Err(format!("`data.length` is {}, expected 16 or more", data.length));
                }
                share("mask_probability", data.mask_probability)?;
                share("masked + random", data.masked + data.random)
            }
            Self::GeneratedFlow(data) => {
                let some = data.validation_pairs > 0;
                some.then_some(()).ok_or("`data.validation_pairs` is 0, expected some".into())
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
                    .ok_or("`data` needs files, and all its numbers positive".into())
            }
        }
    }
}

impl AugmentationSettings {
    /// What is drawn.
    pub(super) fn drawn(&self) -> Augmentation {
        let (layers, magnitude) = (self.rand_augment_layers, self.rand_augment_magnitude);
        Augmentation {
            random_resized_crop: self.random_resized_crop,
            shift: self.shift,
            flip: self.flip,
            rand_augment: (layers > 0).then_some(RandAugment { layers, magnitude }),
        }
    }
}

impl ImageOptions {
    fn check(&self) -> Result<(), String> {
        let [height, width] = self.size;
        if !(1..=4096).contains(&height) || !(1..=4096).contains(&width) {
            return Err(format!("`data.images.size` is {height}x{width}, expected 1 to 4096"));
        }
        if !self.deviation.iter().all(|deviation| *deviation > 0.0) {
            return Err("`data.images.deviation` holds a number that is not positive".into());
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            let share = self.label_smoothing;
            return Err(format!("`data.images.label_smoothing` is {share}, expected 0 to 1"));
        }
        if self.augmentation.rand_augment_magnitude > 30 {
            let found = self.augmentation.rand_augment_magnitude;
            return Err(format!(
                "`data.images.augmentation.rand_augment_magnitude` is {found}, expected at most 30"
            ));
        }
        Ok(())
    }
}
