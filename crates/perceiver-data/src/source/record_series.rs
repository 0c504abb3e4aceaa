use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use super::series_table::from_table;
use super::ts_file::{Labels, from_ts};
use super::{LabelColumns, Source};
use crate::error::{Error, Result};
use crate::{Modality, Record, Rows, Target};

/// Time series of any length in one file, each a [`Record`] with one modality.
///
/// A missing number is NaN. The whole file is read into memory; a series that cannot be read fails
/// when it is requested.
#[derive(Debug, Clone)]
pub struct RecordSeries {
    path: PathBuf,
    name: Arc<str>,
    /// Names of the channels, which a table has.
    channels: Option<Vec<String>>,
    series: FileSeries,
}

/// The series of a file, or why they cannot be used.
pub(super) type FileSeries = Vec<Result<Series, String>>;

/// A series as it was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    /// Its place in the file, such as `line 7`.
    pub(super) place: String,
    pub(super) steps: Rows,
    pub(super) target: Option<Target>,
}

/// The columns of a table of series in long form, which has a row per time step. All others are
/// channels, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesColumns {
    /// The column that names the series of a row.
    pub id: String,
    /// The column with the time of a row, as a number; without one, rows are in order.
    pub time: Option<String>,
    /// The columns with the label of a series, the same in all of its rows.
    pub label: Option<LabelColumns>,
    /// Columns to leave out.
    pub ignored: Vec<String>,
}

impl RecordSeries {
    /// Reads a table in long form (`.csv`, `.tsv`, plain or gzipped) into records with a modality
    /// called `name`. Its form and its missing cells are those of [`RecordTable`](super::RecordTable).
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, has another ending, exceeds 1 GiB, 2²⁷ cells, 2²⁴
    /// rows or 2¹⁴ columns, lacks a column, names a column twice, has a quote that does not end, or has
    /// no valid series.
    pub fn from_table(
        path: impl AsRef<Path>,
        name: impl Into<Arc<str>>,
        columns: &SeriesColumns,
    ) -> Result<Self> {
        let path = path.as_ref();
        let (channels, series) = from_table(path, columns)?;
        Self::new(path, name.into(), Some(channels), series)
    }

    /// Reads a `.ts` file of the UEA and UCR archives and of sktime, plain or gzipped, into records
    /// with a modality called `name`: a series per line, its channels separated by colons, its label
    /// last, or `?` if it is missing. Time stamps are not read.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, exceeds 1 GiB or 2²⁴ series, has no valid series,
    /// or its header is wrong.
    pub fn from_ts(path: impl AsRef<Path>, name: impl Into<Arc<str>>) -> Result<Self> {
        let path = path.as_ref();
        Self::new(path, name.into(), None, from_ts(path, Labels::Read)?)
    }

    /// Reads a `.ts` file as [`from_ts`](Self::from_ts) does, without its labels, which may then be
    /// missing or unknown.
    ///
    /// # Errors
    /// As [`from_ts`](Self::from_ts).
    pub fn from_ts_without_labels(
        path: impl AsRef<Path>,
        name: impl Into<Arc<str>>,
    ) -> Result<Self> {
        let path = path.as_ref();
        Self::new(path, name.into(), None, from_ts(path, Labels::Skipped)?)
    }

    /// Names of the channels in their order, which tables have and `.ts` files lack.
    #[must_use]
    pub fn channels(&self) -> Option<&[String]> {
        self.channels.as_deref()
    }

    /// If true, a file's name says that it is a `.ts` file.
    #[must_use]
    pub fn is_ts(path: &Path) -> bool {
        let name = path.as_os_str().to_string_lossy().to_lowercase();
        name.strip_suffix(".gz").unwrap_or(&name).ends_with(".ts")
    }

    fn new(
        path: &Path,
        name: Arc<str>,
        channels: Option<Vec<String>>,
        series: FileSeries,
    ) -> Result<Self> {
        if !series.iter().any(Result::is_ok) {
            let first = series.into_iter().find_map(Result::err);
            return Err(Error::data(path, first.unwrap_or_else(|| "it has no series".into())));
        }
        Ok(Self { path: path.to_owned(), name, channels, series })
    }
}

impl Source for RecordSeries {
    type Example = Record;

    fn len(&self) -> usize {
        self.series.len()
    }

    fn example(&self, index: usize, _: &mut ChaCha8Rng) -> Result<Record> {
        let series = self.series[index].clone();
        let Series { place, steps, target } =
            series.map_err(|reason| Error::data(&self.path, reason))?;
        Ok(Record {
            origin: format!("{}, {place}", self.path.display()),
            inputs: vec![(self.name.clone(), Modality::Series(steps))],
            target,
        })
    }
}
