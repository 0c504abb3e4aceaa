//! Perceiver model heads for burn, with Hugging Face configurations and checkpoints.

mod any;
mod architecture;
mod checkpoint;
mod config;
mod error;
mod files;
mod heads;
pub mod hub;
pub mod losses;
mod model;
mod named;

pub use any::{AnyPerceiver, Pretrained, from_pretrained};
pub use checkpoint::{
    Checkpoint, KeyMap, LoadOptions, LoadReport, NonFinite, SaveOptions, TensorInfo, load_module,
    save_pretrained, write_tensors,
};
pub use config::{CONFIG_NAME, CrossAttentionShape, Head, ImageSize, PerceiverConfig, ProblemType};
pub use error::Error;
pub use files::temporary_prefix;
pub use heads::{
    PerceiverClassifierOutput, PerceiverForImageClassificationConvProcessing,
    PerceiverForImageClassificationFourier, PerceiverForImageClassificationLearned,
    PerceiverForMaskedLM, PerceiverForMultimodalAutoencoding, PerceiverForOpticalFlow,
    PerceiverForSequenceClassification, PerceiverMaskedLMOutput, PretrainedModel,
};
pub use model::{
    CrossAttentionMaps, Encoded, NoDecoder, NoPostprocessor, NoPreprocessor, PerceiverModel,
    PerceiverModelOutput,
};
pub use named::{ForwardOptions, NamedTensors};

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
