//! Raw files as records for a model.

use std::path::Path;

use anyhow::{Result, bail};
use clap::Args;
use perceiver_data::{
    ArrayLayout, Modality, Record, RecordArrays, RecordSeries, RecordTable, SeriesColumns, Source,
};
use perceiver_models::any_data::{ModalityConfig, TableConfig};
use perceiver_train::{Predictor, validation_random};

/// The columns of tables.
#[derive(Debug, Args)]
pub(super) struct ColumnArguments {
    /// Column to leave out, such as a label; repeat it for several
    #[arg(long, value_name = "COLUMN")]
    ignore: Vec<String>,
    /// Column that names the series of a row, for a model of series
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// Column with the time of a row, for a model of series; without it, rows are in order
    #[arg(long, value_name = "COLUMN", requires = "id")]
    time: Option<String>,
}

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

/// The records of a file.
pub(super) fn open(
    path: &Path,
    modality: &ModalityConfig,
    columns: &ColumnArguments,
) -> Result<Box<dyn Source<Example = Record>>> {
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy")) {
        let layout = array_layout(modality)?;
        return Ok(Box::new(RecordArrays::open(path, None, modality.name(), layout)?));
    }
    match modality {
        ModalityConfig::Table(table) => {
            let records = RecordTable::open(path, table.name.as_str(), None, &columns.ignore)?;
            check_columns(path, &records, table)?;
            Ok(Box::new(records))
        }
        ModalityConfig::Series(series) if RecordSeries::is_ts(path) => {
            Ok(Box::new(RecordSeries::from_ts_without_labels(path, series.name.as_str())?))
        }
        ModalityConfig::Series(series) => {
            let Some(id) = columns.id.clone() else {
                bail!(
                    "{}: no column names the series of a row, expected --id, *.ts or *.npy",
                    path.display()
                );
            };
            let (time, ignored) = (columns.time.clone(), columns.ignore.clone());
            let columns = SeriesColumns { id, time, label: None, ignored };
            Ok(Box::new(RecordSeries::from_table(path, series.name.as_str(), &columns)?))
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
