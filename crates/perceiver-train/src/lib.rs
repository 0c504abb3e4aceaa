#![doc = include_str!("../README.md")]

mod adamw;
mod loader;
mod objective;
mod trainee;

pub use adamw::AdamW;
pub use loader::{Collate, Loader, Skipped};
pub use objective::{
    Autoencoding, Clips, FlowEstimation, FlowPairs, ImageClassification, ImageClassifier,
    LabelledImages, LabelledTexts, MaskedLanguageModelling, MaskedTexts, Measure, Objective,
    Outcome, Quantity, SequenceClassification,
};
pub use trainee::{Trainee, UpdateRules};
