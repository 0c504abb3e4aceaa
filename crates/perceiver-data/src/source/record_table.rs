use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use super::records::excerpt;
use super::table_reader::{TableReader, check_count, is_missing, line, target};
use super::{LabelColumns, Remarks, Source};
use crate::error::{Error, Result};
use crate::{Cell, Modality, Record, Target};

/// Rows of a table with a header line (`.csv`, `.tsv`, plain or gzipped), each a [`Record`] with one
/// modality.
///
/// A cell is a number if it reads as one. It is missing if it is empty, infinite, or one of `NA`, `N/A`,
/// `NaN`, `null` and `?`; otherwise it is a category. [`remarks`](Source::remarks) names the first word
/// of a column that also holds numbers. The separator of a `.csv` file is the one of comma, semicolon,
/// tab and `|` that occurs most often in the header. The whole file is read into memory; a row of
/// another length than the header, or whose class is missing, fails when it is requested.
#[derive(Debug, Clone)]
pub struct RecordTable {
    path: PathBuf,
    name: Arc<str>,
    columns: Arc<[String]>,
    rows: Vec<Result<Row, String>>,
    notes: Vec<String>,
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
    /// Returns an error if the file cannot be read, has another ending, exceeds 1 GiB, 2²⁷ cells, 2²⁴
    /// rows or 2¹⁴ columns, lacks a column of the label or one that `ignored` names, names a column
    /// twice, has a quote that does not end, or has no valid row.
    pub fn open(
        path: impl AsRef<Path>,
        name: impl Into<Arc<str>>,
        label: Option<&LabelColumns>,
        ignored: &[String],
    ) -> Result<Self> {
        let path = path.as_ref();
        let refused = |reason: String| Error::data(path, reason);
        let table = TableReader::open(path)?;
        let targets = table.label_places(label).map_err(refused)?;
        let ignored = table.places(ignored).map_err(refused)?;
        let is_input = |index: &usize| !targets.contains(index) && !ignored.contains(index);
        let inputs: Vec<usize> = (0..table.header.len()).filter(is_input).collect();
        if inputs.is_empty() {
            return Err(refused("line 1: no column beside the label".into()));
        }
        let columns: Arc<[String]> =
            inputs.iter().map(|&index| table.header[index].clone()).collect();
        let row = |found: csv::ByteRecord| {
            let line = line(&found);
            let row = row(&table, found, &inputs, &targets, label);
            let row = row.map(|(cells, target)| Row { line, cells, target });
            row.map_err(|reason| format!("line {line}: {reason}"))
        };
        let rows = table.rows().map(|found| found.map(row));
        let rows = rows.collect::<Result<Vec<_>, _>>().map_err(refused)?;
        check_count(rows.len()).map_err(refused)?;
        if !rows.iter().any(Result::is_ok) {
            let first = rows.into_iter().find_map(Result::err);
            return Err(refused(first.unwrap_or_else(|| "it has no rows".into())));
        }
        let notes = mixed(path, &columns, &rows);
        Ok(Self { path: path.to_owned(), name: name.into(), columns, rows, notes })
    }
}

fn row(
    table: &TableReader,
    found: csv::ByteRecord,
    inputs: &[usize],
    targets: &[usize],
    label: Option<&LabelColumns>,
) -> Result<(Vec<Cell>, Option<Target>), String> {
    let fields = table.header.len();
    if found.len() != fields {
        return Err(format!("{} fields, expected {fields}", found.len()));
    }
    let found = table.text(found)?;
    let target = target(label, targets.iter().map(|&index| found[index].trim()))?;
    Ok((inputs.iter().map(|&index| cell(found[index].trim())).collect(), target))
}

fn cell(text: &str) -> Cell {
    match text.parse::<f32>() {
        Ok(number) if number.is_finite() => Cell::Number(number),
        Ok(_) => Cell::Missing,
        Err(_) if is_missing(text) => Cell::Missing,
        Err(_) => Cell::Category(text.to_owned()),
    }
}

/// A note for each column with numbers and words, since one stray word makes categories of all numbers.
fn mixed(path: &Path, columns: &[String], rows: &[Result<Row, String>]) -> Vec<String> {
    let mut notes = Vec::new();
    for (place, column) in columns.iter().enumerate() {
        let cells = || rows.iter().flatten().map(|row| (row.line, &row.cells[place]));
        let word = cells().find_map(|(line, cell)| match cell {
            Cell::Category(word) => Some((line, word)),
            _ => None,
        });
        if let Some((line, word)) = word
            && cells().any(|(_, cell)| matches!(cell, Cell::Number(_)))
        {
            let (path, column, word) = (path.display(), excerpt(column), excerpt(word));
            notes.push(format!(
                "{path}: line {line}: column {column} holds numbers and the word {word}; training \
                 reads all of them as categories"
            ));
        }
    }
    notes
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

    fn remarks(&self) -> Remarks {
        Remarks { notes: self.notes.clone(), ..Remarks::default() }
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
        let ignored: &[_] = if text.contains("id") { &["id".to_owned()] } else { &[] };
        let table = RecordTable::open(path, "row", Some(label), ignored)?;
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

    #[test]
    fn a_word_among_numbers_is_remarked_and_a_misspelt_column_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, "id,age,city\n1,3,Oslo\n2,inf,Rome\n3,1e400,Rome\n4,n.a.,\n")
            .unwrap();
        let table = RecordTable::open(&path, "row", None, &[]).unwrap();
        let expected = "line 5: column \"age\" holds numbers and the word \"n.a.\"; training reads \
                        all of them as categories";
        assert_eq!(table.remarks().notes, [format!("{}: {expected}", path.display())]);
        let mut random = ChaCha8Rng::seed_from_u64(0);
        for row in [1, 2] {
            let record = table.example(row, &mut random).unwrap();
            let Modality::Table { cells, .. } = &record.inputs[0].1 else { panic!("no table") };
            assert_eq!(cells[1], Cell::Missing);
        }
        let error = RecordTable::open(&path, "row", None, &["Id".to_owned()]).unwrap_err();
        assert!(error.to_string().ends_with("t.csv: line 1: no column \"Id\""), "{error}");
    }
}
