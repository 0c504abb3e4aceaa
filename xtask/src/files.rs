//! Files of the workspace that commands write.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Puts a text in a file's place, beside which it is written first: whoever interrupts finds the
/// old text or the new one.
pub(crate) fn replace(path: &Path, text: &str) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
