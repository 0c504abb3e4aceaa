//! The configuration of a Perceiver, read from and written to config.json as transformers does.

mod head;
mod labels;
mod layers;
mod parse;
mod quantisation;
mod validate;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use burn::tensor::FloatDType;
use perceiver_core::Activation;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Error;
use crate::{files, foreign};

pub use head::Head;
pub(crate) use parse::shown_name;
pub use quantisation::Quantisation;

/// The file name of the configuration in a model folder.
pub const CONFIG_NAME: &str = "config.json";

/// Size limit of a config.json, in bytes: a thousand ImageNet label tables.
const MAX_CONFIG_BYTES: u64 = 64 << 20;

/// The sizes of a Perceiver and of its inputs and outputs.
///
/// Fields have the names they have in config.json. [`Default`] is the reference's default
/// configuration. A head ignores the fields it does not use.
///
/// # Source
/// `PerceiverConfig` and `PreTrainedConfig` of transformers 5.23.
///
/// # Differences
/// - `cross_attention_shape_for_attention`, `hidden_act`, `problem_type` and `dtype` are checked
///   when the file is read, not when a model is built.
/// - A `model_type` other than `perceiver` is an error, not a warning.
/// - Whole numbers are accepted where the reference requires floats.
/// - Labels that are numbers or booleans become their JSON text, `null` becomes `LABEL_0` and so on.
/// - `NaN` and `Infinity`, which are not JSON, are refused everywhere.
#[derive(Debug, Clone, PartialEq)]
pub struct PerceiverConfig {
    /// Number of latents, N in the paper.
    pub num_latents: usize,
    /// Channels of a latent, D in the paper.
    pub d_latents: usize,
    /// Channels of an input token, C in the paper. With an image, flow or multimodal preprocessor,
    /// the preprocessor determines them instead.
    pub d_model: usize,
    /// Number of times the block of self-attention layers is applied, with the same weights.
    pub num_blocks: usize,
    /// Self-attention layers per block.
    pub num_self_attends_per_block: usize,
    /// Heads of each self-attention layer.
    pub num_self_attention_heads: usize,
    /// Heads of the encoder's cross-attention.
    pub num_cross_attention_heads: usize,
    /// Channels of queries and keys in the encoder. By default those of the latents in
    /// self-attention, and those that `cross_attention_shape_for_attention` selects in
    /// cross-attention.
    pub qk_channels: Option<usize>,
    /// Channels of values in the encoder; by default those of queries and keys.
    pub v_channels: Option<usize>,
    /// The input whose channels are the default for queries and keys in cross-attention.
    pub cross_attention_shape_for_attention: CrossAttentionShape,
    /// Widening factor of the self-attention MLP: its hidden channels per channel.
    pub self_attention_widening_factor: usize,
    /// Widening factor of the cross-attention MLP.
    pub cross_attention_widening_factor: usize,
    /// Activation of every MLP.
    pub hidden_act: Activation,
    /// Dropout probability of attention, in training.
    pub attention_probs_dropout_prob: f64,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// Kept for the file format and never used: layer norms use 1e-5, as the reference's do.
    pub layer_norm_eps: f64,
    /// If true, the encoder's cross-attention adds its queries to its output.
    pub use_query_residual: bool,
    /// Number of token ids of the text heads.
    pub vocab_size: usize,
    /// Tokens of the longest text; the masked language model decodes as many positions.
    pub max_position_embeddings: usize,
    /// Size of the grid of learned positions (learned image head), or of a video frame in patches
    /// (multimodal head).
    pub image_size: ImageSize,
    /// Height and width of the frames of the optical flow head.
    pub train_size: Vec<usize>,
    /// Video frames of the multimodal head.
    pub num_frames: usize,
    /// Audio samples per video frame.
    pub audio_samples_per_frame: usize,
    /// Audio samples per token.
    pub samples_per_patch: usize,
    /// Batch, frames, height and width of the decoded video.
    pub output_shape: Vec<usize>,
    /// Channels of the multimodal decoder's answers, which the postprocessors read.
    pub output_num_channels: usize,
    /// Channels of the multimodal head's learned label query, `_label_trainable_num_channels` in
    /// the file.
    pub label_trainable_num_channels: usize,
    /// Names of the model classes that the weights belong to.
    pub architectures: Vec<String>,
    /// Label names by class index; [`num_labels`](Self::num_labels) is their number.
    pub id2label: BTreeMap<i64, String>,
    /// Class indices by label name, if the file has them.
    pub label2id: Option<BTreeMap<String, i64>>,
    /// The loss of the sequence classification head.
    pub problem_type: Option<ProblemType>,
    /// Tokens that an MLP processes at a time; 0 for all at once.
    pub chunk_size_feed_forward: usize,
    /// If true, the reference returns attention maps by default.
    pub output_attentions: bool,
    /// If true, the reference returns hidden states by default.
    pub output_hidden_states: bool,
    /// Kept for the reference, where it selects one of two forms of output.
    pub return_dict: bool,
    /// Float type of the stored weights: `dtype`, or `torch_dtype` in older files.
    pub dtype: Option<FloatDType>,
    /// Layers stored in 8 bits, `quantization_config` in the file. A model saved with it is written in
    /// 8 bits.
    pub quantisation: Option<Quantisation>,
    /// All other fields, written back as they were read; and `hidden_act` if the file spells it
    /// differently, such as `swish` for `silu`. A head of your own reads and writes its fields with
    /// [`field`](Self::field) and [`with_field`](Self::with_field).
    pub extra: Map<String, Value>,
}

