//! The arguments that a part of the reference was built with.

use std::thread;

use serde_json::{Map, Value};

/// Arguments to be taken one by one. Leaving one untaken is a mistake in the test.
pub(crate) struct Arguments(Map<String, Value>);

impl Arguments {
    pub(crate) fn new(arguments: &Value) -> Self {
        Self(arguments.as_object().expect("arguments are an object").clone())
    }

    fn take<T>(&mut self, name: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.0.remove(name).filter(|value| !value.is_null())?;
        Some(read(&value).unwrap_or_else(|| panic!("{name} cannot be {value}")))
    }

    pub(crate) fn size(&mut self, name: &str, default: usize) -> usize {
        self.optional_size(name).unwrap_or(default)
    }

    pub(crate) fn optional_size(&mut self, name: &str) -> Option<usize> {
        self.take(name, size)
    }

    /// A size or a list of sizes.
    pub(crate) fn sizes(&mut self, name: &str) -> Option<Vec<usize>> {
        self.take(name, |value| match value.as_array() {
            Some(sizes) => sizes.iter().map(size).collect(),
            None => size(value).map(|one| vec![one]),
        })
    }

    pub(crate) fn number(&mut self, name: &str, default: f64) -> f64 {
        self.optional_number(name).unwrap_or(default)
    }

    pub(crate) fn optional_number(&mut self, name: &str) -> Option<f64> {
        self.take(name, Value::as_f64)
    }

    pub(crate) fn numbers(&mut self, name: &str) -> Option<Vec<f64>> {
        self.take(name, |value| value.as_array()?.iter().map(Value::as_f64).collect())
    }

    pub(crate) fn switch(&mut self, name: &str, default: bool) -> bool {
        self.take(name, Value::as_bool).unwrap_or(default)
    }

    pub(crate) fn text(&mut self, name: &str, default: &str) -> String {
        self.take(name, |value| value.as_str().map(str::to_owned))
            .unwrap_or_else(|| default.to_owned())
    }

    /// A dictionary of arguments.
    pub(crate) fn nested(&mut self, name: &str) -> Option<Self> {
        self.take(name, |value| Some(Self(value.as_object()?.clone())))
    }

    /// A part: its name and its own arguments.
    pub(crate) fn part(&mut self, name: &str) -> Option<(String, Self)> {
        let mut part = self.nested(name)?;
        let arguments = part.nested("arguments").expect("a part has arguments");
        Some((part.text("part", ""), arguments))
    }

    /// The arguments of a part, which must be of class `class`.
    pub(crate) fn the_part(&mut self, name: &str, class: &str) -> Self {
        let (found, arguments) = self.part(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(found, class, "as {name}");
        arguments
    }

    /// Drops arguments that have no effect.
    pub(crate) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.0.remove(*name);
        }
    }
}

impl Drop for Arguments {
    fn drop(&mut self) {
        let left: Vec<_> = self.0.keys().collect();
        assert!(
            left.is_empty() || thread::panicking(),
            "the test does not read the arguments {left:?}"
        );
    }
}

fn size(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok())
}
