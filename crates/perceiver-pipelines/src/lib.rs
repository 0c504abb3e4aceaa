#![doc = include_str!("../README.md")]

mod best_texts;
mod classify;
mod error;
mod fill_mask;
mod text;

pub use classify::{Classification, Classify, ClassifyInput, ScoreKind, ScoredLabel};
pub use error::{Error, Result};
pub use fill_mask::{Candidate, FillMask, FilledText, MaskedSpan};
