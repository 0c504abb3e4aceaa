//! The lines of a table of numbers and categories.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::Path;

use super::records::{MAX_RECORDS, excerpt};
use crate::error::{Error, Result};
use crate::text_file::read_table;

/// Most columns of a table.
const MAX_COLUMNS: usize = 1 << 14;
/// Cells that hold nothing, whatever their case.
const MISSING: [&str; 6] = ["", "na", "n/a", "nan", "null", "?"];

/// A table with a header line (`.csv`, `.tsv`, plain or gzipped), whose separator is the one of comma,
/// semicolon, tab and `|` that occurs most often in the header.
pub(super) struct TableReader {
    pub(super) header: Vec<String>,
    reader: csv::Reader<Cursor<Vec<u8>>>,
}

impl TableReader {
    /// Reads a file and its header.
    ///
    /// # Errors
    /// If the file cannot be read, has another ending, exceeds 1 GiB or 2¹⁴ columns, or names a
    /// column twice.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let refused = |reason: String| Error::data(path, reason);
        let Some(separators) = separators(path) else {
            return Err(refused("expected a file named *.csv or *.tsv, or one with .gz".into()));
        };
        let bytes = read_table(path)?;
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let count = |separator: &u8| first.iter().filter(|byte| *byte == separator).count();
        let separator = separators.iter().rev().copied().max_by_key(|s| count(s)).unwrap_or(b',');
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .delimiter(separator)
            .from_reader(Cursor::new(bytes));
        let header = reader.headers().map_err(|error| refused(error.to_string()))?;
        if header.len() > MAX_COLUMNS {
            let found = header.len();
            return Err(refused(format!("{found} columns, expected at most {MAX_COLUMNS}")));
        }
        let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        let mut known = BTreeSet::new();
        if let Some(name) = header.iter().find(|name| !known.insert(name.as_str())) {
            return Err(refused(format!("line 1: column {} stands twice", excerpt(name))));
        }
        Ok(Self { header, reader })
    }

    /// The place of a column.
    pub(super) fn place(&self, name: &str) -> Result<usize, String> {
        let place = self.header.iter().position(|column| column == name);
        place.ok_or_else(|| format!("line 1: no column {}", excerpt(name)))
    }

    /// The rows after the header, in order: at most one more than [`check_count`] allows.
    pub(super) fn rows(&mut self) -> impl Iterator<Item = Result<csv::StringRecord, String>> {
        let rows = self.reader.records().take(MAX_RECORDS + 1);
        rows.map(|row| row.map_err(|error| error.to_string()))
    }
}

/// The reason for refusing a table of too many rows, if it has them.
pub(super) fn check_count(rows: usize) -> Result<(), String> {
    let is_small = rows <= MAX_RECORDS;
    is_small.then_some(()).ok_or_else(|| format!("more than {MAX_RECORDS} rows"))
}

fn separators(path: &Path) -> Option<&'static [u8]> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    match name.strip_suffix(".gz").unwrap_or(&name).rsplit_once('.')?.1 {
        "csv" => Some(b",;\t|"),
        "tsv" => Some(b"\t"),
        _ => None,
    }
}

/// If true, a cell holds nothing.
pub(super) fn is_missing(text: &str) -> bool {
    MISSING.contains(&text.to_lowercase().as_str())
}

/// The line in which a row begins.
pub(super) fn line(row: &csv::StringRecord) -> u64 {
    row.position().map_or(0, csv::Position::line)
}
