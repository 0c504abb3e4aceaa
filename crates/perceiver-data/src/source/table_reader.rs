//! The lines of a table of numbers and categories.

use std::collections::BTreeSet;
use std::path::Path;

use super::LabelColumns;
use super::records::{Form, MAX_RECORDS, excerpt, finite_number, unclosed_quote};
use crate::Target;
use crate::error::{Error, Result};
use crate::text_file::read_table;

/// Most columns of a table, or channels of a series.
pub(super) const MAX_COLUMNS: usize = 1 << 14;
/// Most cells of a table, which take more memory than their text.
const MAX_CELLS: usize = 1 << 27;
/// Cells that hold nothing, whatever their case.
const MISSING: [&str; 6] = ["", "na", "n/a", "nan", "null", "?"];

/// A table with a header line (`.csv`, `.tsv`, plain or gzipped), whose separator is the one of comma,
/// semicolon, tab and `|` that occurs most often in the header.
pub(super) struct TableReader {
    pub(super) header: Vec<String>,
    separator: u8,
    bytes: Vec<u8>,
}

impl TableReader {
    /// Reads a file and its header.
    ///
    /// # Errors
    /// If the file cannot be read, has another ending, exceeds 1 GiB, 2²⁷ cells or 2¹⁴ columns, or
    /// names a column twice.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let refused = |reason: String| Error::data(path, reason);
        let Some(Form::Separated(separators)) = Form::of(path) else {
            return Err(refused("expected a file named *.csv or *.tsv, or one with .gz".into()));
        };
        let bytes = read_table(path)?;
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let count = |separator: &u8| first.iter().filter(|byte| *byte == separator).count();
        let separator = separators.iter().rev().copied().max_by_key(|s| count(s)).unwrap_or(b',');
        check_cells(&bytes, separator, MAX_CELLS).map_err(refused)?;
        let header = header(&bytes, separator).map_err(refused)?;
        Ok(Self { header, separator, bytes })
    }

    /// The place of a column.
    pub(super) fn place(&self, name: &str) -> Result<usize, String> {
        let place = self.header.iter().position(|column| column == name);
        place.ok_or_else(|| format!("line 1: no column {}", excerpt(name)))
    }

    /// The places of several columns.
    pub(super) fn places(&self, names: &[String]) -> Result<Vec<usize>, String> {
        names.iter().map(|name| self.place(name)).collect()
    }

    /// The places of the columns of the label.
    pub(super) fn label_places(&self, label: Option<&LabelColumns>) -> Result<Vec<usize>, String> {
        self.places(match label {
            None => &[],
            Some(LabelColumns::Class(name)) => std::slice::from_ref(name),
            Some(LabelColumns::Values(names)) => names,
        })
    }

    /// The rows after the header, in order: at most one more than [`check_count`] allows. An error is
    /// the reason why the rest of the table cannot be read.
    pub(super) fn rows(&self) -> impl Iterator<Item = Result<csv::ByteRecord, String>> {
        // Only reading can fail, and these bytes are in memory.
        let rows = reader(&self.bytes, self.separator).into_byte_records().flatten();
        rows.take(MAX_RECORDS + 1).map(|row| check_quote(&self.bytes, row))
    }

    /// A row as text.
    ///
    /// # Errors
    /// If a column is not UTF-8: its name.
    pub(super) fn text(&self, row: csv::ByteRecord) -> Result<csv::StringRecord, String> {
        csv::StringRecord::from_byte_record(row).map_err(|error| {
            let column = self.header.get(error.utf8_error().field());
            format!("column {} is not UTF-8", excerpt(column.map_or("", String::as_str)))
        })
    }
}

fn reader(bytes: &[u8], separator: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().flexible(true).delimiter(separator).from_reader(bytes)
}

