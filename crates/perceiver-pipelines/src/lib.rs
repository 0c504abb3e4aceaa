#![doc = include_str!("../README.md")]

mod autoencode;
mod best_texts;
mod classify;
mod clips;
mod error;
mod fill_mask;
mod progress;
mod squared_error;
mod text;

pub use autoencode::{Autoencode, Reconstruction};
pub use classify::{Classification, Classify, ClassifyInput, ScoreKind, ScoredLabel};
pub use clips::{Clip, Clips};
pub use error::{Error, Result};
pub use fill_mask::{Candidate, FillMask, FilledText, MaskedSpan};
pub use progress::Progress;
pub use squared_error::SquaredError;
