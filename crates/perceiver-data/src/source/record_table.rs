use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use super::records::excerpt;
use super::table_reader::{TableReader, check_count, is_missing, line};
use super::{LabelColumns, Source};
use crate::error::{Error, Result};
use crate::{Cell, Modality, Record, Target};

/// Rows of a table with a header line (`.csv`, `.tsv`, plain or gzipped), each a [`Record`] with one
/// modality.
///
/// A cell is a number if it reads as one. It is missing if it is empty or one of `NA`, `N/A`, `NaN`,
/// `null` and `?`; otherwise it is a category. The separator of a `.csv` file is the one of comma,
/// semicolon, tab and `|` that occurs most often in the header. The whole file is read into memory;
/// a row of another length than the header fails when it is requested.
#[derive(Debug, Clone)]
pub struct RecordTable {
    path: PathBuf,
    name: Arc<str>,
    columns: Arc<[String]>,
    rows: Vec<Result<Row, String>>,
}

#[derive(Debug, Clone)]
struct Row {
    line: u64,
    cells: Vec<Cell>,
    target: Option<Target>,
}

impl RecordTable {
    /// Reads a file into records with a modality called `name`. The columns of the label, if any,
    /// are no part of it. Neither are those that `ignored` names, such as numbers of rows.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, has another ending, exceeds 1 GiB, 2²⁴ rows or
    /// 2¹⁴ columns, lacks a column of the label, names a column twice, or has no valid row.
    pub fn open(
        path: impl AsRef<Path>,
        name: impl Into<Arc<str>>,
        label: Option<&LabelColumns>,
        ignored: &[String],
    ) -> Result<Self> {
        let path = path.as_ref();
        let refused = |reason: String| Error::data(path, reason);
        let mut table = TableReader::open(path)?;
        let place = |name: &String| table.place(name).map_err(refused);
        let targets = match label {
            None => Vec::new(),
            Some(LabelColumns::Class(name)) => vec![place(name)?],
            Some(LabelColumns::Values(names)) => names.iter().map(place).collect::<Result<_>>()?,
        };
        let is_input =
            |index: &usize| !targets.contains(index) && !ignored.contains(&table.header[*index]);
        let inputs: Vec<usize> = (0..table.header.len()).filter(is_input).collect();
        if inputs.is_empty() {
            return Err(refused("line 1: no column beside the label".into()));
        }
        let columns = inputs.iter().map(|&index| table.header[index].clone()).collect();
        let fields = table.header.len();
        let row = |found: Result<csv::StringRecord, String>| {
            found.and_then(|found| row(&found, fields, &inputs, &targets, label))
        };
        let rows: Vec<_> = table.rows().map(row).collect();
        check_count(rows.len()).map_err(refused)?;
        if !rows.iter().any(Result::is_ok) {
            let first = rows.into_iter().find_map(Result::err);
            return Err(refused(first.unwrap_or_else(|| "it has no rows".into())));
        }
        Ok(Self { path: path.to_owned(), name: name.into(), columns, rows })
    }
}

fn row(
    record: &csv::StringRecord,
    fields: usize,
    inputs: &[usize],
    targets: &[usize],
    label: Option<&LabelColumns>,
) -> Result<Row, String> {
    let line = line(record);
    if record.len() != fields {
        return Err(format!("line {line}: {} fields, expected {fields}", record.len()));
    }
    let number = |&index: &usize| {
        let text = record[index].trim();
        let number = text.parse::<f32>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| format!("line {line}: {} is not a number", excerpt(text)))
    };
    let target = match label {
        None => None,
        Some(LabelColumns::Class(_)) => match record[targets[0]].trim() {
            "" => return Err(format!("line {line}: the label is empty")),
            name => Some(Target::Class(name.to_owned())),
        },
        Some(LabelColumns::Values(_)) => {
            Some(Target::Values(targets.iter().map(number).collect::<Result<_, _>>()?))
        }
    };
    let cells = inputs.iter().map(|&index| cell(record[index].trim())).collect();
    Ok(Row { line, cells, target })
}

fn cell(text: &str) -> Cell {
    match text.parse::<f32>() {
        Ok(number) if number.is_finite() => Cell::Number(number),
        _ if is_missing(text) => Cell::Missing,
        _ => Cell::Category(text.to_owned()),
    }
}

impl Source for RecordTable {
    type Example = Record;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn example(&self, index: usize, _: &mut ChaCha8Rng) -> Result<Record> {
        let Row { line, cells, target } =
            self.rows[index].clone().map_err(|reason| Error::data(&self.path, reason))?;
        let row = Modality::Table { columns: self.columns.clone(), cells };
        Ok(Record {
            origin: format!("{}, line {line}", self.path.display()),
            inputs: vec![(self.name.clone(), row)],
            target,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn open(name: &str, text: &str, label: &LabelColumns) -> Result<Vec<Result<Record>>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let table = RecordTable::open(path, "row", Some(label), &["id".to_owned()])?;
        let mut random = ChaCha8Rng::seed_from_u64(0);
        Ok((0..table.len()).map(|index| table.example(index, &mut random)).collect())
    }

    #[test]
    fn cells_are_numbers_categories_or_missing() {
        let text = "id;kind;age;city\n1;a;3.5;Oslo\n2;b;?;1e3\n3;a;4\n";
        let rows = open("t.csv", text, &LabelColumns::Class("kind".into())).unwrap();
        let row = |cells: [Cell; 2], line: usize, class: &str| {
            let columns = ["age", "city"].map(String::from).into();
            let found = rows[line - 2].as_ref().unwrap();
            let table = Modality::Table { columns, cells: cells.to_vec() };
            assert_eq!(found.inputs, [(Arc::from("row"), table)]);
            assert_eq!(found.target, Some(Target::Class(class.into())));
            assert!(found.origin.ends_with(&format!("t.csv, line {line}")), "{}", found.origin);
        };
        row([Cell::Number(3.5), Cell::Category("Oslo".into())], 2, "a");
        row([Cell::Missing, Cell::Number(1000.0)], 3, "b");
        let error = rows[2].as_ref().unwrap_err().to_string();
        assert!(error.ends_with("t.csv: line 4: 3 fields, expected 4"), "{error}");
    }

    #[test]
    fn tables_that_cannot_be_used_are_refused_in_one_line() {
        let values = LabelColumns::Values(vec!["price".into()]);
        for (name, text, expected) in [
            ("t.xlsx", "a,price\n1,2\n", "expected a file named *.csv or *.tsv, or one with .gz"),
            ("t.csv", "a,cost\n1,2\n", "line 1: no column \"price\""),
            ("t.csv", "a,a,price\n1,2,3\n", "line 1: column \"a\" stands twice"),
            ("t.csv", "id,price\n1,2\n", "line 1: no column beside the label"),
            ("t.csv", "a,price\n", "it has no rows"),
            ("t.csv", "a,price\n1,cheap\n", "line 2: \"cheap\" is not a number"),
        ] {
            let error = open(name, text, &values).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error}");
        }
    }
}
