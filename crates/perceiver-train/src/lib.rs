#![doc = include_str!("../README.md")]

mod adamw;
mod any_data;
mod batch;
mod error;
mod evaluate;
mod loader;
mod metric;
mod objective;
mod pack;
pub mod recipe;
pub mod report;
mod run;
mod totals;
mod training_model;
mod weights;

pub use perceiver_data as data;
pub use perceiver_models as models;
pub use rand;
pub use rand_chacha::ChaCha8Rng;

pub use adamw::AdamW;
pub use any_data::{Answer, AnyDataBatch, Predictor};
pub use batch::{
    ClipBatcher, ClipPoints, FlowBatcher, ImageBatcher, MaskedTextBatcher, TextBatcher,
};
pub use error::{Error, Result};
pub use evaluate::{
    Baseline, Evaluation, EvaluationData, Evaluator, Examples, FlowEvaluation, FlowSums, evaluate,
};
pub use loader::{Collate, Loader, LoaderBuilder, Skipped, validation_random};
pub use metric::{Metric, MetricValues};
pub use objective::{
    AnyDataTraining, Autoencoding, ClipBatch, FlowBatch, FlowEstimation, ImageClassification,
    ImageClassifier, LabelledImages, LabelledTexts, MaskedLanguageModelling, MaskedTexts, Measure,
    Objective, SequenceClassification, StepOutput,
};
pub use run::{CHECKPOINTS_NAME, Ending, Finished, StopHandle, TrainingEvent, TrainingRun};
pub use training_model::{TrainingModel, UpdateRules};
pub use weights::{WEIGHTS_NAME, load_weights, save_weights};
