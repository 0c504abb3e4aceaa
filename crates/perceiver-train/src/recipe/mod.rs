//! A recipe: one TOML file with a model, its data and the settings of its training.

pub(crate) mod compatibility;
pub mod data;
mod numbers;
mod options;
mod position_aware_init;
mod session;
pub(crate) mod sources;
mod tied;
mod update;
mod whitening;

use std::path::{Path, PathBuf};

use perceiver_models::any_data::AnyDataConfig;
use perceiver_models::{Head, PerceiverConfig, PerceiverForOpticalFlow};
use serde::Deserialize;
use serde_json::Value;

pub use self::data::Data;
pub use self::options::TrainOptions;
pub use self::update::{Optimiser, OptimiserName, Schedule, ScheduleShape};
use crate::report::CardSettings;
use crate::{Error, Result};

/// Largest recipe to read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// A model, its data and the settings of its training.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The file, for errors.
    pub path: PathBuf,
    /// The file's text, for the model card.
    pub text: String,
    /// The settings in the file.
    pub settings: Settings,
    /// The head to train.
    pub head: Head,
}

/// The settings in a recipe's file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The model's name.
    pub name: String,
    /// The head's class: `PerceiverForMaskedLM`.
    pub architecture: String,
    /// Fields of `config.json`; absent ones have the reference's defaults.
    #[serde(default)]
    pub model: toml::Table,
    /// Data to train on and to validate on.
    pub data: Data,
    /// The optimiser.
    pub optimiser: Optimiser,
    /// The learning rate by step.
    #[serde(default)]
    pub schedule: Schedule,
    /// Length and intervals of the run.
    pub run: RunSettings,
    /// Text of the model card.
    pub card: Option<CardSettings>,
}

/// Length and intervals of a run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSettings {
    /// Steps of the optimiser.
    pub steps: usize,
    /// Examples per batch.
    pub batch_size: usize,
    /// Batches whose gradients are averaged for a step.
    #[serde(default = "one")]
    pub accumulation: usize,
    /// Steps between two validations, and two checkpoints.
    pub validate_every: usize,
    /// Steps that a line of the log averages over.
    #[serde(default = "fifty")]
    pub log_every: usize,
    /// Seed of fresh weights, of the order of examples, and of all other random numbers.
    #[serde(default)]
    pub seed: u64,
    /// Threads that prepare batches.
    #[serde(default = "one")]
    pub workers: usize,
    /// Largest norm of all gradients together.
    pub max_norm: Option<f64>,
    /// Share of the averaged weights that each step keeps; without it the weights themselves count.
    pub average_decay: Option<f64>,
    /// Recomputes memory-bound operations in the backward pass instead of keeping them.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    /// Spreads fresh latents over the input, so that each reads its own part from the first step on.
    /// For texts, images with Fourier positions, flow and videos.
    #[serde(default)]
    pub aligned_start: bool,
    /// Saves weights in half precision; training is in single precision.
    #[serde(default)]
    pub half_precision: bool,
}

/// The range of a share of which there is not all.
const SHARE: &str = "from 0 to less than 1";

const fn one() -> usize {
    1
}

const fn fifty() -> usize {
    50
}

impl Recipe {
    /// Reads a recipe, and checks everything that needs no data.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::Recipe`], with the place, if it is not TOML,
    /// has an unknown key or a value out of range.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let size = std::fs::metadata(path).map_err(Error::io(path, "read"))?.len();
        if size > MAX_BYTES {
            return Err(Error::recipe(
                path,
                format!("size is {size} bytes, expected at most {MAX_BYTES}"),
            ));
        }
        let text = perceiver_data::read_text(path)?;
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

    /// The configuration for config.json: flow of larger motions than those of generated pairs is
    /// estimated coarse to fine.
    fn saved_config(&self, config: &PerceiverConfig) -> PerceiverConfig {
        const FIELD: &str = PerceiverForOpticalFlow::TRAINED_MOTION;
        let config = config.clone();
        let Data::GeneratedFlow(data) = &self.settings.data else { return config };
        let motion = data.options(1, [config.train_size[0], config.train_size[1]]).max_motion;
        // [model] may name another one. Without motion, there is nothing to follow.
        if motion == 0.0 || config.extra.contains_key(FIELD) {
            return config;
        }
        config.with_field(FIELD, motion)
    }

    /// Returns true for fields of `[model]` that are not fields of every configuration.
    fn knows(&self, field: &str) -> bool {
        let own: &[&str] = match self.head {
            Head::OpticalFlow => &[PerceiverForOpticalFlow::TRAINED_MOTION],
            Head::AnyData => &AnyDataConfig::FIELDS,
            _ => &[],
        };
        field == "hidden_act" || own.contains(&field)
    }

