#![doc = include_str!("../README.md")]

mod ahead;
mod attend;
mod autoencode;
mod best_texts;
mod classify;
mod clips;
mod error;
mod features;
mod fill_mask;
mod input;
mod latent_rows;
mod masked_text;
mod optical_flow;
mod preparation;
mod progress;
mod reader;
mod squared_error;
mod text;

pub use attend::{
    Attend, AttendLayer, AttendOptions, AttendTiles, Attention, AttentionMap, Character, Places,
};
pub use autoencode::{Autoencode, Reconstruction};
pub use classify::{
    Classification, Classifications, Classify, ClassifyOptions, ScoreKind, ScoredLabel,
};
pub use clips::{Clip, Clips};
pub use error::{Error, Result};
pub use features::{FeatureArrays, Features, FeaturesOptions, Pooling};
pub use fill_mask::{Candidate, FillMask, FillMaskOptions, FilledText, MaskedSpan};
pub use input::Input;
pub use optical_flow::{OpticalFlow, OpticalFlowOptions};
pub use progress::Progress;
pub use reader::Timings;
pub use squared_error::SquaredError;
