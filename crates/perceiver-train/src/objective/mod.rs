//! Training objectives: a head, its batches, and the loss and metrics of its answers.

pub(crate) mod any_data;
mod autoencoding;
mod classification;
pub(crate) mod image_classification;
mod masked_lm;
mod optical_flow;
pub(crate) mod sequence_classification;
mod step_output;

use std::fmt::Debug;

use burn::module::{Module, ModuleDisplay};

pub use self::any_data::AnyDataTraining;
pub use self::autoencoding::{Autoencoding, ClipBatch};
pub use self::image_classification::{ImageClassification, ImageClassifier, LabelledImages};
pub use self::masked_lm::{MaskedLanguageModelling, MaskedTexts};
pub use self::optical_flow::{FlowBatch, FlowEstimation};
pub use self::sequence_classification::{LabelledTexts, SequenceClassification};
pub use self::step_output::{Measure, StepOutput};

/// A head together with its loss. Implement it to train a model of your own.
pub trait Objective: Module + ModuleDisplay + 'static {
    /// The part that is saved: any burn module.
    type Head: Module;
    /// Inputs and targets of some examples, on a device.
    type Batch: Debug + Send + 'static;

    /// The head, to be saved.
    fn head(&self) -> &Self::Head;

    /// Runs the head on a batch and compares its answers with the targets.
    ///
    /// # Panics
    /// If the batch's shapes do not fit the head or each other.
    fn step(&self, batch: Self::Batch) -> StepOutput;
}
