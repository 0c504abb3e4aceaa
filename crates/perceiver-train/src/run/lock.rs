use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use super::CHECKPOINTS_NAME;
use crate::{Error, Result};

/// Name of the lock in the folder of checkpoints. The file stays: removing it would let two processes
/// lock two files of this name.
pub(super) const LOCK_NAME: &str = "lock";

/// Keeps other runs out of a folder. The system releases it however the process ends.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks the folder of a run, and creates it if necessary.
    pub(super) fn take(folder: &Path) -> Result<Self> {
        let checkpoints = folder.join(CHECKPOINTS_NAME);
        fs::create_dir_all(&checkpoints).map_err(Error::io(&checkpoints, "create"))?;
        let path = checkpoints.join(LOCK_NAME);
        let file = open_lock(&path).map_err(Error::io(&path, "write"))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Error::InUse { path: folder.to_path_buf() }),
            // Some file systems have no locks; a run there is as safe as before there were any.
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
                Err(Error::io(&path, "lock")(error))
            }
            _ => Ok(Self { _file: file }),
        }
    }
}

/// Opens the lock, or creates it. A link would create or lock a file elsewhere.
fn open_lock(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match File::options().write(true).create_new(true).open(path) {
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open_lock(path),
                file => file,
            }
        }
        Err(error) => Err(error),
        Ok(found) if found.is_file() => File::options().write(true).open(path),
        Ok(_) => Err(io::Error::other("not a regular file")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_run_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("run");
        let first = FolderLock::take(&folder).unwrap();
        let error = FolderLock::take(&folder).unwrap_err().to_string();
        assert_eq!(error, format!("{}: in use: another process trains there", folder.display()));
        drop(first);
        assert!(FolderLock::take(&folder).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_that_is_a_link_is_refused_and_leaves_its_target_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (run, elsewhere) = (folder.path().join("run"), folder.path().join("elsewhere"));
        fs::create_dir_all(run.join(CHECKPOINTS_NAME)).unwrap();
        let link = run.join(CHECKPOINTS_NAME).join(LOCK_NAME);
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        let error = FolderLock::take(&run).unwrap_err().to_string();
        let expected = format!("{}: cannot write: not a regular file", link.display());
        assert_eq!(error, expected);
        assert!(!elsewhere.exists());
        fs::write(&elsewhere, "mine").unwrap();
        assert_eq!(FolderLock::take(&run).unwrap_err().to_string(), expected);
        assert_eq!(fs::read(&elsewhere).unwrap(), b"mine");
    }
}