/// The input whose channels are the default for queries and keys in cross-attention.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CrossAttentionShape {
    /// The input of keys and values, `kv`.
    #[default]
    KeysValues,
    /// The input of queries, `q`.
    Queries,
}

impl CrossAttentionShape {
    /// Every variant with its name in config.json.
    pub const NAMES: [(&'static str, Self); 2] = [("kv", Self::KeysValues), ("q", Self::Queries)];
}

/// The loss of the sequence classification head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemType {
    /// Mean squared error.
    Regression,
    /// Cross-entropy.
    SingleLabelClassification,
    /// Binary cross-entropy for each label.
    MultiLabelClassification,
}

impl ProblemType {
    /// Every variant with its name in config.json.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("regression", Self::Regression),
        ("single_label_classification", Self::SingleLabelClassification),
        ("multi_label_classification", Self::MultiLabelClassification),
    ];
}

/// The value of `image_size`: one number for a square, or height and width.
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
            id2label: labels::default_labels(2),
            label2id: None,
            problem_type: None,
            chunk_size_feed_forward: 0,
            output_attentions: false,
            output_hidden_states: false,
            return_dict: true,
            dtype: None,
            quantisation: None,
            extra: Map::new(),
        }
    }
}

impl PerceiverConfig {
    /// Reads and validates the text of a config.json.
    ///
    /// # Errors
    /// [`Error::Json`] if the text is not JSON; [`Error::Config`] if a field has the wrong type or
    /// [`validate`](Self::validate) refuses it.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let config = parse::from_json(text)?;
        config.validate()?;
        Ok(config)
    }

    /// Reads and validates a config.json file.
    ///
    /// # Errors
    /// Those of [`from_json`](Self::from_json); [`Error::Io`] if the file cannot be read;
    /// [`Error::Checkpoint`] if it is longer than 64 MiB or not UTF-8.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let text = files::read_text(path, MAX_CONFIG_BYTES)?;
        Self::from_json(&text).map_err(|error| error.in_file(path))
    }

    /// Reads and validates the config.json of a model folder.
    ///
    /// # Errors
    /// Those of [`from_file`](Self::from_file); [`Error::Checkpoint`] if there is no such file and the
    /// folder's other files show what it is.
    pub fn from_pretrained(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let path = folder.join(CONFIG_NAME);
        let text = files::read_folder_text(&path, MAX_CONFIG_BYTES);
        let config = text.and_then(|text| Self::from_json(&text).map_err(|e| e.in_file(&path)));
        config.map_err(|error| match error {
            Error::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
                match foreign::folder_kind(folder) {
                    Some(kind) => {
                        Error::checkpoint(folder, format!("has no {CONFIG_NAME}: it {kind}"))
                    }
                    None => Error::io(&folder.join(CONFIG_NAME), "read")(source),
                }
            }
            error => error,
        })
    }

    /// Reads and validates the config.json among the files of a model folder in memory, given by
    /// name.
    ///
    /// # Errors
    /// Those of [`from_json`](Self::from_json); [`Error::Checkpoint`] if there is no config.json or
    /// more than one, or if it is longer than 64 MiB or not UTF-8.
    pub fn from_files(files: &[(&str, &[u8])]) -> Result<Self, Error> {
        let path = Path::new(CONFIG_NAME);
        let bytes = files::named(files, CONFIG_NAME)?;
        let bytes = bytes.ok_or_else(|| Error::checkpoint(path, "is not among the files"))?;
        Self::from_json(files::text(path, bytes, MAX_CONFIG_BYTES)?)
            .map_err(|error| error.in_file(path))
    }

    /// The text of a config.json, with fields in the order in which transformers writes them.
    #[must_use]
    pub fn to_json(&self) -> String {
        parse::to_json(self)
    }

    /// Writes config.json into a model folder, and creates the folder if necessary. An older file
    /// stays in place until the new one is complete.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder or the file cannot be written.
    pub fn save_pretrained(&self, folder: impl AsRef<Path>) -> Result<(), Error> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
        files::replace(&folder.join(CONFIG_NAME), self.to_json().as_bytes())
    }

    /// A field that this crate does not know, such as one of your own head's.
    ///
    /// ```
    /// # use perceiver_models::{Error, PerceiverConfig};
    /// # fn main() -> Result<(), Error> {
    /// let config = PerceiverConfig::from_json(r#"{"sensors": 6}"#)?;
    /// let sensors: usize = config.field("sensors")?;
    /// assert_eq!(sensors, 6);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] naming the field if it is absent or of another type.
    pub fn field<T: DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        let value = self.extra.get(name);
        let value = value.ok_or_else(|| Error::config(name, "is absent, expected a value"))?;
        T::deserialize(value).map_err(|error| {
            // The error shows the value, however long.
            let error: String = error.to_string().chars().take(200).collect();
            Error::config(name, format!("cannot be read: {error}"))
        })
    }

    /// Sets a field that this crate does not know, for config.json. A field of this struct with the
    /// same name takes precedence.
    #[must_use]
    pub fn with_field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// Number of labels of the classification heads.
    #[must_use]
    pub fn num_labels(&self) -> usize {
        self.id2label.len()
    }

    /// Checks what every model needs and, if `architectures` names a known head, what
    /// that head needs.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field, its value and what was expected.
    pub fn validate(&self) -> Result<(), Error> {
        match self.head() {
            Ok(head) => self.validate_for(head),
            Err(_) => validate::encoder(self, None),
        }
    }

    /// Checks that an encoder over tokens of `channels` channels can be built: what a head of your
    /// own needs beside its own fields.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field, its value and what was expected.
    pub fn validate_encoder(&self, channels: usize) -> Result<(), Error> {
        validate::with_tokens(self, channels)
    }

    /// Checks that `head` can be built: sizes are positive, heads divide channels, residual sums
    /// fit, and there are at most 2⁴⁰ weights and 10 000 layers.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field, its value and what was expected.
    pub fn validate_for(&self, head: Head) -> Result<(), Error> {
        validate::with_head(self, head)
    }
}
