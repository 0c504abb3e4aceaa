//! config.json: what a Perceiver looks like, read and written as transformers does.

mod head;
mod parse;
mod validate;

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::FloatDType;
use perceiver_core::Activation;
use serde_json::{Map, Value};

use crate::Error;
use crate::files;

pub use head::Head;

/// The configuration's file name in a model folder.
pub const CONFIG_NAME: &str = "config.json";

/// Largest config.json that is read, in bytes: a thousand ImageNet label tables.
const MAX_CONFIG_BYTES: u64 = 64 << 20;

/// The shape of a Perceiver and of what it reads and writes.
///
/// Fields carry the names of config.json. [`Default`] is the reference's default configuration;
/// the fields a head does not use are neither checked nor needed.
///
/// # Source
/// `PerceiverConfig` and `PreTrainedConfig` of transformers 5.23.
///
/// # Differences
/// - `cross_attention_shape_for_attention`, `hidden_act`, `problem_type` and `dtype` are checked
///   when the file is read, not when a model is built.
/// - A `model_type` other than `perceiver` is an error, not a warning.
/// - Whole numbers are accepted where the reference insists on floats.
/// - `NaN` and `Infinity`, which are not JSON, are refused wherever they stand.
#[derive(Debug, Clone, PartialEq)]
pub struct PerceiverConfig {
    /// Latent vectors, N in the paper.
    pub num_latents: usize,
    /// Channels of a latent, D in the paper.
    pub d_latents: usize,
    /// Channels of an input token, C in the paper; heads with an image, flow or multimodal
    /// preprocessor take theirs from that.
    pub d_model: usize,
    /// How often the block of self-attention layers is applied, with the same weights.
    pub num_blocks: usize,
    /// Self-attention layers in the block.
    pub num_self_attends_per_block: usize,
    /// Heads of each self-attention layer.
    pub num_self_attention_heads: usize,
    /// Heads of the encoder's cross-attention.
    pub num_cross_attention_heads: usize,
    /// Channels of queries and keys in the encoder; by default those of the queries' input, or
    /// for cross-attention what `cross_attention_shape_for_attention` says.
    pub qk_channels: Option<usize>,
    /// Channels of the values in the encoder; by default those of queries and keys.
    pub v_channels: Option<usize>,
    /// Where cross-attention takes its default query and key channels from.
    pub cross_attention_shape_for_attention: CrossAttentionShape,
    /// Width of the self-attention MLP over `d_latents`.
    pub self_attention_widening_factor: usize,
    /// Width of the cross-attention MLP over its channels.
    pub cross_attention_widening_factor: usize,
    /// The function between an MLP's two linear maps.
    pub hidden_act: Activation,
    /// Dropout of attention probabilities, in training.
    pub attention_probs_dropout_prob: f64,
    /// Standard deviation of newly initialised weights.
    pub initializer_range: f64,
    /// Stored and never used: the reference's layer norms run at 1e-5.
    pub layer_norm_eps: f64,
    /// Whether the encoder's cross-attention adds its queries to its output.
    pub use_query_residual: bool,
    /// Token ids of the text heads.
    pub vocab_size: usize,
    /// Longest text, and the positions the masked language model decodes.
    pub max_position_embeddings: usize,
    /// Size of the grid of position embeddings (learned image head) or of video frames in
    /// patches (multimodal head).
    pub image_size: ImageSize,
    /// Height and width of the optical flow images.
    pub train_size: Vec<usize>,
    /// Video frames of the multimodal head.
    pub num_frames: usize,
    /// Audio samples that go with one frame.
    pub audio_samples_per_frame: usize,
    /// Audio samples in one token.
    pub samples_per_patch: usize,
    /// Batch, frames, height and width of the decoded video.
    pub output_shape: Vec<usize>,
    /// Channels that the multimodal decoder hands to each postprocessor.
    pub output_num_channels: usize,
    /// Channels of the multimodal head's learned label query (`_label_trainable_num_channels`).
    pub label_trainable_num_channels: usize,
    /// Names of the model classes the weights belong to.
    pub architectures: Vec<String>,
    /// Label names by class index. Their number is [`num_labels`](Self::num_labels).
    pub id2label: BTreeMap<i64, String>,
    /// Class index by label name, as the file gave it.
    pub label2id: Option<BTreeMap<String, i64>>,
    /// The loss of the sequence classification head.
    pub problem_type: Option<ProblemType>,
    /// Tokens that an MLP takes at a time; 0 for all at once.
    pub chunk_size_feed_forward: usize,
    /// Whether forward passes return attention maps unless told otherwise.
    pub output_attentions: bool,
    /// Whether forward passes return hidden states unless told otherwise.
    pub output_hidden_states: bool,
    /// Kept for the reference, where it chooses between two forms of output.
    pub return_dict: bool,
    /// Type of the stored weights (`dtype`, or `torch_dtype` in older files).
    pub dtype: Option<FloatDType>,
    /// Fields that are none of the above, written back as they were read; and `hidden_act` where
    /// the file has another of its names, such as `swish` for `silu`.
    pub extra: Map<String, Value>,
}

/// Where cross-attention takes its default query and key channels from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CrossAttentionShape {
    /// The keys' and values' input, `kv`.
    #[default]
    KeysValues,
    /// The queries' input, `q`.
    Queries,
}

