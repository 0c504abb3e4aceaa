//! From the bytes of a table to its records.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

/// Most records of a table: bounds memory even if each record is only a few bytes.
pub(super) const MAX_RECORDS: usize = 1 << 24;

/// Records of which none can be read before the rest is not tried.
const MAX_WRONG: usize = 1 << 12;

/// Number of columns listed in the error about a missing one.
const MAX_NAMED_COLUMNS: usize = 10;

/// A text and its label as written in the file, or the record's error.
pub(super) type Record = Result<(String, Vec<String>), String>;

/// The form of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Fields separated by the first of these bytes that yields the wanted columns.
    Separated(&'static [u8]),
    /// An object per line.
    JsonLines,
    /// An array of objects, or an object per line.
    Json,
}

impl Form {
    /// The reason for refusing a file with another ending.
    pub(super) const EXPECTED: &'static str =
        "expected a file named *.csv, *.tsv, *.jsonl, *.ndjson or *.json, or one of these with .gz";

    /// The form for a file's name.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let (_, ending) = name.strip_suffix(".gz").unwrap_or(&name).rsplit_once('.')?;
        match ending {
            "csv" => Some(Self::Separated(b",;\t|")),
            "tsv" => Some(Self::Separated(b"\t")),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// At most one record more than [`MAX_RECORDS`], with the text in the first of the wanted
    /// columns.
    pub(super) fn records(self, bytes: &[u8], wanted: &[&str]) -> Result<Vec<Record>, String> {
        match self {
            Self::Separated(separators) => {
                let with = |separator: &u8| separated(bytes, *separator, wanted);
                let mut found = separators.iter().map(with);
                let first = found.next().unwrap_or_else(|| Ok(Vec::new()));
                // The error names the columns between the usual separators.
                first.or_else(|error| found.find(Result::is_ok).unwrap_or(Err(error)))
            }
            Self::Json if bytes.trim_ascii_start().starts_with(b"[") => {
                let elements = Elements::new(bytes).take(MAX_RECORDS + 1);
                collected(
                    elements.map(|found| found.map(|(line, json)| object(line, json, wanted))),
                )
            }
            Self::Json | Self::JsonLines => {
                let lines = (1..).zip(bytes.split(|byte| *byte == b'\n'));
                let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
                let records = lines.take(MAX_RECORDS + 1);
                collected(records.map(|(number, line)| Ok(object(number, line, wanted))))
            }
        }
    }
}

/// The records, unless so many cannot be read and none can that the file holds something else.
fn collected(found: impl Iterator<Item = Result<Record, String>>) -> Result<Vec<Record>, String> {
    let (mut records, mut is_readable) = (Vec::new(), false);
    for record in found {
        let record = record?;
        is_readable |= record.is_ok();
        records.push(record);
        if let (false, MAX_WRONG, Some(Err(first))) = (is_readable, records.len(), records.first())
        {
            return Err(format!("{first}; none of the first {MAX_WRONG} records can be read"));
        }
    }
    Ok(records)
}

fn separated(bytes: &[u8], separator: u8, wanted: &[&str]) -> Result<Vec<Record>, String> {
    // Records of another length than the header get our own message.
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).delimiter(separator).from_reader(bytes);
    let headers = reader.byte_headers().map_err(|error| error.to_string())?.clone();
    let places: BTreeMap<&[u8], usize> = headers.iter().zip(0..).collect();
    let mut columns = Vec::new();
    for name in wanted {
        columns.push(*places.get(name.as_bytes()).ok_or_else(|| {
            let known = headers.iter().take(MAX_NAMED_COLUMNS);
            let known: Vec<_> = known.map(|name| excerpt(&String::from_utf8_lossy(name))).collect();
            format!("line 1: no column `{name}`, found {}", known.join(", "))
        })?);
    }
    let record = |record: csv::ByteRecord| {
        let line = record.position().map_or(0, csv::Position::line);
        let fields = || {
            if record.len() != headers.len() {
                return Err(format!("{} fields, expected {}", record.len(), headers.len()));
            }
            let field = |(column, name): (&usize, &&str)| {
                let text = std::str::from_utf8(&record[*column]);
                text.map(str::to_owned).map_err(|_| format!("`{name}` is not UTF-8"))
            };
            columns.iter().zip(wanted).map(field).collect()
        };
        fields().and_then(split).map_err(|reason| format!("line {line}: {reason}"))
    };
    // Only reading can fail, and these bytes are in memory.
    let found = reader.byte_records().flatten().take(MAX_RECORDS + 1);
    collected(found.map(|found| match unclosed_quote(bytes, &found) {
        Some(line) => Err(format!("line {line}: the quote does not end")),
        None => Ok(record(found)),
    }))
}

