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
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(Error::io(&path, "write"))?;
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
}
