//! The one error of this crate.

use std::io;
use std::path::{Path, PathBuf};

use crate::report::Part;

/// Why a run, a recipe or an evaluation failed.
///
/// Every message is one line; messages about a file begin with its path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The action, as a verb: `read`, `write`.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },

    /// A line of a run's log is damaged or foreign.
    #[error("{}:{line}: not a line of a run's log: {source}", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The parser's error.
        source: serde_json::Error,
    },

    /// A recipe, or data it names, is wrong.
    #[error("{}: {reason}", path.display())]
    Recipe {
        /// The recipe, or the file it names.
        path: PathBuf,
        /// The place, the value found and the value expected.
        reason: String,
    },

    /// A folder holds a run already.
    #[error("{}: holds a run already; resume it or choose another folder", path.display())]
    RunExists {
        /// The folder.
        path: PathBuf,
    },

    /// A folder holds a model already, and no run to resume.
    #[error("{}: holds a model already; choose another folder", path.display())]
    ModelExists {
        /// The folder.
        path: PathBuf,
    },

    /// Settings of a run contradict each other or its loaders.
    #[error("{}: {reason}", folder.display())]
    Settings {
        /// The run's folder.
        folder: PathBuf,
        /// The contradiction.
        reason: String,
    },

    /// A folder holds no run that could be resumed.
    #[error("{}: nothing to resume: it holds no run", path.display())]
    NothingToResume {
        /// The folder.
        path: PathBuf,
    },

    /// Another process trains in a folder.
    #[error("{}: in use: another process trains there", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },

    /// The saved states of a run belong to other settings.
    #[error(
        "{}: `{key}` is {found}, the saved run has {saved}; steps, intervals, workers and \
         devices may change, see docs/training.md",
        path.display()
    )]
    OtherRun {
        /// The folder.
        path: PathBuf,
        /// The setting, such as `model.num_latents`.
        key: String,
        /// Its value, shortened.
        found: String,
        /// Its value in the saved run, shortened.
        saved: String,
    },

    /// Saved states of a run cannot be read.
    #[error("{}: damaged: {reason}", path.display())]
    SavedState {
        /// The file.
        path: PathBuf,
        /// The problem.
        reason: String,
    },

    /// Weights in a file belong to another model: another shape, or other parameters.
    #[error("{}: weights of another model: {reason}", path.display())]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// The parameter, and what the file and the model have.
        reason: String,
    },

    /// Weights could not be read or written.
    #[error("{}: {reason}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// burn's error.
        reason: String,
    },

    /// A training or validation example is wrong.
    #[error(transparent)]
    Data(#[from] perceiver_data::Error),

    /// A model could not be read or written.
    #[error(transparent)]
    Model(#[from] perceiver_models::Error),

    /// A function that saves the best weights failed.
    #[error("cannot save the best weights: {0}")]
    Save(#[from] Box<dyn std::error::Error + Send + Sync>),

    /// The loss is NaN or infinite, and so are weights: the log of this step is worthless.
    #[error("loss is not finite at step {step}; a smaller learning rate or clipping may help")]
    Diverged {
        /// The step.
        step: usize,
    },

    /// The loss is NaN or infinite, though all weights are finite.
    #[error(
        "loss is not finite at step {step} with finite weights: examples hold NaN, infinite or huge \
         numbers, or the learning rate is too large"
    )]
    NotFinite {
        /// The step.
        step: usize,
    },

    /// A metric counted no example, so its mean is undefined.
    #[error("metric `{metric}` counted no examples in the {part} part at step {step}")]
    EmptyMetric {
        /// Name of the metric.
        metric: String,
        /// The part of the data.
        part: Part,
        /// Steps made so far.
        step: usize,
    },

    /// A metric counted no example of an evaluation, so its mean is undefined.
    #[error("metric `{metric}` counted no examples")]
    EmptyEvaluation {
        /// Name of the metric.
        metric: String,
    },

    /// A measure of some examples of an evaluation is NaN or infinite.
    #[error("{measure} of {} is {value}, expected a finite number", range(*first, *last))]
    EvaluationNotFinite {
        /// The loss or a metric.
        measure: String,
        /// The first of these examples, from 1.
        first: usize,
        /// The last of them.
        last: usize,
        /// Its value.
        value: f64,
    },

    /// An evaluation has no result.
    #[error("{}: {reason}", path.display())]
    NoResult {
        /// The model's folder.
        path: PathBuf,
        /// The cause.
        reason: String,
    },

    /// A shuffled loader has no end and no fixed order, so nothing can be evaluated on it.
    #[error("evaluation loader is shuffled, expected a fixed order")]
    ShuffledEvaluation,

    /// burn's learner ended a run: no example could be read, a thread that prepares batches
    /// panicked, or a checkpoint could not be written.
    #[error("{0}")]
    Training(String),

    /// A model cannot be evaluated on such data.
    #[error("{}: {reason}", path.display())]
    Evaluation {
        /// The model's folder, or the data.
        path: PathBuf,
        /// The mismatch.
        reason: String,
    },
}

fn range(first: usize, last: usize) -> String {
    if first == last { format!("example {first}") } else { format!("examples {first} to {last}") }
}

impl Error {
    /// If true, the work had begun: the data could not be read or measured, or training failed. If
    /// false, a setting or an input was refused.
    #[must_use]
    pub const fn had_begun(&self) -> bool {
        matches!(
            self,
            Self::Diverged { .. }
                | Self::NotFinite { .. }
                | Self::EmptyMetric { .. }
                | Self::Training(_)
                | Self::EmptyEvaluation { .. }
                | Self::EvaluationNotFinite { .. }
                | Self::NoResult { .. }
        )
    }

    /// The error of a recipe.
    pub(crate) fn recipe(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Recipe { path: path.to_path_buf(), reason: reason.to_string() }
    }

    /// The error of an evaluation.
    pub(crate) fn evaluation(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Evaluation { path: path.to_path_buf(), reason: reason.to_string() }
    }

    /// The error of an action on a file.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_path_buf(), action, source }
    }
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
