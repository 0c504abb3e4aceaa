//! All measurements: docs/performance.json, from which the pages are written.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use perceiver_workspace::{replace, root};

/// All measurements; a new one replaces the old one of the same row.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Records {
    #[serde(default)]
    pub(super) comparisons: Vec<Comparison>,
    #[serde(default)]
    pub(super) growth: Vec<Growth>,
}

/// How, where and when a row was measured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Setting {
    pub(super) machine: String,
    /// `cpu`, `cuda` or `vulkan`.
    pub(super) device: String,
    /// `f32` or `bf16`.
    pub(super) dtype: String,
    pub(super) date: String,
    pub(super) command: String,
    pub(super) versions: BTreeMap<String, String>,
}

/// One head on one machine, for every side.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Comparison {
    pub(super) case: String,
    pub(super) batch: usize,
    pub(super) setting: Setting,
    /// By the side's name.
    pub(super) sides: BTreeMap<String, Side>,
}

/// The times of one side, or why it has none.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Side {
    Measured(Measured),
    Failed { reason: String },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Measured {
    /// The first pass, which includes compiling, tuning and allocating.
    pub(super) first: f64,
    /// Seconds of every later pass.
    pub(super) seconds: Vec<f64>,
    pub(super) peak_mebibytes: Option<u64>,
    pub(super) device_mebibytes: Option<u64>,
}

/// The cost of more of something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Growth {
    /// The thing of which there is more.
    pub(super) what: String,
    pub(super) setting: Setting,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) count: usize,
    #[serde(flatten)]
    pub(super) measured: Measured,
}

impl Setting {
    /// Returns true if two measurements belong in one table.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        (&self.machine, &self.device, &self.dtype) == (&other.machine, &other.device, &other.dtype)
    }
}

impl Measured {
    /// The middle one of the passes, or the mean of the middle two.
    pub(super) fn median(&self) -> f64 {
        let mut seconds = self.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        let middle = seconds.len() / 2;
        if seconds.len().is_multiple_of(2) {
            f64::midpoint(seconds[middle - 1], seconds[middle])
        } else {
            seconds[middle]
        }
    }
}

impl Records {
    pub(super) fn read() -> Result<Self> {
        match fs::read_to_string(path()) {
            Ok(text) => serde_json::from_str(&text).context("docs/performance.json"),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).context("docs/performance.json"),
        }
    }

    pub(super) fn write(&self) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        replace(&path(), &text)
    }

    pub(super) fn compared(&mut self, new: Comparison) {
        self.comparisons.retain(|old| {
            let same = (&old.case, old.batch) == (&new.case, new.batch);
            !(same && old.setting.is_beside(&new.setting))
        });
        self.comparisons.push(new);
    }

    pub(super) fn grew(&mut self, new: Growth) {
        self.growth.retain(|old| !(old.what == new.what && old.setting.is_beside(&new.setting)));
        self.growth.push(new);
    }
}

fn path() -> PathBuf {
    root().join("docs/performance.json")
}
