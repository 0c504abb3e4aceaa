//! Files and folders that come into their place only when they are complete.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, anyhow};
use perceiver_models::temporary_prefix;

/// What a shell reports of a program that Ctrl-C ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// Work that was stopped in good order, and how to go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Interrupted(pub(crate) String);

/// Everything that is being written.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Folders into which perceiver-models writes, under names of its own.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A file or folder beside the one that it becomes; removed if it is never finished.
#[derive(Debug)]
pub(crate) struct Unfinished {
    path: PathBuf,
    destination: PathBuf,
}

impl Unfinished {
    /// A new empty file that becomes `destination`, with the same ending.
    pub(crate) fn file(destination: &Path) -> Result<Self> {
        Self::create(destination, |builder, folder| {
            // As any new file, readable by whom the user's mask allows; temporary files are not.
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
            builder.tempfile_in(folder)?.into_temp_path().keep().map_err(|error| error.error)
        })
    }

    /// A new empty folder that becomes `destination`.
    pub(crate) fn folder(destination: &Path) -> Result<Self> {
        Self::create(destination, |builder, folder| {
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
            Ok(builder.tempdir_in(folder)?.keep())
        })
    }

    fn create(
        destination: &Path,
        make: impl FnOnce(&mut tempfile::Builder<'_, '_>, &Path) -> io::Result<PathBuf>,
    ) -> Result<Self> {
        let ending = destination.extension().and_then(|ending| ending.to_str());
        let ending = ending.map(|ending| format!(".{ending}")).unwrap_or_default();
        let mut builder = tempfile::Builder::new();
        builder.prefix(".perceiver-").suffix(&ending);
        // Held while the file is made, so that an interruption finds it in the list.
        let mut list = list();
        let path = make(&mut builder, folder_of(destination))
            .with_context(|| format!("{}: cannot write", destination.display()))?;
        list.push(path.clone());
        Ok(Self { path, destination: destination.to_path_buf() })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An error about this file as one about what it becomes.
    pub(crate) fn named(&self, error: impl std::error::Error) -> anyhow::Error {
        let (path, destination) = (self.path.display(), self.destination.display());
        anyhow!(error.to_string().replacen(&path.to_string(), &destination.to_string(), 1))
    }

    /// Puts it in its place. A folder's files go into a folder that is there already.
    pub(crate) fn finish(self) -> Result<()> {
        let moved = if self.path.is_dir() && self.destination.is_dir() {
            move_entries(&self.path, &self.destination)
        } else {
            fs::rename(&self.path, &self.destination)
        };
        moved.with_context(|| format!("{}: cannot write", self.destination.display()))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        remove(&self.path);
        list().retain(|path| *path != self.path);
    }
}

fn move_entries(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::rename(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// The folder of a file.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Has an interruption remove what perceiver-models has not finished in a folder.
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

/// What stops long work in good order, taken by the first interruption.
static STOP: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);

/// Has the first interruption stop long work by `stop`. The next one ends the program.
pub(crate) fn stop_first(stop: impl FnOnce() + Send + 'static) {
    *STOP.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(stop));
}

/// Removes what was not finished when the user or the system ends the program.
pub(crate) fn clean_up_when_interrupted() {
    // Without a handler the program ends as well, and leaves its files.
    let _ = ctrlc::set_handler(|| {
        if let Some(stop) = STOP.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return stop();
        }
        let list = list();
        list.iter().for_each(|path| remove(path));
        let folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
        folders.iter().for_each(|folder| sweep(folder));
        process::exit(INTERRUPTED.into())
    });
}

/// What cannot be removed stays: there is nothing better to do with it.
fn remove(path: &Path) {
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

fn list() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn entries(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_takes_its_place_when_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let file = Unfinished::file(&folder.path().join("a.png")).unwrap();
        fs::write(file.path(), "pixels").unwrap();
        assert!(file.path().extension().is_some_and(|ending| ending == "png"));
        file.finish().unwrap();
        assert_eq!(entries(folder.path()), ["a.png"]);
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(Unfinished::file(&folder.path().join("a.png")).unwrap());
        let frames = Unfinished::folder(&folder.path().join("frames")).unwrap();
        fs::write(frames.path().join("1.png"), "pixels").unwrap();
        drop(frames);
        assert!(entries(folder.path()).is_empty());
    }

    #[test]
    fn a_folder_s_files_join_those_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("frames");
        fs::create_dir(&there).unwrap();
        fs::write(there.join("notes.txt"), "mine").unwrap();
        let frames = Unfinished::folder(&there).unwrap();
        fs::write(frames.path().join("1.png"), "pixels").unwrap();
        frames.finish().unwrap();
        assert_eq!(entries(&there), ["1.png", "notes.txt"]);
        assert_eq!(entries(folder.path()), ["frames"]);
    }

    #[test]
    fn only_what_this_process_left_of_a_model_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let ours = format!("{}a.part", temporary_prefix());
        for name in [&ours, ".perceiver-0-a.part", "model.safetensors"] {
            fs::write(folder.path().join(name), "weights").unwrap();
        }
        sweep(folder.path());
        assert_eq!(entries(folder.path()), [".perceiver-0-a.part", "model.safetensors"]);
    }
}
