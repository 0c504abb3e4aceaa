//! A recipe: one TOML file that says what to train on what, and how.

mod agreement;
mod aligned;
mod card;
pub mod data;
mod prepare;
mod start;
mod update;
mod white;

use std::path::{Path, PathBuf};

use perceiver_models::{Head, PerceiverConfig};
use serde::Deserialize;
use serde_json::Value;

pub use self::card::CardSettings;
pub use self::data::Data;
pub use self::start::{Finished, Progress, Start, StopHandle, start};
pub use self::update::{Optimiser, OptimiserName, Schedule, ScheduleShape};
use crate::{Error, Result};

/// Largest recipe that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What to train, on what, and how.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The file, for errors.
    pub path: PathBuf,
    /// The file's text, for the model's card.
    pub text: String,
    /// What the file says.
    pub settings: Settings,
    /// The head that learns.
    pub head: Head,
}

/// What stands in a recipe's file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What the model is called.
    pub name: String,
    /// The head, by the name of its class: `PerceiverForMaskedLM`.
    pub architecture: String,
    /// Fields of `config.json`; those that are absent have the reference's defaults.
    #[serde(default)]
    pub model: toml::Table,
    /// What to learn from, and what to be measured on.
    pub data: Data,
    /// How weights follow gradients.
    pub optimiser: Optimiser,
    /// The learning rate by step.
    #[serde(default)]
    pub schedule: Schedule,
    /// How long, and how often what.
    pub run: RunSettings,
    /// What is said for people about the model.
    pub card: Option<CardSettings>,
}

/// How long a run is, and how often it does what.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSettings {
    /// Steps of the optimiser.
    pub steps: usize,
    /// Examples of a batch.
    pub batch_size: usize,
    /// Batches whose gradients are averaged for a step.
    #[serde(default = "one")]
    pub accumulation: usize,
    /// Steps between two validations, and two checkpoints.
    pub validate_every: usize,
    /// Steps that a line of the log is the mean of.
    #[serde(default = "fifty")]
    pub log_every: usize,
    /// Of fresh weights, of the order of examples, and of all else that is drawn.
    #[serde(default)]
    pub seed: u64,
    /// Threads that prepare batches.
    #[serde(default = "one")]
    pub workers: usize,
    /// Largest norm of all gradients together.
    pub max_norm: Option<f64>,
    /// Part of the averaged weights that every step keeps; without it the last weights count.
    pub average_decay: Option<f64>,
    /// Whether memory-bound operations are computed again in the backward pass, not kept.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    /// Whether fresh latents are spread over the input, and read their own part of it from the first
    /// step on: of texts, images with Fourier positions, flow and videos.
    #[serde(default)]
    pub aligned_start: bool,
    /// Whether weights are stored in half precision; they are learned in single.
    #[serde(default)]
    pub half_precision: bool,
}

const fn one() -> usize {
    1
}

const fn fifty() -> usize {
    50
}

impl Recipe {
    /// Reads a recipe and checks all that can be checked without its data.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read; [`Error::Recipe`] with the place where it is not
    /// TOML, has an unknown key or a value that makes no sense.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let size = std::fs::metadata(path).map_err(Error::io(path, "read"))?.len();
        if size > MAX_BYTES {
            return Err(Error::recipe(path, format!("{size} bytes, at most {MAX_BYTES} are read")));
        }
        let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
        Self::parse(path, text)
    }

    fn parse(path: &Path, text: String) -> Result<Self> {
        let settings: Settings =
            toml::from_str(&text).map_err(|error| Error::recipe(path, one_line(&text, &error)))?;
        let head = settings.architecture.parse().map_err(|error: perceiver_models::Error| {
            Error::recipe(path, format!("`architecture` {error}"))
        })?;
        settings.check(head).map_err(|reason| Error::recipe(path, reason))?;
        Ok(Self { path: path.to_path_buf(), text, settings, head })
    }

    /// The model's configuration, whose classes are called so.
    ///
    /// # Errors
    /// [`Error::Recipe`] where no such model can be built, or it cannot take the recipe's data.
    pub fn config(&self, class_names: &[String]) -> Result<PerceiverConfig> {
        let refused =
            |error: &dyn std::fmt::Display| Error::recipe(&self.path, format!("[model]: {error}"));
        let mut fields = serde_json::to_value(&self.settings.model).map_err(|e| refused(&e))?;
        fields["architectures"] = vec![self.head.name()].into();
        fields["model_type"] = "perceiver".into();
        if !class_names.is_empty() && fields.get("id2label").is_none() {
            let names = class_names.iter().enumerate();
            let names = names.map(|(id, name)| (id.to_string(), Value::from(name.as_str())));
            fields["id2label"] = names.collect();
        }
        let config = PerceiverConfig::from_json(&fields.to_string()).map_err(|e| refused(&e))?;
        // Other readers keep what they do not know; in a recipe it is a misspelling.
        if let Some(unknown) = config.extra.keys().find(|key| *key != "hidden_act") {
            return Err(Error::recipe(&self.path, format!("[model]: `{unknown}` is no field")));
        }
        let labels = config.num_labels();
        if !class_names.is_empty() && labels != class_names.len() {
            let reason =
                format!("`id2label` names {labels} classes, the data has {}", class_names.len());
            return Err(Error::recipe(&self.path, format!("[model]: {reason}")));
        }
        agreement::check(self.head, &config, &self.settings.data)
            .map_err(|reason| Error::recipe(&self.path, reason))?;
        Ok(config)
    }
}

impl Settings {
    /// What is wrong with the numbers, if anything.
    fn check(&self, head: Head) -> Result<(), String> {
        let RunSettings {
            steps, batch_size, accumulation, validate_every, log_every, workers, ..
        } = self.run;
        for (name, value) in [
            ("steps", steps),
            ("batch_size", batch_size),
            ("accumulation", accumulation),
            ("validate_every", validate_every),
            ("log_every", log_every),
            ("workers", workers),
        ] {
            if !(1..1 << 32).contains(&value) {
                return Err(format!("`run.{name}` is {value}, expected a positive number"));
            }
        }
        let within = |name: &str, value: Option<f64>, range: std::ops::Range<f64>| match value {
            Some(value) if !range.contains(&value) => {
                Err(format!("`run.{name}` is {value}, expected {} to {}", range.start, range.end))
            }
            _ => Ok(()),
        };
        within("max_norm", self.run.max_norm, f64::MIN_POSITIVE..f64::MAX)?;
        within("average_decay", self.run.average_decay, 0.0..1.0)?;
        self.optimiser.check()?;
        self.schedule.check(steps, self.optimiser.learning_rate)?;
        self.data.check(head)
    }
}

/// The parser's error without its picture of the line.
fn one_line(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', " ");
    match error.span() {
        None => message,
        Some(span) => {
            let before = &text[..span.start.min(text.len())];
            let line = before.matches('\n').count() + 1;
            let column =
                before.chars().rev().take_while(|&character| character != '\n').count() + 1;
            format!("line {line}, column {column}: {message}")
        }
    }
}
