//! Raw files as records for a model.

use std::path::Path;

use anyhow::{Result, bail};
use perceiver_data::{ArrayLayout, Modality, Record, RecordArrays, RecordTable, Source};
use perceiver_models::any_data::{ModalityConfig, TableConfig};
use perceiver_train::{Predictor, validation_random};

/// The modality of a model that has one.
pub(super) fn only_modality(predictor: &Predictor) -> Result<&ModalityConfig> {
    match predictor.config().modalities.as_slice() {
        [modality] => Ok(modality),
        several => {
            let names: Vec<_> = several.iter().map(ModalityConfig::name).collect();
            bail!(
                "the model reads {} modalities, {}, expected one: files hold one each",
                names.len(),
                names.join(", ")
            )
        }
    }
}

/// The records of a file. `ignored` names columns to leave out.
pub(super) fn open(
    path: &Path,
    modality: &ModalityConfig,
    ignored: &[String],
) -> Result<Box<dyn Source<Example = Record>>> {
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy")) {
        let layout = array_layout(modality)?;
        return Ok(Box::new(RecordArrays::open(path, None, modality.name(), layout)?));
    }
    match modality {
        ModalityConfig::Table(table) => {
            let records = RecordTable::open(path, table.name.as_str(), None, ignored)?;
            check_columns(path, &records, table)?;
            Ok(Box::new(records))
        }
        other => {
            bail!("{}: the model reads {}, expected an array, *.npy", path.display(), other.kind())
        }
    }
}

/// Meaning of the axes of an array for a modality.
fn array_layout(modality: &ModalityConfig) -> Result<ArrayLayout> {
    Ok(match modality {
        ModalityConfig::Series(_) => ArrayLayout::Series,
        ModalityConfig::Table(_) => ArrayLayout::Table,
        ModalityConfig::Points(points) => ArrayLayout::Points { dimensions: points.centre.len() },
        ModalityConfig::Grid(grid) => ArrayLayout::Grid { axes: grid.shape.len() },
        ModalityConfig::Tokens(_) => bail!("the model reads tokens, which no array holds"),
    })
}

/// Checks the columns once, rather than for every row.
fn check_columns(path: &Path, records: &RecordTable, model: &TableConfig) -> Result<()> {
    let read = |index| records.example(index, &mut validation_random(index)).ok();
    let Some(record) = (0..records.len()).find_map(read) else { return Ok(()) };
    let Some((_, Modality::Table { columns, .. })) = record.inputs.first() else { return Ok(()) };
    let path = path.display();
    let known = |name: &String| model.columns.iter().any(|column| column.name == *name);
    if let Some(name) = columns.iter().find(|name| !known(name)) {
        bail!("{path}: line 1: the model has no column {name:?}; --ignore leaves it out");
    }
    if let Some(column) = model.columns.iter().find(|column| !columns.contains(&column.name)) {
        bail!("{path}: line 1: no column {:?}, which the model reads", column.name);
    }
    Ok(())
}
