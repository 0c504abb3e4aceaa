//! The log of a run.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};

use crate::metric::MetricValues;
use crate::pack::regular_file_size;
use crate::{Error, Metric, Result};

/// Name of a run's log in its folder.
pub const LOG_NAME: &str = "metrics.jsonl";

/// Longest line to read, in bytes; a genuine one has a few hundred.
const MAX_LINE: u64 = 1 << 16;

/// A run's `metrics.jsonl`, in the order of its steps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Log {
    /// Lines about the training part.
    pub train: Vec<Record>,
    /// Lines about the validation part.
    pub validation: Vec<Record>,
}

/// A line of a run's `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Steps made so far.
    pub step: u64,
    /// The part of the data that was measured.
    pub part: Part,
    /// Mean loss; NaN, which JSON writes as `null`, if the run diverged.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// Values of the metrics, which the log stores under their names.
    pub measures: MetricValues,
    /// Learning rate of the step; absent in lines about validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Time spent, summed over all sessions of the run.
    pub seconds: f64,
}

/// A part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The model trains on it.
    Train,
    /// The model is only measured on it.
    Validation,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Validation => "validation",
        })
    }
}

/// One line: `step 100 validation: loss 0.251, accuracy 98.400 %`.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, part, loss, measures, .. } = self;
        write!(f, "step {step} {part}: loss {loss:.3}")?;
        if !measures.is_empty() {
            write!(f, ", {measures}")?;
        }
        Ok(())
    }
}

impl Log {
    /// The validation with the lowest loss: that of the model in the run's folder.
    #[must_use]
    pub fn best(&self) -> Option<&Record> {
        self.validation.iter().min_by(|first, second| first.loss.total_cmp(&second.loss))
    }

    /// Reads a log. Skips an incomplete last line, as a killed run leaves it. Where a resumed run
    /// repeated steps, only their last lines count. Metrics of any name are read.
    ///
    /// # Errors
    /// If the file cannot be read or a line is not a [`Record`]: names the file and the line.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let io = |source| Error::Io { path: path.to_owned(), action: "read", source };
        regular_file_size(path)?;
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

impl Log {
    /// Gives metrics of other crates, which a log knows by name alone, their units.
    pub(crate) fn describe(&mut self, metrics: &[Metric]) {
        for record in self.train.iter_mut().chain(&mut self.validation) {
            record.measures.describe(metrics);
        }
    }

    /// If true, the log names a metric of another crate that is not among these.
    pub(crate) fn names_metrics_beyond(&self, metrics: &[Metric]) -> bool {
        let named = self.train.iter().chain(&self.validation).flat_map(|at| at.measures.iter());
        named.map(|(metric, _)| metric).any(|metric| !metric.is_ours() && !metrics.contains(metric))
    }
}

impl Record {
    /// The line in the log, with its end.
    pub(crate) fn line(&self) -> Vec<u8> {
        // A map from names to numbers always has a JSON form.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
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
        assert_eq!(log.train[0].measures.get(&Metric::ACCURACY), Some(12.5));
        assert_eq!(serde_json::to_string(&log.train[0]).unwrap(), TRAIN);
        assert_eq!(serde_json::to_string(&log.validation[0]).unwrap(), VALIDATION);
    }

    #[test]
    fn a_half_line_at_the_end_is_skipped() {
        for length in [0, 1, TRAIN.len() / 2, TRAIN.len()] {
            let log = read(&format!("{VALIDATION}\n{}", &TRAIN[..length])).unwrap();
            assert_eq!((log.train.len(), log.validation.len()), (0, 1), "{length}");
        }
    }

    #[test]
    fn repeated_steps_replace_the_first_ones() {
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
    fn metrics_of_other_crates_are_read_and_written_as_they_are() {
        let line = TRAIN.replace("\"accuracy\":12.5", "\"luck\":0.25,\"accuracy\":12.5");
        let log = read(&format!("{line}\n")).unwrap();
        assert_eq!(log.train[0].measures.get(&Metric::new("luck", "")), Some(0.25));
        assert_eq!(serde_json::to_string(&log.train[0]).unwrap(), line);
    }

    #[test]
    fn a_foreign_line_is_named() {
        let endless = "[".repeat(MAX_LINE as usize);
        for wrong in ["", "{}", "\u{1b}", &TRAIN.replace("12.5", "true"), &endless] {
            let error = read(&format!("{TRAIN}\n{wrong}\n")).unwrap_err().to_string();
            assert!(error.contains("metrics.jsonl:2: "), "{error}");
        }
    }
}
