//! Turns raw records into the numbers of a model, or says why they do not fit it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use perceiver_data::{Cell, Modality, Record, Remarks, Rows, Source, Target};
use perceiver_models::any_data::{
    AnyDataConfig, ColumnConfig, ModalityConfig, Output, TableConfig,
};
use perceiver_models::losses::IGNORED_LABEL;
use perceiver_models::{Error, PerceiverConfig};
use rand_chacha::ChaCha8Rng;

use crate::recipe::sources::BoxedSource;

/// Encodes records for one model.
#[derive(Debug, Clone)]
pub(crate) struct RecordEncoder {
    config: AnyDataConfig,
    classes: HashMap<String, i64>,
    /// Numbers of the categories of each table and column.
    categories: HashMap<(String, String), HashMap<String, i64>>,
}

/// A record as numbers.
#[derive(Debug, Clone)]
pub(crate) struct EncodedRecord {
    pub(crate) modalities: Vec<EncodedModality>,
    pub(crate) target: Option<EncodedTarget>,
}

/// A modality as numbers; each is empty if its kind has none.
#[derive(Debug, Clone, Default)]
pub(crate) struct EncodedModality {
    /// Steps, columns, points, cells or tokens.
    pub(crate) elements: usize,
    /// Element by element, NaN where one is missing.
    pub(crate) values: Vec<f32>,
    /// Coordinates, point by point.
    pub(crate) coordinates: Vec<f32>,
    /// Ids of tokens or of the cells of a table.
    pub(crate) ids: Vec<i64>,
}

/// An expected answer as numbers.
#[derive(Debug, Clone)]
pub(crate) enum EncodedTarget {
    Class(i64),
    Values(Vec<f32>),
    Elements(Vec<i64>),
}

impl RecordEncoder {
    pub(crate) fn new(config: &PerceiverConfig) -> Result<Self, Error> {
        let any_data = AnyDataConfig::from_config(config)?;
        let classes = config.id2label.iter().map(|(&id, name)| (name.clone(), id)).collect();
        let mut categories = HashMap::new();
        for modality in &any_data.modalities {
            let ModalityConfig::Table(table) = modality else { continue };
            for column in &table.columns {
                let Some(names) = &column.categories else { continue };
                let entries = names.iter().cloned().zip(FIRST_CATEGORY..).collect();
                categories.insert((table.name.clone(), column.name.clone()), entries);
            }
        }
        Ok(Self { config: any_data, classes, categories })
    }

    pub(crate) const fn config(&self) -> &AnyDataConfig {
        &self.config
    }

    /// The record as numbers.
    ///
    /// # Errors
    /// The reason why it does not fit the model.
    pub(crate) fn encode(&self, record: &Record) -> Result<EncodedRecord, String> {
        let encoded = self.encode_input(record)?;
        let target = record.target.as_ref();
        let target = target.map(|target| self.target(target, &encoded.modalities)).transpose()?;
        Ok(EncodedRecord { target, ..encoded })
    }

    /// The modalities of a record, without its target.
    ///
    /// # Errors
    /// The reason why they do not fit the model.
    pub(crate) fn encode_input(&self, record: &Record) -> Result<EncodedRecord, String> {
        let modalities = self.config.modalities.iter().map(|config| {
            let name = config.name();
            let found = record.inputs.iter().find(|(found, _)| **found == *name);
            let (_, data) = found.ok_or_else(|| format!("has no modality `{name}`"))?;
            self.modality(config, data).map_err(|reason| format!("`{name}` {reason}"))
        });
        Ok(EncodedRecord { modalities: modalities.collect::<Result<_, _>>()?, target: None })
    }

