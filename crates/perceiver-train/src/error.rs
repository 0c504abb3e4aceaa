//! The one error of this crate.

use std::io;
use std::path::{Path, PathBuf};

/// What can be wrong with a run and its files.
///
/// Every message is one line, and those about a file begin with its path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb: `read`, `write`.
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
        /// What the parser met.
        source: serde_json::Error,
    },

    /// A recipe, or data it names, is not what it should be.
    #[error("{}: {reason}", path.display())]
    Recipe {
        /// The recipe, or the file it names.
        path: PathBuf,
        /// The place, what stands there and what was expected.
        reason: String,
    },

    /// A folder holds a run already.
    #[error("{}: holds a run already, which can be resumed; or choose another folder", path.display())]
    RunExists {
        /// The folder.
        path: PathBuf,
    },

    /// A folder holds a model already, and no run that could go on.
    #[error("{}: holds a model already; choose another folder", path.display())]
    ModelExists {
        /// The folder.
        path: PathBuf,
    },

    /// Examples could not be read.
    #[error(transparent)]
    Data(#[from] perceiver_data::Error),

    /// A model could not be read or written.
    #[error(transparent)]
    Model(#[from] perceiver_models::Error),

    /// The loss left the numbers: weights and log of this step are worthless.
    #[error("the loss is no number at step {step}; a smaller learning rate or clipping may help")]
    Diverged {
        /// Steps that had been made.
        step: usize,
    },

    /// Burn's learner ended a run: no example could be read, a thread that prepares batches
    /// panicked, or a checkpoint could not be written.
    #[error("{0}")]
    Training(String),

    /// A model cannot be measured on such data.
    #[error("{}: {reason}", folder.display())]
    Evaluation {
        /// The model's folder.
        folder: PathBuf,
        /// What does not fit.
        reason: String,
    },
}

impl Error {
    /// What is wrong with a recipe.
    pub(crate) fn recipe(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Recipe { path: path.to_path_buf(), reason: reason.to_string() }
    }

    /// The error of an action on a file.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_path_buf(), action, source }
    }
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
