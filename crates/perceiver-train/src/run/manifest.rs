//! The file of a checkpoint that ties its other files to one step of one run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::reports::write_whole;
use super::tied_settings::{SETTINGS_NAME, read_saved};
use crate::pack::regular_file_size;
use crate::{Error, Result};

/// Name of the file in the folder of a checkpoint.
pub(super) const MANIFEST_NAME: &str = "state.json";

/// The step of a checkpoint and the contents of its files. Checkpoints of older versions have none.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct Manifest {
    step: usize,
    /// The run's settings, beside the checkpoints. None if there were none.
    settings: Option<Content>,
    files: BTreeMap<String, Content>,
}

/// The size of a file and the checksum of its bytes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
struct Content {
    bytes: u64,
    crc32: u32,
}

impl Manifest {
    /// Describes the files of a checkpoint in `folder`. The settings are in `run`.
    pub(super) fn new(step: usize, folder: &Path, run: &Path, names: &[&str]) -> Result<Self> {
        let files = names.iter().map(|name| Ok(((*name).to_owned(), content(&folder.join(name))?)));
        let files = files.collect::<Result<_>>()?;
        Ok(Self { step, settings: settings(run)?, files })
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        write_whole(&folder.join(MANIFEST_NAME), &text)
    }

    /// Checks that a folder holds the files that this step of this run saved.
    pub(super) fn check(step: usize, folder: &Path, run: &Path, names: &[&str]) -> Result<()> {
        let path = folder.join(MANIFEST_NAME);
        let Some(bytes) = read_saved(&path)? else { return Ok(()) };
        let damaged = |path: &Path, reason: String| {
            Err(Error::SavedState { path: path.to_path_buf(), reason })
        };
        let saved: Self = match serde_json::from_slice(&bytes) {
            Ok(saved) => saved,
            Err(error) => return damaged(&path, error.to_string()),
        };
        if saved.step != step {
            return damaged(folder, format!("holds the states of step {}", saved.step));
        }
        for name in names {
            let (path, saved) = (folder.join(name), saved.files.get(*name));
            if saved != Some(&content(&path)?) {
                return damaged(&path, format!("not the file that step {step} of this run saved"));
            }
        }
        let settings = settings(run)?;
        if settings.is_some() && saved.settings.is_some() && settings != saved.settings {
            return damaged(folder, "holds the states of a run with other settings".to_owned());
        }
        Ok(())
    }
}

fn settings(run: &Path) -> Result<Option<Content>> {
    let path = run.join(SETTINGS_NAME);
    if path.exists() { content(&path).map(Some) } else { Ok(None) }
}

fn content(path: &Path) -> Result<Content> {
    regular_file_size(path)?;
    let cannot_read = || Error::io(path, "read");
    let mut file = File::open(path).map_err(cannot_read())?;
    let (mut hasher, mut bytes) = (crc32fast::Hasher::new(), 0);
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(Content { bytes, crc32: hasher.finalize() }),
            Ok(read) => {
                hasher.update(&block[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(cannot_read()(error)),
        }
    }
}
