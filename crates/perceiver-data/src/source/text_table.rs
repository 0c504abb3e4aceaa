use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;

use super::class_names::{ClassNames, LabelForm};
use super::records::{Form, MAX_RECORDS, Record, excerpt, finite_number};
use super::{Remarks, Source, only_class};
use crate::error::{Error, Result};
use crate::text_file::read_table;

/// A text and its label.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledText {
    /// The text.
    pub text: String,
    /// Its label.
    pub label: Label,
}

/// A label of a text.
#[derive(Debug, Clone, PartialEq)]
pub enum Label {
    /// Number of its class, from 0.
    Class(usize),
    /// Numbers to predict, or zeros and ones for several independent labels.
    Values(Vec<f32>),
}

/// The columns of a table, or the keys of its JSON objects, to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextColumns {
    /// Column of the text.
    pub text: String,
    /// Columns of the label.
    pub label: LabelColumns,
}

/// The columns that hold labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelColumns {
    /// A column with the name of the class.
    Class(String),
    /// Columns of numbers.
    Values(Vec<String>),
}

/// Texts with labels, in a table with a header line (`.csv`, `.tsv`), in JSON lines (`.jsonl`,
/// `.ndjson`) or in a JSON array of objects (`.json`), plain or gzipped (`.csv.gz` and so on).
///
/// The separator of a `.csv` file is the first of comma, semicolon, tab and `|` that makes the
/// header contain the wanted columns. Blank lines are left out. Files are read as
/// [`read_text`](crate::read_text) reads texts.
///
/// Classes are numbered in the order of their names, which is numeric if all are whole numbers and
/// alphabetical otherwise. The whole file is read into memory; an invalid record fails when it is
/// requested.
#[derive(Debug, Clone)]
pub struct TextTable {
    path: PathBuf,
    records: Vec<Result<LabelledText, String>>,
    names: ClassNames,
    form: LabelForm,
}

impl TextTable {
    /// Reads a file. `names` lists the classes that a model already has, such as those of its
    /// training data; without it, the names in the file are the classes. Labels that all are indexes
    /// of classes, and none the name of one, are taken by index.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, has neither form, exceeds 1 GiB or 2²⁴ records,
    /// lacks a column, has no valid record, or has a class that is not in `names`.
    pub fn open(
        path: impl AsRef<Path>,
        columns: &TextColumns,
        names: Option<&[String]>,
    ) -> Result<Self> {
        let path = path.as_ref();
        let wanted: Vec<&str> = match &columns.label {
            LabelColumns::Class(column) => vec![&columns.text, column],
            LabelColumns::Values(values) => {
                [&columns.text].into_iter().chain(values).map(String::as_str).collect()
            }
        };
        let form = Form::of(path).ok_or_else(|| Error::data(path, Form::EXPECTED))?;
        let bytes = read_table(path)?;
        let records = form.records(&bytes, &wanted).map_err(|reason| Error::data(path, reason))?;
        if let Some(Err(first)) = records.first()
            && records.iter().all(Result::is_err)
        {
            return Err(Error::data(path, first));
        }
        if records.is_empty() {
            return Err(Error::data(path, "it has no records"));
        }
        if records.len() > MAX_RECORDS {
            let reason = format!("more than {MAX_RECORDS} records, expected at most that many");
            return Err(Error::data(path, reason));
        }
        Self::labelled(path, records, &columns.label, names)
    }

    fn labelled(
        path: &Path,
        records: Vec<Record>,
        columns: &LabelColumns,
        names: Option<&[String]>,
    ) -> Result<Self> {
        let names = match columns {
            LabelColumns::Class(_) => names.map_or_else(
                || {
                    let labels = records.iter().flatten().map(|(_, label)| label[0].as_str());
                    ClassNames::collect(labels)
                },
                ClassNames::given,
            ),
            LabelColumns::Values(_) => ClassNames::given(&[]),
        };
        let labels = records.iter().flatten().filter_map(|(_, label)| label.first());
        let form = names.form(labels.map(String::as_str));
        let numbers = names.numbers(form);
        let mut labelled = Vec::with_capacity(records.len());
        for (number, record) in (1..).zip(records) {
            labelled.push(match (record, columns) {
                (Err(reason), _) => Err(reason),
                (Ok((text, label)), LabelColumns::Class(_)) => {
                    let class = numbers.get(label[0].as_str()).ok_or_else(|| {
                        let found = excerpt(&label[0]);
                        let known = names.listed();
                        let reason =
                            format!("record {number}: {found} is not one of the classes {known}");
                        Error::data(path, reason)
                    })?;
                    Ok(LabelledText { text, label: Label::Class(*class) })
                }
                (Ok((text, label)), LabelColumns::Values(_)) => values(&label)
                    .map(|values| LabelledText { text, label: Label::Values(values) })
                    .map_err(|reason| format!("record {number}: {reason}")),
            });
        }
        Ok(Self { path: path.to_owned(), records: labelled, names, form })
    }

