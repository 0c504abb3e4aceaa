//! The settings that the saved states of a run belong to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::reports::write_whole;
use crate::pack::regular_file_size;
use crate::{Error, Result};

/// Name of the file with the settings that the checkpoints belong to, in their folder.
pub(super) const SETTINGS_NAME: &str = "settings.json";

/// Largest file to read, in bytes.
const MAX_BYTES: u64 = 1 << 26;

/// Longest value in an error, in characters.
const MAX_SHOWN: usize = 60;

/// Settings by their keys, such as `model.num_latents`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct TiedSettings(BTreeMap<String, Value>);

impl TiedSettings {
    /// Every field of nested settings. Absent values have no key.
    pub(super) fn new(settings: &impl Serialize) -> Result<Self, serde_json::Error> {
        // The text has the shortest form of every number: 0.9, not the double of its single.
        let value = serde_json::from_str(&serde_json::to_string(settings)?)?;
        let mut all = Self::default();
        match value {
            fields @ Value::Object(_) => all.add(String::new(), fields),
            value => all.add("settings".to_owned(), value),
        }
        Ok(all)
    }

    fn add(&mut self, key: String, value: Value) {
        let below = |name: &str| match key.as_str() {
            "" => name.to_owned(),
            key => format!("{key}.{name}"),
        };
        match value {
            Value::Null => {}
            Value::Object(fields) => {
                fields.into_iter().for_each(|(name, value)| self.add(below(&name), value));
            }
            // One line can show a few numbers, but not many names.
            Value::Array(values) if !values.iter().all(Value::is_number) => {
                for (index, value) in values.into_iter().enumerate() {
                    self.add(below(&index.to_string()), value);
                }
            }
            value => {
                self.0.insert(key, value);
            }
        }
    }

    /// The structure of a module as burn displays it, which shows what weights do not, such as the
    /// number of heads.
    pub(super) fn of_module(display: &str) -> Self {
        let (mut all, mut path) = (Self::default(), Vec::new());
        for line in display.lines().map(str::trim) {
            match line.split_once(": ") {
                _ if line.starts_with('}') => drop(path.pop()),
                Some((name, value)) if value.ends_with('{') => path.push(name),
                Some((name, value)) => {
                    let place = path.iter().copied().chain([name]).collect::<Vec<_>>().join(".");
                    all.0.insert(place, value.into());
                }
                None => {}
            }
        }
        all
    }

    /// Adds a setting.
    pub(super) fn insert(&mut self, key: &str, value: impl Into<Value>) {
        self.add(key.to_owned(), value.into());
    }

    /// Adds other settings, below the name of a part.
    pub(super) fn extend(&mut self, part: &str, settings: Self) {
        self.0.extend(settings.0.into_iter().map(|(key, value)| (format!("{part}.{key}"), value)));
    }

    /// Reads the file of a run; none if there is none, as in folders of older versions.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let Some(bytes) = read_saved(path)? else { return Ok(None) };
        let settings = serde_json::from_slice(&bytes);
        settings
            .map(|settings| Some(Self(settings)))
            .map_err(|error| damaged(path, error.to_string()))
    }

    /// Writes the file of a run.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
        }
        let text = serde_json::to_vec_pretty(&self.0).unwrap_or_default();
        write_whole(path, &text)
    }

    /// Checks that the saved settings have the same values in some parts.
    pub(super) fn check(
        &self,
        saved: &Self,
        folder: &Path,
        is_checked: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let part = |key: &str| is_checked(key.split('.').next().unwrap_or_default());
        let keys: BTreeSet<&String> =
            self.0.keys().chain(saved.0.keys()).filter(|key| part(key)).collect();
        match keys.into_iter().find(|key| self.0.get(*key) != saved.0.get(*key)) {
            None => Ok(()),
            Some(key) => Err(Error::OtherRun {
                path: folder.to_path_buf(),
                key: key.clone(),
                found: shown(self.0.get(key)),
                saved: shown(saved.0.get(key)),
            }),
        }
    }
}

