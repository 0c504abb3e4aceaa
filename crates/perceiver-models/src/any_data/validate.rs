//! Checks the fields of a model for any data before it is built.

use std::collections::BTreeSet;

use super::{AnyDataConfig, Channels, ModalityConfig, ModalityPosition, Output, TableConfig};
use crate::config::shown_name;
use crate::{Error, PerceiverConfig};

/// Most modalities of a model, columns of a table, or channels of an encoding.
const MANY: usize = 1 << 16;
/// Most ids, categories or cells of a modality.
const MAX_ENTRIES: usize = 1 << 28;
/// Most positions along an axis: single precision tells them apart.
const MAX_LENGTH: usize = 1 << 24;

impl AnyDataConfig {
    /// Reads the fields of config.json and checks them.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field, its value and what was expected.
    pub fn from_config(config: &PerceiverConfig) -> Result<Self, Error> {
        let read = Self::read(config)?;
        read.validate(config)?;
        Ok(read)
    }

    fn validate(&self, config: &PerceiverConfig) -> Result<(), Error> {
        let crosses = self.repeats.cross_attentions;
        if !(1..=config.num_blocks.max(1)).contains(&crosses) {
            let message =
                format!("is {crosses}, expected 1 to `num_blocks` = {}", config.num_blocks);
            return Err(Error::config("num_cross_attention_layers", message));
        }
        entries("modalities", self.modalities.len(), MANY)?;
        let names = self.modalities.iter().map(ModalityConfig::name);
        distinct("modalities", names.clone())?;
        if let Some(name) = names.into_iter().find(|name| name.is_empty() || name.contains('.')) {
            let message = format!("names {}, expected a name without dots", shown_name(name));
            return Err(Error::config("modalities", message));
        }
        for (index, modality) in self.modalities.iter().enumerate() {
            modality.validate(&format!("modalities.{index}"))?;
        }
        self.validate_output(config)
    }

    fn validate_output(&self, config: &PerceiverConfig) -> Result<(), Error> {
        match &self.output {
            Output::Classification { .. } | Output::Elements { .. } if config.num_labels() < 2 => {
                let message = format!("has {} classes, expected at least 2", config.num_labels());
                return Err(Error::config("id2label", message));
            }
            Output::Regression { targets, mean, deviation, .. } => {
                entries("output.targets", targets.len(), MANY)?;
                distinct("output.targets", targets.iter().map(String::as_str))?;
                scaled("output", targets.len(), mean, deviation)?;
            }
            Output::Reconstruction { mask_probability: share, .. }
                if !(*share > 0.0 && *share < 1.0) =>
            {
                let message = format!("is {share}, expected more than 0 and less than 1");
                return Err(Error::config("output.mask_probability", message));
            }
            _ => {}
        }
        if !matches!(self.output, Output::Regression { .. } | Output::Reconstruction { .. }) {
            classes(config)?;
        }
        let Some(name) = self.output.modality() else { return Ok(()) };
        let shown = shown_name(name);
        let refused = |message: String| Err(Error::config("output.modality", message));
        let is_elements = matches!(self.output, Output::Elements { .. });
        match self.modality(name) {
            None => refused(format!("names {shown}, expected one of `modalities`")),
            Some((_, ModalityConfig::Table(_))) => {
                refused(format!("names {shown}, a table, expected another kind"))
            }
            Some((_, ModalityConfig::Grid(grid))) if is_elements && grid.patch_cells() > 1 => {
                refused(format!("names {shown}, a grid in patches, expected one of single cells"))
            }
            Some((_, modality)) if !is_elements && modality.reconstructed() == 0 => {
                refused(format!("names {shown}, points without features, which has no content"))
            }
            Some(_) => Ok(()),
        }
    }
}

impl ModalityConfig {
    /// Checks the fields, which stand at `place` in the configuration.
    fn validate(&self, place: &str) -> Result<(), Error> {
        let field = |name: &str| format!("{place}.{name}");
        match self {
            Self::Series(series) => {
                number(field("max_length"), series.max_length, MAX_LENGTH)?;
                series.channels.validate(&field("channels"), 1)?;
                series.position.validate(&field("position"), 1)
            }
            Self::Table(table) => table.validate(place),
            Self::Points(points) => {
                let dimensions = points.centre.len();
                entries(field("centre"), dimensions, 16)?;
                scaled(&field("centre"), dimensions, &points.centre, &vec![1.0; dimensions])?;
                let scale = points.scale;
                if !(scale as f32).is_normal() || scale < 0.0 {
                    let message = format!("is {scale}, expected more than 0");
                    return Err(Error::config(field("scale"), message));
                }
                points.channels.validate(&field("channels"), 0)?;
                if points.position.is_trainable() {
                    let message = "is trainable, expected fourier: points have no numbers";
                    return Err(Error::config(field("position"), message));
                }
                points.position.validate(&field("position"), dimensions)
            }
            Self::Grid(grid) => {
                entries(field("shape"), grid.shape.len(), 3)?;
                grid.shape.iter().try_for_each(|&n| number(field("shape"), n, MAX_LENGTH))?;
                let cells = grid.shape.iter().fold(1, |all: usize, &n| all.saturating_mul(n));
                number(field("shape"), cells, MAX_ENTRIES)?;
                let patch = grid.patch_shape();
                let divides =
                    |(length, patch): (&usize, &usize)| *patch > 0 && length.is_multiple_of(*patch);
                if patch.len() != grid.shape.len() || !grid.shape.iter().zip(&patch).all(divides) {
                    let lengths = patch.len();
                    let message = format!(
                        "has {lengths} lengths, expected divisors of the {} of {:?}",
                        grid.shape.len(),
                        grid.shape
                    );
                    return Err(Error::config(field("patch"), message));
                }
                grid.channels.validate(&field("channels"), 1)?;
                grid.position.validate(&field("position"), grid.shape.len())
            }
            Self::Tokens(tokens) => {
                number(field("embedding"), tokens.embedding, MANY)?;
                number(field("vocabulary"), tokens.vocabulary, MAX_ENTRIES)?;
                number(field("max_length"), tokens.max_length, MAX_LENGTH)?;
                tokens.position.validate(&field("position"), 1)
            }
        }
    }
}

