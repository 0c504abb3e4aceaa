//! Perceiver model heads for burn, with Hugging Face configurations and checkpoints.

mod checkpoint;
mod config;
mod error;
mod files;

pub use checkpoint::{
    Checkpoint, KeyMap, LoadOptions, LoadReport, NonFinite, SaveOptions, TensorInfo, load_module,
    save_pretrained, write_tensors,
};
pub use config::{CONFIG_NAME, CrossAttentionShape, Head, ImageSize, PerceiverConfig, ProblemType};
pub use error::Error;
