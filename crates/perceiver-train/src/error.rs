//! The one error of this crate.

use std::io;
use std::path::PathBuf;

/// What can be wrong with the files of a run.
///
/// Every message is one line that begins with the file's path.
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
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