    /// Class names in the order of their numbers; empty if labels are values.
    #[must_use]
    pub fn class_names(&self) -> &[String] {
        self.names.names()
    }

    /// If true, labels were taken as indexes of classes, since not one of them is a name.
    #[must_use]
    pub fn labels_are_indexes(&self) -> bool {
        self.form == LabelForm::Indexes
    }

    /// The class of all texts, if they have only one: there is then nothing to learn. None if labels
    /// are values.
    #[must_use]
    pub fn only_class(&self) -> Option<usize> {
        only_class(self.records.iter().flatten().filter_map(|record| match record.label {
            Label::Class(class) => Some(class),
            Label::Values(_) => None,
        }))
    }
}

impl Source for TextTable {
    type Example = LabelledText;

    fn len(&self) -> usize {
        self.records.len()
    }

    fn example(&self, index: usize, _random: &mut ChaCha8Rng) -> Result<LabelledText> {
        self.records[index].clone().map_err(|reason| Error::data(&self.path, reason))
    }

    fn remarks(&self) -> Remarks {
        self.names.remarks(&self.path, self.form)
    }
}

fn values(label: &[String]) -> Result<Vec<f32>, String> {
    label.iter().map(|value| finite_number(value)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn columns(label: LabelColumns) -> TextColumns {
        TextColumns { text: "text".into(), label }
    }

    fn class() -> TextColumns {
        columns(LabelColumns::Class("label".into()))
    }

    fn open(
        name: &str,
        content: &[u8],
        columns: &TextColumns,
        names: Option<&[String]>,
    ) -> Result<TextTable> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        TextTable::open(path, columns, names)
    }

    fn refusal(name: &str, content: &[u8], names: Option<&[String]>) -> String {
        open(name, content, &class(), names).err().unwrap().to_string()
    }

    fn examples(table: &TextTable) -> Vec<Result<LabelledText, String>> {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let mut example = |index| table.example(index, &mut random);
        (0..table.len()).map(|index| example(index).map_err(|error| error.to_string())).collect()
    }

    fn labelled(text: &str, class: usize) -> Result<LabelledText, String> {
        Ok(LabelledText { text: text.into(), label: Label::Class(class) })
    }

    #[test]
    fn columns_of_a_csv_file_are_found_by_name() {
        let content = "label,id,text\nspam,1,\"buy, \"\"now\"\"\nhere\"\nham,2,hello\n";
        let table = open("mails.csv", content.as_bytes(), &class(), None).unwrap();
        assert_eq!(table.class_names(), ["ham", "spam"]);
        assert_eq!(examples(&table), [labelled("buy, \"now\"\nhere", 1), labelled("hello", 0)]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_name() {
        let content = "\u{feff}text,label\nhello,ham\n";
        assert_eq!(open("mails.csv", content.as_bytes(), &class(), None).unwrap().len(), 1);
    }

    #[test]
    fn json_lines_hold_the_same() {
        let content = b"{\"text\": \"a\", \"label\": 10}\n\n{\"label\": 9, \"text\": \"b\"}\r\n";
        let table = open("mails.jsonl", content, &class(), None).unwrap();
        assert_eq!(table.class_names(), ["9", "10"]);
        assert_eq!(examples(&table), [labelled("a", 1), labelled("b", 0)]);
    }

    #[test]
    fn values_are_read_from_their_columns() {
        let columns = columns(LabelColumns::Values(vec!["joy".into(), "fear".into()]));
        let content = b"fear,text,joy\n0,a,1.5\nnone,b,2\n";
        let table = open("moods.csv", content, &columns, None).unwrap();
        let examples = examples(&table);
        assert_eq!(examples[0].as_ref().unwrap().label, Label::Values(vec![1.5, 0.0]));
        assert!(examples[1].as_ref().unwrap_err().ends_with("record 2: \"none\" is not a number"));
    }

    #[test]
    fn bad_records_are_named_when_asked_for_and_others_stay() {
        let content = b"text,label\ngood,a\nshort\n\xff,a\n ,a\nb,\nlast,a\n";
        let table = open("mails.csv", content, &class(), None).unwrap();
        let examples = examples(&table);
        let reasons: Vec<_> =
            examples.iter().filter_map(|example| example.as_ref().err()).collect();
        let expected = [
            "line 3: 1 fields, expected 2",
            "line 4: `text` is not UTF-8",
            "line 5: the text is empty",
            "line 6: the label is empty",
        ];
        for (reason, expected) in reasons.iter().zip(expected) {
            assert!(reason.ends_with(&format!("mails.csv: {expected}")), "{reason}");
        }
        assert_eq!((reasons.len(), examples.len()), (4, 6));
        assert_eq!(examples[5], labelled("last", 0));
    }

    #[test]
    fn bad_lines_of_json_are_named() {
        let content = b"{\"text\": \"a\", \"label\": \"x\"}\n[1]\n{\"text\": \"b\"}\n\
                        {\"text\": null, \"label\": \"x\"}\n";
        let table = open("mails.jsonl", content, &class(), None).unwrap();
        let examples = examples(&table);
        let reason = |index: usize| examples[index].as_ref().unwrap_err().clone();
        assert!(reason(1).contains("mails.jsonl: line 2: no JSON object"), "{}", reason(1));
        assert!(reason(2).ends_with("line 3: no key `label`"));
        assert!(reason(3).ends_with("line 4: `text` is \"null\""));
    }

    #[test]
    fn a_missing_column_is_named_with_those_there_are() {
        let message = refusal("mails.csv", b"body,label\na,b\n", None);
        assert!(
            message.ends_with("line 1: no column `text`, found \"body\", \"label\""),
            "{message}"
        );
    }

    #[test]
    fn tables_without_a_usable_record_are_refused() {
        assert!(refusal("mails.csv", b"text,label\n", None).ends_with("it has no records"));
        assert!(refusal("mails.csv", b"text,label\na\n", None).contains("line 2: 1 fields"));
        assert!(refusal("mails.jsonl", b"", None).ends_with("it has no records"));
        assert!(refusal("mails.txt", b"", None).contains("named *.csv, *.tsv, *.jsonl"));
    }

    #[test]
    fn given_classes_keep_their_numbers_and_others_are_refused() {
        let names = ["spam".to_owned(), "ham".to_owned()];
        let table = open("m.csv", b"text,label\na,ham\n", &class(), Some(&names)).unwrap();
        assert_eq!(examples(&table), [labelled("a", 1)]);
        let message = refusal("m.csv", b"text,label\na,ham\nb,news\n", Some(&names));
        assert!(
            message.ends_with("record 2: \"news\" is not one of the classes \"spam\", \"ham\""),
            "{message}"
        );
    }

    #[test]
    fn labels_are_taken_by_index_where_no_name_fits_and_said_to_be() {
        let names = ["spam".to_owned(), "ham".to_owned()];
        let table = open("m.csv", b"text,label\na,1\nb,0\n", &class(), Some(&names)).unwrap();
        assert_eq!(examples(&table), [labelled("a", 1), labelled("b", 0)]);
        let notes = table.remarks().notes;
        assert!(notes[0].ends_with("by index, 0 as \"spam\", 1 as \"ham\""), "{notes:?}");
        let message = refusal("m.csv", b"text,label\na,ham\nb,0\n", Some(&names));
        assert!(
            message.ends_with("record 2: \"0\" is not one of the classes \"spam\", \"ham\""),
            "{message}"
        );
        let named = open("m.csv", b"text,label\na,ham\n", &class(), Some(&names)).unwrap();
        assert_eq!(named.remarks(), Remarks::default());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            content in "(text|label|,|\"|\n|[a-c]|\\{|\\}|\\[|\\]|:){0,30}",
            cut in prop::collection::vec(any::<u8>(), 0..4),
            form in prop::sample::select(&["csv", "tsv", "jsonl", "json"][..]),
        ) {
            let head: &[u8] = match form {
                "csv" => b"text,label\n",
                "tsv" => b"text\tlabel\n",
                "json" => b"[",
                _ => b"",
            };
            let content = [head, content.as_bytes(), &cut].concat();
            let name = format!("a.{form}");
            if let Ok(table) = open(&name, &content, &class(), None) {
                let _ = examples(&table);
            }
        }
    }
}
