//! Starts a run from the weights of another model.

use std::path::Path;

use perceiver_models::{Checkpoint, KeyMap, LoadOptions, PerceiverHead, hub, load_module};

use super::Session;
use crate::{Error, Result, TrainingEvent};

impl Session<'_> {
    /// The head with the weights that fit of the model to start from: a folder, a file or a hub id.
    pub(super) fn initialised<H: PerceiverHead>(&self, head: H, source: &Path) -> Result<H> {
        let checkpoint = match source.exists() {
            true => Checkpoint::open(source)?,
            false => Checkpoint::open(hub::folder(source)?)?,
        };
        let options =
            LoadOptions { partial: true, ignore_mismatched_sizes: true, ..LoadOptions::default() };
        let loaded = load_module(head, &checkpoint, &KeyMap::PERCEIVER, &options);
        let (head, report) = loaded.map_err(|error| Error::Model(with_sizes_hint(error)))?;
        // What the model has learned is in the encoder: with other shapes there, it is another model.
        let other: Vec<_> =
            report.mismatched.iter().filter(|tensor| !is_of_labels(&tensor.key)).collect();
        if !other.is_empty() {
            return Err(Error::Model(perceiver_models::Error::Mismatch {
                path: checkpoint.path().to_path_buf(),
                missing: Vec::new(),
                unused: Vec::new(),
                wrong: other.iter().map(ToString::to_string).collect(),
                hint: Some(SIZES_HINT.to_owned()),
            }));
        }
        (self.on_progress)(TrainingEvent::Fresh(&report.fresh));
        for warning in report.warnings() {
            (self.on_progress)(TrainingEvent::Warning(&warning));
        }
        Ok(head)
    }
}

/// The likely cause if a model to start from has other shapes in the encoder.
const SIZES_HINT: &str =
    "only the decoder may have other shapes: [model] needs the sizes of its config.json";

/// Names the likely cause if nothing of a checkpoint fits.
fn with_sizes_hint(mut error: perceiver_models::Error) -> perceiver_models::Error {
    if let perceiver_models::Error::Mismatch { wrong, hint, .. } = &mut error
        && !wrong.is_empty()
    {
        hint.get_or_insert_with(|| SIZES_HINT.to_owned());
    }
    error
}

/// If true, a parameter's shape depends on what the model answers: its decoder, and the part of an
/// autoencoder that reads and writes labels.
fn is_of_labels(key: &str) -> bool {
    const PARTS: [&str; 4] = [
        "perceiver.decoder.",
        "perceiver.output_postprocessor.",
        "perceiver.input_preprocessor.padding.label",
        "perceiver.input_preprocessor.mask.label",
    ];
    PARTS.iter().any(|part| key.starts_with(part))
}
