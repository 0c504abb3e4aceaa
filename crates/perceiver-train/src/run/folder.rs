//! Checks of the folder of a run when a session begins.

use std::fs;
use std::path::Path;

use perceiver_models::CONFIG_NAME;

use super::lock::LOCK_NAME;
use super::{CHECKPOINTS_NAME, Resume};
use crate::report::{CARD_NAME, CURVE_NAME, LOG_NAME};
use crate::{Error, Result, WEIGHTS_NAME};

/// Checks that the folder holds a run to resume, or no other run, model or documents.
pub(crate) fn check_folder(folder: &Path, resume: Resume) -> Result<()> {
    let path = folder.to_path_buf();
    let holds = |name: &&str| path.join(name).exists();
    if holds_run(folder) {
        return match resume {
            Resume::Never => Err(Error::RunExists { path }),
            Resume::IfPossible | Resume::Only => Ok(()),
        };
    }
    if [CONFIG_NAME, WEIGHTS_NAME].iter().any(holds) {
        return Err(Error::ModelExists { path });
    }
    // The run would replace them.
    if let Some(name) = [CARD_NAME, CURVE_NAME].into_iter().find(holds) {
        let reason = format!("holds another {name}, expected a folder without one");
        return Err(Error::Settings { folder: path, reason });
    }
    match resume {
        Resume::Only => Err(Error::NothingToResume { path }),
        Resume::Never | Resume::IfPossible => Ok(()),
    }
}

/// If true, there is a log or a saved state. A lock alone is what a refused run leaves.
fn holds_run(folder: &Path) -> bool {
    let mut states = fs::read_dir(folder.join(CHECKPOINTS_NAME)).into_iter().flatten().flatten();
    folder.join(LOG_NAME).exists() || states.any(|entry| entry.file_name() != LOCK_NAME)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use crate::run::lock::FolderLock;

    #[test]
    fn a_lock_is_not_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let check = |resume| check_folder(folder.path(), resume).map_err(|e| e.to_string());
        drop(FolderLock::take(folder.path()).unwrap());
        assert_eq!([check(Resume::Never), check(Resume::IfPossible)], [Ok(()), Ok(())]);
        assert!(check(Resume::Only).unwrap_err().contains("nothing to resume"));
        fs::write(folder.path().join("checkpoints/settings.json"), "{}").unwrap();
        assert!(check(Resume::Never).unwrap_err().contains("holds a run already"));
        assert_eq!([check(Resume::IfPossible), check(Resume::Only)], [Ok(()), Ok(())]);
    }
}
