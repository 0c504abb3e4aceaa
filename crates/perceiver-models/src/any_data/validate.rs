//! Checks the fields of a model for any data before it is built.

use super::{AnyDataConfig, Channels, ModalityConfig, ModalityPosition, Output};
use crate::{Error, PerceiverConfig};

/// Most modalities of a model, columns of a table, channels, or axes of points.
const MANY: usize = 1 << 16;
/// Most positions, ids or cells of a modality.
const MAX_POSITIONS: usize = 1 << 28;

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
        count("modalities", self.modalities.len(), MANY)?;
        for (index, modality) in self.modalities.iter().enumerate() {
            let name = modality.name();
            if name.is_empty() || self.modality(name).is_some_and(|(first, _)| first != index) {
                let message = format!("names {name:?}, expected a name of its own");
                return Err(Error::config(format!("modalities.{index}.name"), message));
            }
            modality.validate(&format!("modalities.{name}"))?;
        }
        self.validate_output(config)
    }

    fn validate_output(&self, config: &PerceiverConfig) -> Result<(), Error> {
        match &self.output {
            Output::Classification { .. } | Output::Elements { .. } if config.num_labels() < 2 => {
                let message = format!("has {} classes, expected at least 2", config.num_labels());
                return Err(Error::config("id2label", message));
            }
            Output::MultiLabel { .. } => count("id2label", config.num_labels(), MAX_POSITIONS)?,
            Output::Regression { targets, mean, deviation, .. } => {
                count("output.targets", targets.len(), MANY)?;
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
        let Some(name) = self.output.modality() else { return Ok(()) };
        let kind = self.output.kind();
        let refused = |message: String| Err(Error::config("output.modality", message));
        match self.modality(name) {
            None => refused(format!("names {name:?}, expected one of `modalities`")),
            Some((_, ModalityConfig::Table(_))) => {
                refused(format!("names the table {name:?}, which has no {kind} to answer"))
            }
            Some((_, ModalityConfig::Grid(grid)))
                if kind == "elements" && grid.patch_cells() > 1 =>
            {
                refused(format!(
                    "names {name:?} with patches of several cells, expected single cells"
                ))
            }
            Some((_, modality)) if kind == "reconstruction" && modality.reconstructed() == 0 => {
                refused(format!("names {name:?}, whose points have no features to reconstruct"))
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
                count(field("max_length"), series.max_length, MAX_POSITIONS)?;
                series.channels.validate(&field("channels"), 1)?;
                series.position.validate(&field("position"), 1)
            }
            Self::Table(table) => {
                count(field("embedding"), table.embedding, MANY)?;
                count(field("columns"), table.columns.len(), MANY)?;
                let mut names = std::collections::BTreeSet::new();
                for column in &table.columns {
                    let place = format!("{place}.columns.{}", column.name);
                    if !names.insert(column.name.as_str()) {
                        return Err(Error::config(place, "is there twice, expected once"));
                    }
                    scaled(&place, 1, &[column.mean], &[column.deviation])?;
                    if let Some(categories) = &column.categories {
                        count(format!("{place}.categories"), categories.len(), MAX_POSITIONS)?;
                    }
                }
                Ok(())
            }
            Self::Points(points) => {
                count(field("centre"), points.centre.len(), 16)?;
                let centre = &points.centre;
                scaled(&field("scale"), centre.len(), centre, &vec![points.scale; centre.len()])?;
                points.channels.validate(&field("channels"), 0)?;
                if let ModalityPosition::Trainable { .. } = points.position {
                    let message = "is trainable, expected fourier: points have no numbers";
                    return Err(Error::config(field("position"), message));
                }
                points.position.validate(&field("position"), centre.len())
            }
            Self::Grid(grid) => {
                count(field("shape"), grid.shape.len(), 3)?;
                grid.shape.iter().try_for_each(|&n| count(field("shape"), n, MAX_POSITIONS))?;
                let cells = grid.shape.iter().fold(1, |all: usize, &n| all.saturating_mul(n));
                count(field("shape"), cells, MAX_POSITIONS)?;
                let patch = grid.patch_shape();
                let divides =
                    |(length, patch): (&usize, &usize)| *patch > 0 && length.is_multiple_of(*patch);
                if patch.len() != grid.shape.len() || !grid.shape.iter().zip(&patch).all(divides) {
                    let message = format!("is {patch:?}, expected divisors of {:?}", grid.shape);
                    return Err(Error::config(field("patch"), message));
                }
                grid.channels.validate(&field("channels"), 1)?;
                grid.position.validate(&field("position"), grid.shape.len())
            }
            Self::Tokens(tokens) => {
                count(field("embedding"), tokens.embedding, MANY)?;
                count(field("vocabulary"), tokens.vocabulary, MAX_POSITIONS)?;
                count(field("max_length"), tokens.max_length, MAX_POSITIONS)?;
                tokens.position.validate(&field("position"), 1)
            }
        }
    }
}

impl Channels {
    fn validate(&self, place: &str, least: usize) -> Result<(), Error> {
        if self.count() < least {
            return Err(Error::config(format!("{place}.mean"), "is empty, expected a number"));
        }
        scaled(place, self.count(), &self.mean, &self.deviation)
    }
}

impl ModalityPosition {
    fn validate(&self, place: &str, axes: usize) -> Result<(), Error> {
        match self {
            Self::Fourier { bands, resolution } => {
                count(format!("{place}.bands"), *bands, MANY)?;
                if !resolution.is_empty() && resolution.len() != axes {
                    let message =
                        format!("has {} numbers, expected one per axis: {axes}", resolution.len());
                    return Err(Error::config(format!("{place}.resolution"), message));
                }
                Ok(())
            }
            Self::Trainable { channels } => count(format!("{place}.channels"), *channels, MANY),
        }
    }
}

/// Checks that a number of things is at least one and at most `limit`.
fn count(field: impl Into<String>, found: usize, limit: usize) -> Result<(), Error> {
    if (1..=limit).contains(&found) {
        return Ok(());
    }
    Err(Error::config(field, format!("is {found}, expected 1 to {limit}")))
}

/// Checks means and positive deviations of `expected` quantities.
fn scaled(place: &str, expected: usize, mean: &[f64], deviation: &[f64]) -> Result<(), Error> {
    let refused = |message: String| Err(Error::config(place, message));
    if [mean.len(), deviation.len()] != [expected; 2] {
        let (means, deviations) = (mean.len(), deviation.len());
        return refused(format!(
            "has {means} means and {deviations} deviations, expected {expected} of each"
        ));
    }
    if let Some(mean) = mean.iter().find(|mean| !mean.is_finite()) {
        return refused(format!("has a mean of {mean}, expected a finite number"));
    }
    match deviation.iter().find(|deviation| !(deviation.is_finite() && **deviation > 0.0)) {
        Some(found) => refused(format!("has a deviation of {found}, expected more than 0")),
        None => Ok(()),
    }
}
