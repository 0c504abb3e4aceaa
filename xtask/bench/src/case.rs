//! The rows of the comparison.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::reference;
use perceiver_workspace::{program, python, root, run};

/// The work of a pass, by the name that both workers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Forward,
    Clip,
    Train,
}

impl Task {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Clip => "clip",
            Self::Train => "train",
        }
    }
}

/// One row of the comparison.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) task: Task,
    /// The checkpoint's name in tests/generate/full_size.py.
    pub(super) checkpoint: &'static str,
    /// Examples per pass, unless `--head NAME:BATCH` sets them.
    pub(super) batch: usize,
    /// Passes after the first, unless `--repeats` sets them.
    pub(super) repeats: usize,
}

const fn forward(name: &'static str) -> Case {
    Case { name, task: Task::Forward, checkpoint: name, batch: 1, repeats: 5 }
}

const fn train(name: &'static str, checkpoint: &'static str) -> Case {
    Case { name, task: Task::Train, checkpoint, batch: 2, repeats: 3 }
}

const fn small(name: &'static str, checkpoint: &'static str, batch: usize) -> Case {
    Case { name, task: Task::Train, checkpoint, batch, repeats: 20 }
}

/// The order of the page.
pub(super) const CASES: [Case; 11] = [
    forward("language"),
    forward("vision-learned"),
    forward("vision-fourier"),
    forward("vision-conv"),
    forward("optical-flow"),
    forward("multimodal"),
    Case { name: "clip", task: Task::Clip, checkpoint: "multimodal", batch: 1, repeats: 1 },
    train("train-fourier", "vision-fourier"),
    train("train-language", "language"),
    // The batches of these models' recipes.
    small("train-small-fourier", "small-fourier", 64),
    small("train-small-language", "small-language", 24),
];

/// The folder of one checkpoint.
pub(super) fn folder(name: &str, among: &Path) -> PathBuf {
    root().join(among).join(name)
}

/// The folder of a checkpoint, which transformers creates if it is missing, or our worker if transformers
/// is not installed.
pub(super) fn checkpoint(worker: &Path, name: &str, among: &Path) -> Result<PathBuf> {
    let folder = folder(name, among);
    let there = |file: &str| folder.join(file).exists();
    if !there("model.safetensors") || !there("inputs.safetensors") {
        if reference::is_there() {
            run(python()?.args(["tests/generate/full_size.py", "make", name]).arg(&folder))?;
        } else {
            run(program(worker).args(["make", name]).arg(&folder))?;
        }
    }
    Ok(folder)
}
