//! Differences between a checkpoint and its model, from the headers alone.

use std::collections::BTreeMap;

use perceiver_models::{Checkpoint, KeyMap};

/// Number of keys listed in a line before the rest is only counted.
const LISTED: usize = 5;

/// One line per kind of difference between a checkpoint's tensors and the expected ones.
pub(super) fn differences(
    checkpoint: &Checkpoint,
    expected: &[(String, Vec<usize>)],
) -> Vec<String> {
    let optional = |key: &str| KeyMap::PERCEIVER.optional.iter().any(|end| key.ends_with(end));
    let expected: BTreeMap<&str, &[usize]> =
        expected.iter().map(|(key, shape)| (key.as_str(), shape.as_slice())).collect();
    let absent = |key: &&str| checkpoint.info(key).is_none() && !optional(key);
    let missing: Vec<_> = expected.keys().copied().filter(absent).map(str::to_owned).collect();
    let mut unused = Vec::new();
    let mut wrong = Vec::new();
    for (key, info) in checkpoint.tensors() {
        match expected.get(key) {
            None if optional(key) || checkpoint.is_scale(key) => {}
            None => unused.push(key.to_owned()),
            Some(shape) if *shape == info.shape => {}
            Some(shape) if scalar(shape) && scalar(&info.shape) => {}
            Some(shape) => wrong.push(format!("{key} (is {:?}, expected {shape:?})", info.shape)),
        }
    }
    [("missing", missing), ("unused", unused), ("of another shape", wrong)]
        .into_iter()
        .filter(|(_, keys)| !keys.is_empty())
        .map(|(what, keys)| line(checkpoint, what, &keys))
        .collect()
}

/// One value may be stored with or without an axis.
fn scalar(shape: &[usize]) -> bool {
    matches!(shape, [] | [1])
}

fn line(checkpoint: &Checkpoint, what: &str, keys: &[String]) -> String {
    let listed = keys.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let rest = match keys.len().saturating_sub(LISTED) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    format!("{}: {} tensors {what}: {listed}{rest}", checkpoint.path().display(), keys.len())
}
