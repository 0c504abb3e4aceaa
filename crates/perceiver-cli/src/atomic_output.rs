//! Files and folders that appear at their destination only once they are complete.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, anyhow};

/// Every incomplete output, so that an interruption can remove it.
static INCOMPLETE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A temporary file or folder beside its destination; removed if it is never finished.
#[derive(Debug)]
pub(crate) struct AtomicOutput {
    path: PathBuf,
    destination: PathBuf,
}

impl AtomicOutput {
    /// A new empty file that becomes `destination`, with the same extension.
    pub(crate) fn file(destination: &Path) -> Result<Self> {
        Self::file_in(folder_of(destination), destination)
    }

    /// Finds out that no file can be created in the folder in which an output is to appear.
    pub(crate) fn probe(destination: &Path, folder: &Path) -> Result<()> {
        Self::file_in(folder, destination).map(drop)
    }

    fn file_in(folder: &Path, destination: &Path) -> Result<Self> {
        Self::create(destination, |builder| {
            // Temporary files are private by default; like any new file, this one follows the
            // user's mask.
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
            builder.tempfile_in(folder)?.into_temp_path().keep().map_err(|error| error.error)
        })
    }

    /// A new empty folder that becomes `destination`.
    pub(crate) fn folder(destination: &Path) -> Result<Self> {
        Self::create(destination, |builder| {
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
            Ok(builder.tempdir_in(folder_of(destination))?.keep())
        })
    }

    fn create(
        destination: &Path,
        make: impl FnOnce(&mut tempfile::Builder<'_, '_>) -> io::Result<PathBuf>,
    ) -> Result<Self> {
        let extension = destination.extension().and_then(|extension| extension.to_str());
        let extension = extension.map(|extension| format!(".{extension}")).unwrap_or_default();
        let mut builder = tempfile::Builder::new();
        builder.prefix(".perceiver-").suffix(&extension);
        // Locked while the file is created, so that an interruption finds it in the list.
        let mut incomplete = incomplete();
        let path = make(&mut builder)
            .with_context(|| format!("{}: cannot write", destination.display()))?;
        incomplete.push(path.clone());
        Ok(Self { path, destination: destination.to_path_buf() })
    }

    /// The path to write to.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same error with the destination's path instead of the temporary one.
    pub(crate) fn named(&self, error: &impl std::error::Error) -> anyhow::Error {
        anyhow!(self.renamed(error))
    }

    /// The error of writing to the path, as [`named`](Self::named).
    pub(crate) fn failed(&self, error: &perceiver_data::Error) -> anyhow::Error {
        match error {
            perceiver_data::Error::FrameSize { .. } => self.named(error),
            _ => WriteError(self.renamed(error)).into(),
        }
    }

    fn renamed(&self, error: &impl std::error::Error) -> String {
        let (path, destination) = (self.path.display(), self.destination.display());
        error.to_string().replacen(&path.to_string(), &destination.to_string(), 1)
    }

    /// Moves the output to its destination; files of a folder move into an existing one.
    pub(crate) fn finish(self) -> Result<()> {
        let moved = if self.path.is_dir() && self.destination.is_dir() {
            move_entries(&self.path, &self.destination)
        } else {
            fs::rename(&self.path, &self.destination)
        };
        moved.map_err(|error| WriteError::new(&self.destination, &error).into())
    }
}

/// An output could not be written although the work for it was done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WriteError(String);

impl WriteError {
    fn new(path: &Path, error: &io::Error) -> Self {
        Self(format!("{}: cannot write: {error}", path.display()))
    }
}

/// Writes a file that appears at its path only once it is complete and on the disk.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    complete(path, bytes)?.finish()
}

/// A file that is complete and on the disk, but not yet at its path.
pub(crate) fn complete(path: &Path, bytes: &[u8]) -> Result<AtomicOutput> {
    let output = AtomicOutput::file(path)?;
    let write = || -> io::Result<()> {
        let mut file = File::create(output.path())?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| WriteError::new(path, &error))?;
    Ok(output)
}

impl Drop for AtomicOutput {
    fn drop(&mut self) {
        remove(&self.path);
        incomplete().retain(|path| *path != self.path);
    }
}

/// Removes every incomplete output and blocks the creation of others while the guard lives.
pub(crate) fn remove_incomplete() -> MutexGuard<'static, Vec<PathBuf>> {
    let incomplete = incomplete();
    incomplete.iter().for_each(|path| remove(path));
    incomplete
}

/// The folder of a file.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes a file or folder, or leaves it if that fails: nothing better can be done.
pub(crate) fn remove(path: &Path) {
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

fn move_entries(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::rename(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn incomplete() -> MutexGuard<'static, Vec<PathBuf>> {
    INCOMPLETE.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn a_file_appears_at_its_destination_once_finished() {
        let folder = tempfile::tempdir().unwrap();
        let file = AtomicOutput::file(&folder.path().join("a.png")).unwrap();
        fs::write(file.path(), "pixels").unwrap();
        assert!(file.path().extension().is_some_and(|extension| extension == "png"));
        file.finish().unwrap();
        assert_eq!(entries(folder.path()), ["a.png"]);
    }

    #[test]
    fn an_unfinished_output_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(AtomicOutput::file(&folder.path().join("a.png")).unwrap());
        let frames = AtomicOutput::folder(&folder.path().join("frames")).unwrap();
        fs::write(frames.path().join("1.png"), "pixels").unwrap();
        drop(frames);
        assert!(entries(folder.path()).is_empty());
    }

    #[test]
    fn a_folder_s_files_join_the_existing_ones() {
        let folder = tempfile::tempdir().unwrap();
        let existing = folder.path().join("frames");
        fs::create_dir(&existing).unwrap();
        fs::write(existing.join("notes.txt"), "mine").unwrap();
        let frames = AtomicOutput::folder(&existing).unwrap();
        fs::write(frames.path().join("1.png"), "pixels").unwrap();
        frames.finish().unwrap();
        assert_eq!(entries(&existing), ["1.png", "notes.txt"]);
        assert_eq!(entries(folder.path()), ["frames"]);
    }
}