impl TableConfig {
    fn validate(&self, place: &str) -> Result<(), Error> {
        number(format!("{place}.embedding"), self.embedding, MANY)?;
        let columns = format!("{place}.columns");
        entries(&columns, self.columns.len(), MANY)?;
        distinct(&columns, self.columns.iter().map(|column| column.name.as_str()))?;
        for (index, column) in self.columns.iter().enumerate() {
            scaled(&format!("{columns}.{index}"), 1, &[column.mean], &[column.deviation])?;
            if let Some(categories) = &column.categories {
                let place = format!("{columns}.{index}.categories");
                entries(&place, categories.len(), MAX_ENTRIES)?;
                distinct(&place, categories.iter().map(String::as_str))?;
            }
        }
        Ok(())
    }
}

impl Channels {
    fn validate(&self, place: &str, least: usize) -> Result<(), Error> {
        if !(least..=MANY).contains(&self.count()) {
            let message = format!("has {} means, expected {least} to {MANY}", self.count());
            return Err(Error::config(place, message));
        }
        scaled(place, self.count(), &self.mean, &self.deviation)
    }
}

impl ModalityPosition {
    fn validate(&self, place: &str, axes: usize) -> Result<(), Error> {
        match self {
            Self::Fourier { bands, resolution } => {
                number(format!("{place}.bands"), *bands, MANY)?;
                let field = format!("{place}.resolution");
                if !resolution.is_empty() && resolution.len() != axes {
                    let message = format!("has {} numbers, expected {axes}", resolution.len());
                    return Err(Error::config(field, message));
                }
                resolution.iter().try_for_each(|&points| number(&field, points, MAX_LENGTH))
            }
            Self::Trainable { channels } => number(format!("{place}.channels"), *channels, MANY),
        }
    }
}

/// Checks that classes have the numbers from 0 on, and names of their own.
fn classes(config: &PerceiverConfig) -> Result<(), Error> {
    if let Some((id, expected)) = config.id2label.keys().zip(0..).find(|(id, next)| *id != next) {
        return Err(Error::config("id2label", format!("has class {id}, expected {expected}")));
    }
    entries("id2label", config.num_labels(), MAX_ENTRIES)?;
    distinct("id2label", config.id2label.values().map(String::as_str))
}

/// Checks that a list has an entry, and at most `limit`.
fn entries(field: impl Into<String>, found: usize, limit: usize) -> Result<(), Error> {
    if (1..=limit).contains(&found) {
        return Ok(());
    }
    Err(Error::config(field, format!("has {found} entries, expected 1 to {limit}")))
}

/// Checks that a number is at least one and at most `limit`.
fn number(field: impl Into<String>, found: usize, limit: usize) -> Result<(), Error> {
    if (1..=limit).contains(&found) {
        return Ok(());
    }
    Err(Error::config(field, format!("is {found}, expected 1 to {limit}")))
}

/// Checks that no name is there twice.
fn distinct<'a>(field: &str, mut names: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut known = BTreeSet::new();
    match names.find(|name| !known.insert(*name)) {
        None => Ok(()),
        Some(name) => {
            Err(Error::config(field, format!("names {} twice, expected once", shown_name(name))))
        }
    }
}

/// Checks means and positive deviations of `expected` quantities, which are used in single precision.
fn scaled(place: &str, expected: usize, mean: &[f64], deviation: &[f64]) -> Result<(), Error> {
    let refused = |message: String| Err(Error::config(place, message));
    if [mean.len(), deviation.len()] != [expected; 2] {
        let (means, deviations) = (mean.len(), deviation.len());
        return refused(format!(
            "has {means} means and {deviations} deviations, expected {expected} of each"
        ));
    }
    if let Some(mean) = mean.iter().find(|mean| !(**mean as f32).is_finite()) {
        return refused(format!("has a mean of {mean:e}, expected a number in single precision"));
    }
    let is_scale = |deviation: &f64| (*deviation as f32).is_normal() && *deviation > 0.0;
    match deviation.iter().find(|deviation| !is_scale(deviation)) {
        Some(found) => refused(format!(
            "has a deviation of {found:e}, expected more than 0 in single precision"
        )),
        None => Ok(()),
    }
}