    fn modality(
        &self,
        config: &ModalityConfig,
        data: &Modality,
    ) -> Result<EncodedModality, String> {
        let elements = data.elements();
        if elements == 0 {
            return Err("is empty, expected at least one element".into());
        }
        let most = match config {
            ModalityConfig::Series(series) if series.position.is_trainable() => series.max_length,
            ModalityConfig::Tokens(tokens) if tokens.position.is_trainable() => tokens.max_length,
            _ => MAX_ELEMENTS,
        };
        if elements > most {
            return Err(format!("has {elements} elements, expected at most {most}"));
        }
        let encoded = EncodedModality { elements, ..EncodedModality::default() };
        Ok(match (config, data) {
            (ModalityConfig::Series(series), Modality::Series(rows)) => {
                let values = numbers(rows, series.channels.count(), "channels")?;
                EncodedModality { values, ..encoded }
            }
            (ModalityConfig::Table(table), Modality::Table { columns, cells }) => {
                self.row(table, columns, cells)?
            }
            (ModalityConfig::Points(points), Modality::Points { coordinates, features }) => {
                if coordinates.rows != features.rows {
                    let (found, expected) = (features.rows, coordinates.rows);
                    return Err(format!("has features of {found} points, expected {expected}"));
                }
                let places = numbers(coordinates, points.centre.len(), "dimensions")?;
                if let Some(point) = places.iter().position(|number| number.is_nan()) {
                    let point = point / points.centre.len();
                    return Err(format!("has no coordinate at point {point}"));
                }
                let values = numbers(features, points.channels.count(), "features")?;
                EncodedModality { values, coordinates: places, ..encoded }
            }
            (ModalityConfig::Grid(grid), Modality::Grid { shape, values }) => {
                if *shape != grid.shape {
                    return Err(format!("has shape {shape:?}, expected {:?}", grid.shape));
                }
                let cells: usize = shape.iter().product();
                if values.rows != cells {
                    return Err(format!("has {} cells, expected {cells}", values.rows));
                }
                let values = numbers(values, grid.channels.count(), "channels")?;
                EncodedModality { values, ..encoded }
            }
            (ModalityConfig::Tokens(tokens), Modality::Tokens(ids)) => {
                if let Some(id) = ids.iter().find(|id| **id as usize >= tokens.vocabulary) {
                    let last = tokens.vocabulary - 1;
                    return Err(format!("holds id {id}, expected 0 to {last}"));
                }
                let ids = ids.iter().map(|&id| i64::from(id)).collect();
                EncodedModality { ids, ..encoded }
            }
            _ => return Err(format!("is {}, expected {}", data.kind(), config.kind())),
        })
    }

    fn row(
        &self,
        table: &TableConfig,
        columns: &[String],
        cells: &[Cell],
    ) -> Result<EncodedModality, String> {
        if columns.len() != cells.len() {
            return Err(format!("has {} cells in {} columns", cells.len(), columns.len()));
        }
        let mut cells: HashMap<&str, &Cell> =
            columns.iter().map(String::as_str).zip(cells).collect();
        let mut encoded = EncodedModality::default();
        for column in &table.columns {
            let cell = cells.remove(column.name.as_str());
            let cell = cell.ok_or_else(|| format!("has no column `{}`", column.name))?;
            let (value, id) = self.cell(table, column, cell)?;
            encoded.values.push(value);
            encoded.ids.push(id);
        }
        if let Some(column) = cells.keys().min() {
            return Err(format!("has column `{column}`, which the model does not know"));
        }
        encoded.elements = table.columns.len();
        Ok(encoded)
    }

    /// A cell's number and the entry of its category.
    fn cell(
        &self,
        table: &TableConfig,
        column: &ColumnConfig,
        cell: &Cell,
    ) -> Result<(f32, i64), String> {
        let categories = column
            .categories
            .as_ref()
            .and_then(|_| self.categories.get(&(table.name.clone(), column.name.clone())));
        Ok(match (cell, categories) {
            (Cell::Missing, _) => (f32::NAN, MISSING_CATEGORY),
            (Cell::Number(number), None) => (finite(*number), MISSING_CATEGORY),
            (Cell::Category(name), None) => {
                return Err(format!("has {name:?} in column `{}`, expected a number", column.name));
            }
            (Cell::Number(number), Some(known)) => (0.0, entry(known, &number.to_string())),
            (Cell::Category(name), Some(known)) => (0.0, entry(known, name)),
        })
    }