    /// The model's configuration, with these names of classes.
    ///
    /// # Errors
    /// [`Error::Recipe`] if no such model can be built, or it cannot take the recipe's data.
    pub fn config(&self, class_names: &[String]) -> Result<PerceiverConfig> {
        let fields = serde_json::to_value(&self.settings.model);
        self.config_of(fields.map_err(|error| self.refused(&error))?, class_names)
    }

    fn refused(&self, error: &dyn std::fmt::Display) -> Error {
        Error::recipe(&self.path, format!("[model]: {error}"))
    }

    /// The model's configuration with these fields.
    fn config_of(&self, mut fields: Value, class_names: &[String]) -> Result<PerceiverConfig> {
        let refused = |error: &dyn std::fmt::Display| self.refused(error);
        fields["architectures"] = vec![self.head.name()].into();
        fields["model_type"] = "perceiver".into();
        if !class_names.is_empty() && fields.get("id2label").is_none() {
            let names = class_names.iter().enumerate();
            let names = names.map(|(id, name)| (id.to_string(), Value::from(name.as_str())));
            fields["id2label"] = names.collect();
        }
        let config = PerceiverConfig::from_json(&fields.to_string()).map_err(|e| refused(&e))?;
        PerceiverForOpticalFlow::trained_motion(&config).map_err(|e| refused(&e))?;
        // Other readers keep unknown fields; in a recipe they are misspellings.
        let quantised = config.quantisation.as_ref().map(|_| "quantization_config");
        let mut fields = config.extra.keys().map(String::as_str).chain(quantised);
        if let Some(unknown) = fields.find(|key| !self.knows(key)) {
            return Err(Error::recipe(&self.path, format!("[model]: unknown field `{unknown}`")));
        }
        let labels = config.num_labels();
        if !class_names.is_empty() && labels != class_names.len() {
            let reason =
                format!("`id2label` names {labels} classes, the data has {}", class_names.len());
            return Err(Error::recipe(&self.path, format!("[model]: {reason}")));
        }
        compatibility::check(self.head, &config, &self.settings.data)
            .map_err(|reason| Error::recipe(&self.path, reason))?;
        Ok(config)
    }
}

impl Settings {
    /// Checks all numbers.
    fn check(&self, head: Head) -> Result<(), String> {
        let RunSettings {
            steps, batch_size, accumulation, validate_every, log_every, workers, ..
        } = self.run;
        // Examples of a batch are in memory at once, and threads are few.
        const MANY: usize = 1 << 16;
        for (name, value, most) in [
            ("steps", steps, u32::MAX as usize),
            ("batch_size", batch_size, MANY),
            ("accumulation", accumulation, MANY),
            ("validate_every", validate_every, u32::MAX as usize),
            ("log_every", log_every, u32::MAX as usize),
            ("workers", workers, MANY),
        ] {
            if !(1..=most).contains(&value) {
                return Err(format!("`run.{name}` is {value}, expected 1 to {most}"));
            }
        }
        if let Some(norm) = self.run.max_norm {
            let is_permitted = norm > 0.0 && norm.is_finite();
            numbers::check("run.max_norm", norm, is_permitted, "greater than 0")?;
        }
        if let Some(decay) = self.run.average_decay {
            let is_permitted = (0.0..1.0).contains(&decay);
            numbers::check("run.average_decay", decay, is_permitted, SHARE)?;
        }
        numbers::check_finite("model", &toml::Value::Table(self.model.clone()))?;
        self.optimiser.check()?;
        self.schedule.check(steps, self.optimiser.learning_rate)?;
        self.data.check(head)
    }
}

/// The parser's error, without its drawing of the line.
fn one_line(text: &str, error: &toml::de::Error) -> String {
    let message = numbers::without_types(&error.message().replace('\n', " "));
    match error.span() {
        None => message,
        Some(span) => {
            let before = &text[..span.start.min(text.len())];
            let line = before.matches('\n').count() + 1;
            let column =
                before.chars().rev().take_while(|&character| character != '\n').count() + 1;
            let line_start = before.rfind('\n').map_or(0, |end| end + 1);
            let key = before[line_start..].split_once('=').map(|(key, _)| key.trim());
            let key = key.map(|key| format!(" for `{key}`")).unwrap_or_default();
            format!("line {line}, column {column}: {message}{key}")
        }
    }
}
