#![doc = include_str!("../README.md")]

mod adamw;
mod batch;
mod error;
mod evaluate;
mod loader;
mod objective;
pub mod recipe;
pub mod report;
pub mod run;
mod trainee;

pub use adamw::AdamW;
pub use batch::{
    ClipBatcher, ClipPoints, FlowBatcher, ImageBatcher, MaskedTextBatcher, TextBatcher,
};
pub use error::{Error, Result};
pub use evaluate::{Evaluation, Evaluator, Examples, Totals, longest_text};
pub use loader::{Collate, Loader, Skipped, validation_random};
pub use objective::{
    Autoencoding, Clips, FlowEstimation, FlowPairs, ImageClassification, ImageClassifier,
    LabelledImages, LabelledTexts, MaskedLanguageModelling, MaskedTexts, Measure, Objective,
    Outcome, Quantity, SequenceClassification,
};
pub use trainee::{Trainee, UpdateRules};
