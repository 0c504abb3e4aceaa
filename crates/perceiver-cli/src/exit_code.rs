//! The exit codes of the program. The table in docs/guide.md lists them.

use std::io::{self, ErrorKind};

use anyhow::Error;
use perceiver_models::Error as ModelError;

use crate::atomic_output::WriteError;
use crate::batch::{BatchError, Unreadable};
use crate::commands::NoDevice;
use crate::interrupt::Interrupted;
use crate::output::StandardOutputError;

/// The work began, and some or all of it failed: examples that cannot be read, a full disk.
pub(crate) const FAILURE: u8 = 1;
/// The work was refused: a wrong command line, or input that cannot be used.
pub(crate) const REFUSED: u8 = 2;
/// A bug in this program, as Rust's own of a panic.
pub(crate) const BUG: u8 = 101;
/// The code that shells report for a program ended by Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// The exit code after an error.
pub(crate) fn after(error: &Error) -> u8 {
    let failed = error.is::<BatchError>()
        || error.is::<Unreadable>()
        || error.is::<NoDevice>()
        || error.is::<WriteError>()
        || error.is::<StandardOutputError>()
        || error.downcast_ref().is_some_and(perceiver_train::Error::had_begun)
        || model_error(error).is_some_and(|error| matches!(error, ModelError::NotFinite { .. }))
        || error.chain().filter_map(|cause| cause.downcast_ref()).any(is_exhausted)
        || hub_message(error)
            .and_then(code_in)
            .is_some_and(|code| is_exhausted(&io::Error::from_raw_os_error(code)));
    match failed {
        _ if error.is::<Interrupted>() => INTERRUPTED,
        true => FAILURE,
        false => REFUSED,
    }
}

/// Returns true if a configuration does not name the model's head.
pub(crate) fn lacks_head(error: &Error) -> bool {
    let is_absent = |error: &ModelError| {
        matches!(error, ModelError::Config { field, message, .. }
            if field == "architectures" && message.starts_with("is absent"))
    };
    // Some commands add the file's name to the error.
    model_error(error).is_some_and(is_absent)
        || error.chain().filter_map(|cause| cause.downcast_ref()).any(is_absent)
}

/// Returns true if the system lacked space, memory, threads or file handles, or a disk failed.
fn is_exhausted(error: &io::Error) -> bool {
    // EIO, ENFILE and EMFILE, which have no kind.
    let has_no_kind = cfg!(unix) && matches!(system_code(error), Some(5 | 23 | 24));
    has_no_kind
        || matches!(
            error.kind(),
            ErrorKind::StorageFull
                | ErrorKind::QuotaExceeded
                | ErrorKind::FileTooLarge
                | ErrorKind::OutOfMemory
                | ErrorKind::WouldBlock
        )
}

/// The system's number of an error. Crates that add a path to an error keep only the text.
fn system_code(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or_else(|| code_in(&error.to_string()))
}

fn code_in(text: &str) -> Option<i32> {
    let (_, rest) = text.split_once("(os error ")?;
    rest.split_once(')')?.0.parse().ok()
}

/// The message about a model that could not be downloaded, which contains the cause only as text.
fn hub_message(error: &Error) -> Option<&str> {
    match model_error(error)? {
        ModelError::Hub { message, .. } => Some(message),
        _ => None,
    }
}

/// The error of a model's files or of its outputs.
fn model_error<'a>(error: &'a Error) -> Option<&'a ModelError> {
    let of_run = |error: &'a perceiver_train::Error| match error {
        perceiver_train::Error::Model(error) => Some(error),
        _ => None,
    };
    let of_pipeline = |error: &'a perceiver_pipelines::Error| match error {
        perceiver_pipelines::Error::Model(error) => Some(error),
        _ => None,
    };
    let nested = error.downcast_ref().and_then(of_run);
    error.downcast_ref().or(nested).or_else(|| error.downcast_ref().and_then(of_pipeline))
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_system_at_its_limits_is_a_failure_wherever_the_error_comes_from() {
        let full = || io::Error::from(ErrorKind::StorageFull);
        let path = || "out".into();
        let data = perceiver_data::Error::Io { path: path(), action: "write", source: full() };
        let model = perceiver_models::Error::Io { path: path(), action: "write", source: full() };
        let run = perceiver_train::Error::Io { path: path(), action: "write", source: full() };
        let save = perceiver_train::Error::Save(Box::new(full()));
        let nested = perceiver_pipelines::Error::Data(perceiver_data::Error::Io {
            path: path(),
            action: "read",
            source: ErrorKind::OutOfMemory.into(),
        });
        let errors = [Error::from(data), model.into(), run.into(), save.into(), nested.into()];
        for error in errors {
            assert_eq!(after(&error), FAILURE, "{error:?}");
            assert_eq!(after(&error.context("first.png")), FAILURE);
        }
        #[cfg(unix)]
        for code in [5, 23, 24] {
            let error = io::Error::from_raw_os_error(code);
            let renamed = io::Error::new(error.kind(), format!("{error} at path \"x\""));
            assert_eq!([after(&error.into()), after(&renamed.into())], [FAILURE; 2]);
        }
        for (code, expected) in [(28, FAILURE), (24, FAILURE), (111, REFUSED)] {
            // As hf-hub prints it.
            let message = format!("failed: I/O error {}", io::Error::from_raw_os_error(code));
            let hub =
                || perceiver_models::Error::Hub { id: "a/b".into(), message: message.clone() };
            let init = perceiver_train::Error::Model(hub());
            assert_eq!([after(&hub().into()), after(&init.into())], [expected; 2], "{message}");
        }
        let absent = anyhow!(io::Error::from(ErrorKind::NotFound)).context("first.png");
        assert_eq!(after(&absent), REFUSED);
        assert_eq!(after(&anyhow!("first.png: no image")), REFUSED);
    }
}