/// The names of the columns.
fn header(bytes: &[u8], separator: u8) -> Result<Vec<String>, String> {
    let mut reader = reader(bytes, separator);
    let header = reader.byte_headers().map_err(|error| error.to_string())?;
    let header = check_quote(bytes, header.clone())?;
    if header.len() > MAX_COLUMNS {
        return Err(format!("{} columns, expected at most {MAX_COLUMNS}", header.len()));
    }
    let header = csv::StringRecord::from_byte_record(header)
        .map_err(|_| "line 1: the header is not UTF-8".to_owned())?;
    let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
    let mut known = BTreeSet::new();
    match header.iter().find(|name| !known.insert(name.as_str())) {
        Some(name) => Err(format!("line 1: column {} stands twice", excerpt(name))),
        None => Ok(header),
    }
}

fn check_quote(bytes: &[u8], row: csv::ByteRecord) -> Result<csv::ByteRecord, String> {
    match unclosed_quote(bytes, &row) {
        Some(line) => Err(format!("line {line}: the quote does not end")),
        None => Ok(row),
    }
}

/// Refuses a table of too many cells before any is read.
fn check_cells(bytes: &[u8], separator: u8, most: usize) -> Result<(), String> {
    let ends = bytes.iter().filter(|byte| **byte == separator || **byte == b'\n').count();
    if ends > most {
        return Err(format!("more than {most} cells, expected at most that many"));
    }
    Ok(())
}

/// The label in the cells of its columns.
///
/// # Errors
/// Why it is none.
pub(super) fn target<'a>(
    label: Option<&LabelColumns>,
    mut cells: impl Iterator<Item = &'a str>,
) -> Result<Option<Target>, String> {
    match label {
        None => Ok(None),
        Some(LabelColumns::Class(_)) => match cells.next().unwrap_or_default() {
            "" => Err("the label is empty".into()),
            name if is_missing(name) => Err(format!("the label is missing: {}", excerpt(name))),
            name => Ok(Some(Target::Class(name.to_owned()))),
        },
        Some(LabelColumns::Values(_)) => {
            Ok(Some(Target::Values(cells.map(finite_number).collect::<Result<_, _>>()?)))
        }
    }
}

/// The reason for refusing a table of too many rows, if it has them.
pub(super) fn check_count(rows: usize) -> Result<(), String> {
    let is_small = rows <= MAX_RECORDS;
    is_small.then_some(()).ok_or_else(|| format!("more than {MAX_RECORDS} rows"))
}

/// If true, a cell holds nothing.
pub(super) fn is_missing(text: &str) -> bool {
    MISSING.contains(&text.to_lowercase().as_str())
}

/// The line in which a row begins.
pub(super) fn line(row: &csv::ByteRecord) -> u64 {
    row.position().map_or(0, csv::Position::line)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn more_cells_than_memory_is_meant_for_are_refused_unread() {
        let table = b"a;b\n1;2\n3;4\n";
        assert_eq!(check_cells(table, b';', 6), Ok(()));
        let expected = "more than 5 cells, expected at most that many";
        assert_eq!(check_cells(table, b';', 5), Err(expected.into()));
    }

    #[test]
    fn a_quote_that_does_not_end_refuses_the_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let table = TableReader::open(&path).map_err(|error| error.to_string())?;
            table.rows().map(|row| row.map(|row| row.len())).collect::<Result<Vec<_>, _>>()
        };
        assert_eq!(read("a,b\n1,\"x\ny\"\n2,\"\"\"z\"\n"), Ok(vec![2, 2]));
        let expected = Err("line 3: the quote does not end".into());
        assert_eq!(read("a,b\n1,x\n2,\"y\n3,z\n4,z\n"), expected);
        assert_eq!(read("a,b\n1,x\n\"2,y\n3,z\n"), expected);
        let error = read("a,\"b\n1,x\n").unwrap_err();
        assert!(error.ends_with("a.csv: line 1: the quote does not end"), "{error}");
    }

    #[test]
    fn a_missing_label_is_no_class() {
        let class = LabelColumns::Class("kind".into());
        let found = |text: &'static str| target(Some(&class), [text].into_iter());
        assert_eq!(found("Nan"), Err("the label is missing: \"Nan\"".into()));
        assert_eq!(found("?"), Err("the label is missing: \"?\"".into()));
        assert_eq!(found("none"), Ok(Some(Target::Class("none".into()))));
    }
}
