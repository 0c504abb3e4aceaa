//! Interruption by the user or the system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
#[cfg(unix)]
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use perceiver_models::temporary_prefix;

use crate::atomic_output::{remove, remove_incomplete};
use crate::exit_code;

/// Work that stopped in an orderly way, with a message that says how to continue.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Interrupted(pub(crate) String);

/// Folders in which perceiver-models writes temporary files.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Stops long work in an orderly way; the first interruption takes it.
static STOP: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);

/// Installs the handler that removes incomplete outputs and ends the program.
pub(crate) fn handle_interruptions() {
    // Without the handler, an interruption still ends the program but leaves incomplete files.
    let _ = ctrlc::set_handler(|| {
        if let Some(stop) = STOP.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return stop();
        }
        let _no_new_outputs = remove_incomplete();
        let folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
        folders.iter().for_each(|folder| sweep(folder));
        process::exit(exit_code::INTERRUPTED.into())
    });
}

/// Lets writing beyond a limit on the size of files fail as on a full disk; otherwise the system's
/// signal ends the program and leaves incomplete outputs.
#[cfg(unix)]
pub(crate) fn outlive_file_size_limits() {
    // A signal with a handler is as good as ignored, and the handler's flag is of no use.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// Lets the first interruption call `stop`; the next one ends the program.
pub(crate) fn stop_first(stop: impl FnOnce() + Send + 'static) {
    *STOP.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(stop));
}

/// Lets an interruption remove the temporary files of perceiver-models in a folder.
pub(crate) fn sweep_when_interrupted(folder: &Path) {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).push(folder.to_path_buf());
}

fn sweep(folder: &Path) {
    let prefix = temporary_prefix();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            remove(&entry.path());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn sweeping_removes_only_the_files_of_this_process() {
        let folder = tempfile::tempdir().unwrap();
        let ours = format!("{}a.part", temporary_prefix());
        for name in [&ours, ".perceiver-0-a.part", "model.safetensors"] {
            fs::write(folder.path().join(name), "weights").unwrap();
        }
        sweep(folder.path());
        let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, [".perceiver-0-a.part", "model.safetensors"]);
    }
}