/// The line in which a record begins whose last field is quoted and swallows the rest of the table.
pub(super) fn unclosed_quote(bytes: &[u8], record: &csv::ByteRecord) -> Option<u64> {
    let last = record.iter().next_back()?;
    let rest = bytes.get(usize::try_from(record.position()?.byte()).ok()?..)?;
    // Quotes within quotes are doubled, so a field that ends has an even number of them.
    let is_open = last.contains(&b'\n') && rest.ends_with(last);
    let quotes = || rest.iter().filter(|byte| **byte == b'"').count();
    (is_open && quotes() % 2 == 1).then(|| record.position().map_or(0, csv::Position::line))
}

/// The record in a JSON object, which begins in a line of the file.
fn object(line: usize, json: &[u8], wanted: &[&str]) -> Record {
    let object: Result<Map<String, Value>, _> = serde_json::from_slice(json);
    // The parser counts lines within the object alone.
    let object = object.map_err(|error| format!("no JSON object, at column {}", error.column()));
    let fields = object.and_then(|object| {
        let field = |name: &&str| match object.get(*name) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
            Some(other) => Err(format!("`{name}` is {}", excerpt(&other.to_string()))),
            None => Err(format!("no key `{name}`")),
        };
        wanted.iter().map(field).collect()
    });
    fields.and_then(split).map_err(|reason| format!("line {line}: {reason}"))
}

/// The elements of a JSON array, each with the line that it begins in. They are not parsed, so one
/// that is damaged leaves the others readable.
struct Elements<'a> {
    bytes: &'a [u8],
    place: usize,
    line: usize,
    state: State,
}

/// The next part of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Element,
    /// Nothing but spaces.
    End,
    Over,
}

impl<'a> Elements<'a> {
    /// The elements of an array, whose bracket is the first byte that is not a space.
    fn new(bytes: &'a [u8]) -> Self {
        let mut elements = Self { bytes, place: 0, line: 1, state: State::Element };
        elements.skip_spaces();
        elements.place += 1;
        elements.skip_spaces();
        if elements.bytes.get(elements.place) == Some(&b']') {
            elements.place += 1;
            elements.state = State::End;
        }
        elements
    }