/// The bytes of a small file among the checkpoints; none if there is no such file.
pub(super) fn read_saved(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        _ => regular_file_size(path)?,
    };
    let file = File::open(path).map_err(Error::io(path, "read"))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
    if bytes.len() as u64 > MAX_BYTES {
        let reason = format!("more than {MAX_BYTES} bytes, expected at most that many");
        return Err(damaged(path, reason));
    }
    Ok(Some(bytes))
}

fn damaged(path: &Path, reason: String) -> Error {
    Error::SavedState { path: path.to_path_buf(), reason }
}

/// A value, shortened.
fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "absent".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The name of a value's type, without its path.
pub(super) fn kind_of<T>(value: &T) -> &'static str {
    let name = std::any::type_name_of_val(value);
    name.rsplit("::").next().unwrap_or(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    fn difference(found: &Value, saved: &Value) -> Option<String> {
        let [found, saved] = [found, saved].map(|value| TiedSettings::new(value).unwrap());
        let checked = found.check(&saved, Path::new("out"), |part| part != "run");
        checked.err().map(|error| error.to_string())
    }

    #[test]
    fn the_first_setting_that_differs_is_named_with_both_values() {
        let saved = json!({
            "model": { "heads": 2, "id2label": { "0": "cat" }, "shape": [1, 2], "act": null,
                       "names": ["a", "b"] },
            "optimiser": { "name": "adam-w", "rate": 0.001 },
            "run": { "seed": 1 },
        });
        assert_eq!(difference(&saved, &saved), None);
        for (pointer, value, expected) in [
            ("/model/heads", json!(4), "`model.heads` is 4, the saved run has 2;"),
            ("/model/act", json!("relu"), "`model.act` is \"relu\", the saved run has absent;"),
            (
                "/model/id2label",
                json!({}),
                "`model.id2label.0` is absent, the saved run has \"cat\";",
            ),
            ("/model/names/1", json!("c"), "`model.names.1` is \"c\", the saved run has \"b\";"),
            ("/model/shape", json!([1, 3]), "`model.shape` is [1,3], the saved run has [1,2];"),
            ("/optimiser/rate", json!(0.01), "`optimiser.rate` is 0.01, the saved run has 0.001;"),
        ] {
            let mut other = saved.clone();
            *other.pointer_mut(pointer).unwrap() = value;
            let message = difference(&other, &saved).unwrap();
            assert!(message.starts_with(&format!("out: {expected}")), "{message}");
            assert!(
                message.contains("steps, intervals, workers and devices may change"),
                "{message}"
            );
        }
        let mut other = saved.clone();
        other["run"]["seed"] = json!(2);
        assert_eq!(difference(&other, &saved), None);
        let long = json!({ "name": "x".repeat(1000) });
        assert!(difference(&long, &json!({})).unwrap().len() < 300);
    }

    #[test]
    fn settings_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints/settings.json");
        assert_eq!(TiedSettings::read(&path).unwrap(), None);
        let settings =
            TiedSettings::new(&json!({ "a": { "b": 0.1_f32 }, "c": ["x", "y"] })).unwrap();
        settings.write(&path).unwrap();
        assert_eq!(TiedSettings::read(&path).unwrap(), Some(settings));
        fs::write(&path, "{\"a\": ").unwrap();
        let message = TiedSettings::read(&path).unwrap_err().to_string();
        assert!(message.contains("settings.json: damaged: EOF"), "{message}");
    }

    #[test]
    fn a_module_s_structure_is_that_of_its_display() {
        let display =
            "Model {\n  layer: Linear {\n    d_input: 3\n    bias: {rank: 1}\n  }\n  heads: 4\n}";
        let found = TiedSettings::of_module(display);
        let expected = json!({ "layer.d_input": "3", "layer.bias": "{rank: 1}", "heads": "4" });
        assert_eq!(serde_json::to_value(&found.0).unwrap(), expected);
    }
}
