//! Checks of the paths to write to, made before any work is done for them.

use std::fs;
use std::io;
use std::path::{Path, is_separator};

use anyhow::{Context as _, Result, bail};

use crate::args::OutputArguments;
use crate::atomic_output::{AtomicOutput, folder_of};

impl OutputArguments {
    /// Refuses a file that cannot be written, or that exists without `--force`.
    pub(crate) fn check_file<'a>(&self, inputs: impl IntoIterator<Item = &'a Path>) -> Result<()> {
        self.refuse_inputs(inputs)?;
        check_file(&self.output, self.force.force)
    }

    /// Refuses a folder that cannot be written, or that holds something without `--force`.
    pub(crate) fn check_folder<'a>(
        &self,
        inputs: impl IntoIterator<Item = &'a Path>,
    ) -> Result<()> {
        self.refuse_inputs(inputs)?;
        check_parent(&self.output)?;
        check_folder(&self.output, self.force.force)
    }

    fn refuse_inputs<'a>(&self, inputs: impl IntoIterator<Item = &'a Path>) -> Result<()> {
        let Ok(output) = self.output.canonicalize() else { return Ok(()) };
        let is_output = |input: &Path| input.canonicalize().is_ok_and(|input| input == output);
        if !self.force.force && inputs.into_iter().any(is_output) {
            bail!("{}: is one of the inputs; --force replaces it", self.output.display());
        }
        Ok(())
    }
}

/// Refuses a file that cannot be written, or that exists unless `force` is set.
pub(crate) fn check_file(path: &Path, force: bool) -> Result<()> {
    let name = path.display();
    if path.as_os_str().to_string_lossy().ends_with(is_separator) {
        bail!("{name}: names a folder, expected a file");
    }
    check_parent(path)?;
    // Files are replaced whole, which must not happen to a device or a pipe.
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            bail!("{name}: cannot write: exists and is not a regular file")
        }
        _ => {}
    }
    if !force && fs::symlink_metadata(path).is_ok() {
        bail!("{name}: exists; --force replaces it");
    }
    AtomicOutput::probe(path, folder_of(path))
}

/// Refuses a folder that cannot be written, or that holds something unless `force` is set.
pub(crate) fn check_folder(path: &Path, force: bool) -> Result<()> {
    let name = path.display();
    match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
        Ok(false) if !force => {
            bail!("{name}: is not empty; --force writes into it anyway")
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).context(format!("{name}: cannot use as a folder")),
    }
    check_writable(path)
}

/// Refuses a folder in which no file can be created. It and folders above it may be missing.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    let above = path.ancestors().find(|folder| folder.exists());
    AtomicOutput::probe(path, above.unwrap_or(Path::new(".")))
}

fn check_parent(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        let fault = if folder.exists() { "is not a folder" } else { "does not exist" };
        bail!("{}: cannot write: {} {fault}", path.display(), folder.display());
    }
    Ok(())
}
