#![doc = include_str!("../README.md")]

mod best_texts;
mod classify;
mod error;
mod fill_mask;
mod progress;
mod text;

pub use classify::{Classification, Classify, ClassifyInput, ScoreKind, ScoredLabel};
pub use error::{Error, Result};
pub use fill_mask::{Candidate, FillMask, FilledText, MaskedSpan};
pub use progress::Progress;