impl CrossAttentionShape {
    /// Each shape with its name in config.json.
    pub const NAMES: [(&'static str, Self); 2] = [("kv", Self::KeysValues), ("q", Self::Queries)];
}

/// The loss of the sequence classification head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemType {
    /// Mean squared error.
    Regression,
    /// Cross-entropy.
    SingleLabelClassification,
    /// Binary cross-entropy of each label.
    MultiLabelClassification,
}

impl ProblemType {
    /// Each type with its name in config.json.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("regression", Self::Regression),
        ("single_label_classification", Self::SingleLabelClassification),
        ("multi_label_classification", Self::MultiLabelClassification),
    ];
}

/// `image_size`: one number for a square, or height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageSize {
    /// Height and width alike.
    Square(usize),
    /// Height, then width.
    Rectangle(usize, usize),
}

impl ImageSize {
    /// Height, then width.
    #[must_use]
    pub fn height_width(self) -> [usize; 2] {
        match self {
            Self::Square(side) => [side, side],
            Self::Rectangle(height, width) => [height, width],
        }
    }
}

impl Default for PerceiverConfig {
    fn default() -> Self {
        Self {
            num_latents: 256,
            d_latents: 1280,
            d_model: 768,
            num_blocks: 1,
            num_self_attends_per_block: 26,
            num_self_attention_heads: 8,
            num_cross_attention_heads: 8,
            qk_channels: None,
            v_channels: None,
            cross_attention_shape_for_attention: CrossAttentionShape::default(),
            self_attention_widening_factor: 1,
            cross_attention_widening_factor: 1,
            hidden_act: Activation::default(),
            attention_probs_dropout_prob: 0.1,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            use_query_residual: true,
            vocab_size: 262,
            max_position_embeddings: 2048,
            image_size: ImageSize::Square(56),
            train_size: vec![368, 496],
            num_frames: 16,
            audio_samples_per_frame: 1920,
            samples_per_patch: 16,
            output_shape: vec![1, 16, 224, 224],
            output_num_channels: 512,
            label_trainable_num_channels: 1024,
            architectures: Vec::new(),
            id2label: parse::default_labels(2),
            label2id: None,
            problem_type: None,
            chunk_size_feed_forward: 0,
            output_attentions: false,
            output_hidden_states: false,
            return_dict: true,
            dtype: None,
            extra: Map::new(),
        }
    }
}

impl PerceiverConfig {
    /// Reads the text of a config.json and validates what it says.
    ///
    /// # Errors
    /// [`Error::Json`] where the text is not JSON, [`Error::Config`] where a field is of the
    /// wrong type or [`validate`](Self::validate) refuses it.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let config = parse::from_json(text)?;
        config.validate()?;
        Ok(config)
    }

    /// As [`from_json`](Self::from_json), from a file.
    ///
    /// # Errors
    /// Also [`Error::Io`] where the file cannot be read as UTF-8 text of at most 64 MiB.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let text = files::read_text(path, MAX_CONFIG_BYTES)?;
        Self::from_json(&text).map_err(|error| error.in_file(path))
    }

    /// As [`from_file`](Self::from_file), from the config.json of a model folder.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_pretrained(folder: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_file(folder.as_ref().join(CONFIG_NAME))
    }

    /// The text of a config.json, with its fields sorted as transformers sorts them.
    #[must_use]
    pub fn to_json(&self) -> String {
        parse::to_json(self)
    }

    /// Writes config.json into a model folder, which is created if need be. An older file stays
    /// until the new one is complete.
    ///
    /// # Errors
    /// [`Error::Io`] where the folder or the file cannot be written.
    pub fn save_pretrained(&self, folder: impl AsRef<Path>) -> Result<(), Error> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
        files::replace(&folder.join(CONFIG_NAME), self.to_json().as_bytes())
    }

    /// The first of `architectures` that is a Perceiver head.
    ///
    /// # Errors
    /// [`Error::Config`] listing the known heads where none is.
    pub fn head(&self) -> Result<Head, Error> {
        let known = self.architectures.iter().find_map(|name| name.parse().ok());
        match (known, self.architectures.first()) {
            (Some(head), _) => Ok(head),
            (None, Some(name)) => name.parse(),
            (None, None) => {
                let known = Head::NAMES.map(|(known, _)| known).join(", ");
                Err(Error::config("architectures", format!("is absent, expected one of {known}")))
            }
        }
    }

    /// Classes of the classification heads.
    #[must_use]
    pub fn num_labels(&self) -> usize {
        self.id2label.len()
    }

    /// Checks what every model needs, and what the head in `architectures` needs when it is a
    /// known one.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field and what it was expected to be.
    pub fn validate(&self) -> Result<(), Error> {
        match self.head() {
            Ok(head) => self.validate_for(head),
            Err(_) => validate::without_head(self),
        }
    }

    /// Checks that `head` can be built: sizes are positive, channels divide by heads, residual
    /// sums fit, and the weights stay below 2⁴⁰ and the layers below 10 000.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field and what it was expected to be.
    pub fn validate_for(&self, head: Head) -> Result<(), Error> {
        validate::with_head(self, head)
    }
}