    fn target(
        &self,
        target: &Target,
        modalities: &[EncodedModality],
    ) -> Result<EncodedTarget, String> {
        Ok(match (&self.config.output, target) {
            (Output::Classification { .. }, Target::Class(name)) => {
                EncodedTarget::Class(self.class(name)?)
            }
            (Output::MultiLabel { .. }, Target::Labels(names)) => {
                let mut values = vec![0.0; self.classes.len()];
                for name in names {
                    values[self.class(name)? as usize] = 1.0;
                }
                EncodedTarget::Values(values)
            }
            (Output::Regression { targets, .. }, Target::Values(values)) => {
                let (found, expected) = (values.len(), targets.len());
                if found != expected || !values.iter().all(|value| value.is_finite()) {
                    return Err(format!("has targets {values:?}, expected {expected} numbers"));
                }
                EncodedTarget::Values(values.clone())
            }
            (Output::Elements { modality }, Target::Elements(names)) => {
                let index = self.config.modality(modality).map_or(0, |(index, _)| index);
                let (found, expected) = (names.len(), modalities[index].elements);
                if found != expected {
                    return Err(format!("has {found} labels for {expected} elements"));
                }
                let class = |name: &Option<Arc<str>>| match name {
                    Some(name) => self.class(name),
                    None => Ok(IGNORED_LABEL),
                };
                EncodedTarget::Elements(names.iter().map(class).collect::<Result<_, _>>()?)
            }
            (output, target) => {
                let found = match target {
                    Target::Class(_) => "a class",
                    Target::Labels(_) => "labels",
                    Target::Values(_) => "values",
                    Target::Elements(_) => "a label per element",
                };
                return Err(format!("has {found}, the model's output is {}", output.kind()));
            }
        })
    }

    fn class(&self, name: &str) -> Result<i64, String> {
        let class = self.classes.get(name).copied();
        class.ok_or_else(|| format!("has label {name:?}, which the model does not know"))
    }
}

/// Most elements of a modality of one record.
const MAX_ELEMENTS: usize = 1 << 24;
/// Entries of a column's embedding: a missing cell, an unknown category, then the known ones.
const MISSING_CATEGORY: i64 = 0;
const UNKNOWN_CATEGORY: i64 = 1;
const FIRST_CATEGORY: i64 = 2;

fn entry(known: &HashMap<String, i64>, name: &str) -> i64 {
    known.get(name).copied().unwrap_or(UNKNOWN_CATEGORY)
}

/// The numbers of rows of this many columns.
fn numbers(rows: &Rows, columns: usize, what: &str) -> Result<Vec<f32>, String> {
    if rows.columns != columns {
        return Err(format!("has {} {what}, expected {columns}", rows.columns));
    }
    let (found, expected) = (rows.values.len(), rows.rows * columns);
    if found != expected {
        return Err(format!("has {found} numbers, expected {expected} in {} rows", rows.rows));
    }
    Ok(rows.values.iter().map(|&number| finite(number)).collect())
}

/// A number that is not finite counts as missing.
const fn finite(number: f32) -> f32 {
    if number.is_finite() { number } else { f32::NAN }
}

/// Records that are encoded as they are read. One that does not fit the model is an error of its own.
pub(crate) struct EncodedRecords {
    source: BoxedSource<Record>,
    encoder: RecordEncoder,
    /// If true, a record without a target is an error.
    labelled: bool,
}

impl EncodedRecords {
    /// Records with targets, which a reconstruction does without.
    pub(crate) fn new(source: BoxedSource<Record>, encoder: RecordEncoder) -> Self {
        let labelled = !matches!(encoder.config().output, Output::Reconstruction { .. });
        Self { source, encoder, labelled }
    }
}

impl Source for EncodedRecords {
    type Example = EncodedRecord;

    fn len(&self) -> usize {
        self.source.len()
    }

    fn example(
        &self,
        index: usize,
        random: &mut ChaCha8Rng,
    ) -> perceiver_data::Result<EncodedRecord> {
        let record = self.source.example(index, random)?;
        let encoded = match (self.labelled, &record.target) {
            (true, None) => Err("has no label".into()),
            (true, Some(_)) => self.encoder.encode(&record),
            (false, _) => self.encoder.encode_input(&record),
        };
        let path = PathBuf::from(record.origin);
        encoded.map_err(|reason| perceiver_data::Error::Data { path, reason })
    }

    fn remarks(&self) -> Remarks {
        self.source.remarks()
    }
}
