//! `id2label`, `label2id` and `num_labels`, as the reference reads them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::parse::{shown, shown_name, unexpected};
use crate::Error;

/// Most labels that `num_labels` may give default names; a file may name more.
const MAX_LABELS: usize = 1 << 17;

/// Labels of a configuration without names.
const DEFAULT_COUNT: usize = 2;

/// The names of the classes, and their indices if the file has them.
pub(super) struct Labels {
    pub(super) id2label: BTreeMap<i64, String>,
    pub(super) label2id: Option<BTreeMap<String, i64>>,
}

impl Labels {
    /// Reads the values of the three fields. If the number disagrees with the names, the number
    /// wins, and `label2id` goes with the names.
    pub(super) fn read(
        id2label: Option<Value>,
        label2id: Option<Value>,
        num_labels: Option<usize>,
    ) -> Result<Self, Error> {
        let names = id2label.map(|names| id2label_of(&names)).transpose()?;
        match (names, num_labels) {
            (Some(id2label), count) if count.is_none_or(|count| count == id2label.len()) => {
                let label2id = label2id.map(|indices| label2id_of(&indices)).transpose()?;
                Ok(Self { id2label, label2id })
            }
            (_, Some(count)) if count > MAX_LABELS => {
                let message = format!("is {count}, expected at most {MAX_LABELS}");
                Err(Error::config("num_labels", message))
            }
            (_, count) => {
                let id2label = default_labels(count.unwrap_or(DEFAULT_COUNT));
                Ok(Self { id2label, label2id: None })
            }
        }
    }
}

/// `LABEL_0`, `LABEL_1`, …: the names that transformers gives to labels without names.
pub(super) fn default_labels(count: usize) -> BTreeMap<i64, String> {
    (0..count as i64).map(|id| (id, default_label(id))).collect()
}

fn default_label(id: i64) -> String {
    format!("LABEL_{id}")
}

fn id2label_of(value: &Value) -> Result<BTreeMap<i64, String>, Error> {
    const FIELD: &str = "id2label";
    let entries = value.as_object();
    let entries = entries.ok_or_else(|| unexpected(FIELD, value, "an object of index to label"))?;
    let entry = |(key, value): (&String, &Value)| {
        let id = key.trim().parse();
        let id = id.map_err(|_| wrong_entry(FIELD, key, value, "a whole number as its key"))?;
        let label = match value {
            Value::String(label) => label.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Null => default_label(id),
            Value::Array(_) | Value::Object(_) => {
                return Err(wrong_entry(FIELD, key, value, "the name of a class"));
            }
        };
        Ok((id, label))
    };
    entries.iter().map(entry).collect()
}

fn label2id_of(value: &Value) -> Result<BTreeMap<String, i64>, Error> {
    const FIELD: &str = "label2id";
    let entries = value.as_object();
    let entries = entries.ok_or_else(|| unexpected(FIELD, value, "an object of label to index"))?;
    let entry = |(label, value): (&String, &Value)| {
        let id = match value {
            Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) => text.trim().parse().ok(),
            Value::Bool(flag) => Some(i64::from(*flag)),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        let id = id.ok_or_else(|| wrong_entry(FIELD, label, value, "a whole number"))?;
        Ok((label.clone(), id))
    };
    entries.iter().map(entry).collect()
}

/// A float that is a whole number, such as the `1.0` of a spreadsheet.
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = (1_u64 << f64::MANTISSA_DIGITS) as f64;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

fn wrong_entry(field: &str, key: &str, value: &Value, expected: &str) -> Error {
    let (key, value) = (shown_name(key), shown(value));
    Error::config(field, format!("has the entry {key}: {value}, expected {expected}"))
}
