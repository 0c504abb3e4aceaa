//! Series of a recipe.

use std::path::PathBuf;

use perceiver_data::{LabelColumns, RecordSeries, SeriesColumns};
use serde::{Deserialize, Serialize};

/// Files of [`Data::Series`](super::Data::Series): tables with a row per time step, or `.ts` files, which
/// name their labels themselves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesData {
    /// Training series.
    pub train: PathBuf,
    /// Validation series.
    pub validation: PathBuf,
    /// The name of the model's modality.
    #[serde(default = "series_name")]
    pub name: String,
    /// The column that names the series of a row.
    pub id: Option<String>,
    /// The column with the time of a row; without one, rows are in order.
    pub time: Option<String>,
    /// The column with the name of the class.
    pub label: Option<String>,
    /// The columns with numbers to predict, instead of a class. For a `.ts` file, the name of its number.
    pub values: Option<Vec<String>>,
    /// Columns to leave out.
    #[serde(default)]
    pub ignored: Vec<String>,
}

fn series_name() -> String {
    "series".into()
}

impl SeriesData {
    /// Checks everything that needs no files.
    pub(super) fn check(&self) -> Result<(), String> {
        let are_ts = [&self.train, &self.validation].map(|path| RecordSeries::is_ts(path));
        match are_ts {
            [true, true] => {
                let columns = [&self.id, &self.time, &self.label];
                if columns.iter().any(|name| name.is_some()) || !self.ignored.is_empty() {
                    return Err("`data` names columns, which *.ts files do not have".into());
                }
                match &self.values {
                    Some(names) if names.len() != 1 => {
                        Err("`data.values` names several numbers, expected the one of *.ts".into())
                    }
                    _ => Ok(()),
                }
            }
            [false, false] if self.id.is_none() => {
                Err("`data.id` is missing, expected the column that names the series of a row"
                    .into())
            }
            [false, false] if self.label.is_some() == self.values.is_some() => {
                Err("`data` needs either a `label` column or `values` columns".into())
            }
            [false, false] => Ok(()),
            _ => Err("`data` has one *.ts file, expected two or none".into()),
        }
    }

    /// Compares the channels of both parts: the model knows them by their places alone.
    pub(in crate::recipe) fn check_channels(
        train: &RecordSeries,
        validation: &RecordSeries,
    ) -> Result<(), String> {
        let [train, validation] = [train, validation].map(|part| part.channels().unwrap_or(&[]));
        let (expected, found) = (train.len(), validation.len());
        if found != expected {
            return Err(format!("line 1: {found} channels, the training part has {expected}"));
        }
        let mut pairs = (1_usize..).zip(train.iter().zip(validation));
        match pairs.find(|(_, (expected, found))| expected != found) {
            Some((channel, (expected, found))) => Err(format!(
                "line 1: channel {channel} is {found:?}, that of the training part is {expected:?}"
            )),
            None => Ok(()),
        }
    }

    /// The columns of a table.
    pub(in crate::recipe) fn columns(&self) -> SeriesColumns {
        let label = match (&self.label, &self.values) {
            (Some(label), _) => Some(LabelColumns::Class(label.clone())),
            (None, values) => values.clone().map(LabelColumns::Values),
        };
        SeriesColumns {
            id: self.id.clone().unwrap_or_default(),
            time: self.time.clone(),
            label,
            ignored: self.ignored.clone(),
        }
    }
}
