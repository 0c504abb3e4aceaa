//! Finds what a wrapper of the model put before every key.

use std::collections::{BTreeMap, BTreeSet};

use super::Checkpoint;

/// The prefix under which training programs keep the weights, beside their own state.
const NESTED: [&str; 2] = ["state_dict.", "model_state_dict."];

/// The base model of every head: before the keys of a `PerceiverModel`, it shows a head.
pub(super) const BASE: &str = "perceiver.";

/// Most segments of a prefix; a key from outside may have any number.
const MAX_SEGMENTS: usize = 8;

/// The text before the wanted keys in a checkpoint.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Prefix<'a> {
    /// The start of keys that is not the model's, with its last dot.
    pub(super) text: &'a str,
    /// If true, it stands before everything but the state of training.
    pub(super) is_common: bool,
}

impl Prefix<'_> {
    /// If true, a key belongs to the state of a training program, not to its model.
    pub(super) fn leaves_out(&self, key: &str) -> bool {
        self.is_common && !key.starts_with(self.text)
    }
}

impl Checkpoint<'_> {
    /// The start of all keys that a wrapper of the model has added, if these keys follow it and do
    /// not occur without it: `_orig_mod.` of `torch.compile`, `module.` of `DataParallel`,
    /// `state_dict.model.` of Lightning, `base_model.model.` of PEFT, and others. Otherwise, the
    /// empty string.
    ///
    /// [`load_module`](super::load_module) leaves it off.
    pub fn wrapper_prefix<'k>(&self, keys: impl IntoIterator<Item = &'k str>) -> &str {
        let prefix = self.prefix(&keys.into_iter().collect());
        if prefix.is_common { prefix.text } else { "" }
    }

    pub(super) fn prefix(&self, wanted: &BTreeSet<&str>) -> Prefix<'_> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (key, _) in self.tensors() {
            if wanted.contains(key) {
                return Prefix::default();
            }
            let dots = key.match_indices('.').take(MAX_SEGMENTS);
            let mut starts = dots.map(|(dot, _)| key.split_at(dot + 1));
            if let Some((start, _)) = starts.find(|(_, rest)| wanted.contains(rest)) {
                *counts.entry(start).or_default() += 1;
            }
        }
        let most = counts.into_iter().max_by_key(|&(_, count)| count);
        let Some((text, _)) = most.filter(|(text, _)| !text.ends_with(BASE)) else {
            return Prefix::default();
        };
        let nested = NESTED.iter().find(|start| text.starts_with(*start));
        let is_common = self.tensors().all(|(key, _)| {
            key.starts_with(text) || nested.is_some_and(|start| !key.starts_with(start))
        });
        Prefix { text, is_common }
    }
}