    fn skip_spaces(&mut self) {
        while let Some(byte) = self.bytes.get(self.place).filter(|byte| byte.is_ascii_whitespace())
        {
            self.line += usize::from(*byte == b'\n');
            self.place += 1;
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<(usize, &'a [u8]), String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_spaces();
        let (start, line) = (self.place, self.line);
        if self.state == State::End {
            self.state = State::Over;
            let is_rest = start < self.bytes.len();
            return is_rest.then(|| Err(format!("line {line}: more after the array's end")));
        }
        if self.state == State::Over {
            return None;
        }
        let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
        while let Some(&byte) = self.bytes.get(self.place) {
            self.place += 1;
            self.line += usize::from(byte == b'\n');
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_text => is_escaped = true,
                b'"' => is_text = !is_text,
                _ if is_text => {}
                b'[' | b'{' => depth += 1,
                b',' | b']' if depth == 0 => {
                    self.state = if byte == b']' { State::End } else { State::Element };
                    return Some(Ok((line, &self.bytes[start..self.place - 1])));
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        self.state = State::Over;
        Some(Err(format!("line {line}: the array does not end, expected ]")))
    }
}

/// Separates the text, which is the first field, from its label.
fn split(mut fields: Vec<String>) -> Record {
    let label = fields.split_off(1);
    let text = fields.remove(0);
    match (text.trim().is_empty(), label.iter().any(String::is_empty)) {
        (true, _) => Err("the text is empty".to_owned()),
        (_, true) => Err("the label is empty".to_owned()),
        _ => Ok((text, label)),
    }
}

/// A label that is a number.
pub(super) fn finite_number(text: &str) -> Result<f32, String> {
    let number = text.trim().parse().ok().filter(|number: &f32| number.is_finite());
    number.ok_or_else(|| format!("{} is not a number", excerpt(text)))
}

/// The quoted beginning of a value from the file.
pub(super) fn excerpt(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    if short.len() < text.len() { format!("{short:?}…") } else { format!("{short:?}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_other_things_is_refused_at_its_beginning() {
        for (name, bytes) in
            [("a.json", format!("[{}1]", "1,\n".repeat(9000))), ("a.jsonl", "1\n".repeat(9000))]
        {
            let reason = records(name, bytes.as_bytes()).unwrap_err();
            let expected =
                "line 1: no JSON object, at column 1; none of the first 4096 records can be read";
            assert_eq!(reason, expected);
        }
        let late = format!("{}{{\"text\": \"a\", \"label\": \"b\"}}\n", "1\n".repeat(4000));
        assert!(records("a.jsonl", late.as_bytes()).unwrap().last().unwrap().is_ok());
    }

    fn records(name: &str, bytes: &[u8]) -> Result<Vec<Record>, String> {
        Form::of(Path::new(name)).unwrap().records(bytes, &["text", "label"])
    }

    fn good(text: &str, label: &str) -> Record {
        Ok((text.to_owned(), vec![label.to_owned()]))
    }

    #[test]
    fn the_ending_tells_the_form_whatever_its_case_and_packing() {
        for (name, expected) in [
            ("a.csv", Some(Form::Separated(b",;\t|"))),
            ("a.b.CSV.gz", Some(Form::Separated(b",;\t|"))),
            ("a.Tsv", Some(Form::Separated(b"\t"))),
            ("a.jsonl.gz", Some(Form::JsonLines)),
            ("a.json", Some(Form::Json)),
            ("a.gz", None),
            ("csv", None),
            (".csv", Some(Form::Separated(b",;\t|"))),
        ] {
            assert_eq!(Form::of(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn the_separator_is_the_one_that_yields_the_columns() {
        let expected = [good("a, b", "x"), good("c", "y")];
        for (name, table) in [
            ("t.csv", "text,label\n\"a, b\",x\nc,y\n"),
            ("t.csv", "label;text\nx;a, b\ny;c\n"),
            ("t.csv", "n\ttext\tlabel\n1\ta, b\tx\n2\tc\ty\n"),
            ("t.csv", "text|label\r\na, b|x\r\nc|y\r\n"),
            ("t.tsv", "text\tlabel\na, b\tx\n\nc\ty\n"),
        ] {
            assert_eq!(records(name, table.as_bytes()).unwrap(), expected, "{table}");
        }
        let message = records("t.csv", b"a;b\n1;2\n").unwrap_err();
        assert_eq!(message, "line 1: no column `text`, found \"a;b\"");
    }

    #[test]
    fn a_quote_that_swallows_the_rest_of_a_table_is_refused_by_its_line() {
        let table = "text,label\na,x\n\"b,y\nc,x\nd,y\n";
        let message = records("t.csv", table.as_bytes()).unwrap_err();
        assert_eq!(message, "line 3: the quote does not end");
        let table = "text\tlabel\na\tx\n\"b\ty\nc\tx";
        assert_eq!(
            records("t.tsv", table.as_bytes()).unwrap_err(),
            "line 3: the quote does not end"
        );
        // A text of several lines, and a quote within a field, end.
        let table = "label,text\nx,\"a\n\"\"b\"\"\n\"\ny,5\" disks\n";
        let expected = [good("a\n\"b\"\n", "x"), good("5\" disks", "y")];
        assert_eq!(records("t.csv", table.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn an_array_holds_the_same_as_lines() {
        let pretty = b" [\n  {\"text\": \"a]}, \\\"b\", \"label\": 1},\n  {\"label\": [2],\n   \
                       \"text\": \"c\"}, 7,\n{\"text\": \"d\", \"label\": \"x\", \"n\": {\"o\": []}}\n]\n";
        let found = records("t.json", pretty).unwrap();
        assert_eq!([&found[0], &found[3]], [&good("a]}, \"b", "1"), &good("d", "x")]);
        assert_eq!(found[1], Err("line 3: `label` is \"[2]\"".to_owned()));
        assert_eq!(found[2], Err("line 4: no JSON object, at column 1".to_owned()));
        assert_eq!(found.len(), 4);
        let lines = b"{\"text\": \"a\", \"label\": 1}\n{\"text\": \"b\", \"label\": 2}\n";
        assert_eq!(records("t.json", lines).unwrap(), [good("a", "1"), good("b", "2")]);
    }

    #[test]
    fn arrays_without_elements_or_an_end_are_told_apart() {
        assert_eq!(records("t.json", b"[ ]\n").unwrap(), []);
        for rest in [b"[]\n[]".as_slice(), b"[{}]\n,"] {
            assert_eq!(records("t.json", rest).unwrap_err(), "line 2: more after the array's end");
        }
        let message = records("t.json", b"[{\"text\": \"a\", \"label\": 1},\n{\"te").unwrap_err();
        assert_eq!(message, "line 2: the array does not end, expected ]");
    }
}
