//! What a run writes down while it learns.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Error, Quantity, Result};

/// Name of a run's log in its folder.
pub const LOG_NAME: &str = "metrics.jsonl";

/// Longest line that is read, in bytes; an honest one has a few hundred.
const MAX_LINE: u64 = 1 << 16;

/// A run's `metrics.jsonl`, in the order of its steps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Log {
    /// Lines about what was learned from.
    pub train: Vec<Record>,
    /// Lines about what was only looked at.
    pub validation: Vec<Record>,
}

/// A line of a run's `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Steps that had been made.
    pub step: u64,
    /// What the numbers were measured on.
    pub part: Part,
    /// Mean loss; not a number, which JSON writes as `null`, where the run diverged.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// What people read, in the units of [`Quantity::unit`].
    #[serde(deserialize_with = "numbers")]
    pub measures: BTreeMap<Quantity, f64>,
    /// Learning rate of the step; none of validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Time spent, over all the times that the run was resumed.
    pub seconds: f64,
}

/// A part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// What is learned from.
    Train,
    /// What is only looked at.
    Validation,
}

impl Log {
    /// Reads a log. A last line without its end, as a killed run leaves it, is passed over. Where
    /// a resumed run made steps again, the lines of the first time no longer count.
    ///
    /// # Errors
    /// Where the file cannot be read, or a line is no [`Record`]: names the file and the line.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let io = |source| Error::Io { path: path.to_owned(), action: "read", source };
        let mut file = BufReader::new(File::open(path).map_err(io)?);
        let mut log = Self::default();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let length = file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).map_err(io)?;
            if !line.ends_with(b"\n") && length as u64 != MAX_LINE {
                break;
            }
            let record: Record = serde_json::from_slice(&line).map_err(|source| Error::Log {
                path: path.to_owned(),
                line: number,
                source,
            })?;
            let records = match record.part {
                Part::Train => &mut log.train,
                Part::Validation => &mut log.validation,
            };
            while records.last().is_some_and(|last| last.step >= record.step) {
                records.pop();
            }
            records.push(record);
        }
        Ok(log)
    }
}

impl Record {
    /// As it stands in the log, with the end of its line.
    pub(crate) fn line(&self) -> Vec<u8> {
        // A map of names to numbers always has a JSON form.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn numbers<'de, D>(deserializer: D) -> Result<BTreeMap<Quantity, f64>, D::Error>
where
    D: Deserializer<'de>,
{
    let numbers = BTreeMap::<Quantity, Option<f64>>::deserialize(deserializer)?;
    Ok(numbers.into_iter().map(|(name, number)| (name, number.unwrap_or(f64::NAN))).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::fs;

    use super::*;

    const TRAIN: &str = r#"{"step":1,"part":"train","loss":2.5,"measures":{"accuracy":12.5},"learning_rate":0.001,"seconds":0.5}"#;
    const VALIDATION: &str = r#"{"step":1,"part":"validation","loss":null,"measures":{"end-point error":null},"seconds":0.75}"#;

    fn read(text: &str) -> Result<Log> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        fs::write(&path, text).unwrap();
        Log::read(path)
    }

    #[test]
    fn lines_are_read_and_written_as_they_are() {
        let log = read(&format!("{TRAIN}\n{VALIDATION}\n")).unwrap();
        assert_eq!(log.train[0].measures[&Quantity::Accuracy], 12.5);
        assert_eq!(serde_json::to_string(&log.train[0]).unwrap(), TRAIN);
        assert_eq!(serde_json::to_string(&log.validation[0]).unwrap(), VALIDATION);
    }

    #[test]
    fn a_half_line_at_the_end_is_passed_over() {
        for length in [0, 1, TRAIN.len() / 2, TRAIN.len()] {
            let log = read(&format!("{VALIDATION}\n{}", &TRAIN[..length])).unwrap();
            assert_eq!((log.train.len(), log.validation.len()), (0, 1), "{length}");
        }
    }

    #[test]
    fn steps_made_again_replace_those_of_the_first_time() {
        let at = |step: u64, loss: f64| {
            let record = Record { step, loss, ..serde_json::from_str(TRAIN).unwrap() };
            serde_json::to_string(&record).unwrap() + "\n"
        };
        let lines = [at(1, 5.0), at(2, 4.0), at(3, 3.0), at(2, 2.0), VALIDATION.to_owned() + "\n"];
        let log = read(&lines.concat()).unwrap();
        let steps: Vec<_> = log.train.iter().map(|record| (record.step, record.loss)).collect();
        assert_eq!(steps, [(1, 5.0), (2, 2.0)]);
        assert_eq!(log.validation.len(), 1);
    }

    #[test]
    fn a_foreign_line_is_named() {
        let endless = "[".repeat(MAX_LINE as usize);
        for wrong in ["", "{}", "\u{1b}", &TRAIN.replace("accuracy", "luck"), &endless] {
            let error = read(&format!("{TRAIN}\n{wrong}\n")).unwrap_err().to_string();
            assert!(error.contains("metrics.jsonl:2: "), "{error}");
        }
    }
}
