//! From class names to numbers.

use std::collections::{BTreeMap, BTreeSet};

/// Class names in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClassNames(Vec<String>);

impl ClassNames {
    /// Each name once, sorted as numbers if all are numbers and as text otherwise.
    pub(super) fn collect<'name>(found: impl IntoIterator<Item = &'name str>) -> Self {
        let names: BTreeSet<&str> = found.into_iter().collect();
        let numbers: Option<BTreeMap<i64, &str>> =
            names.iter().map(|name| Some((name.parse().ok()?, *name))).collect();
        let owned = |name: &str| name.to_owned();
        Self(match numbers.filter(|numbers| numbers.len() == names.len()) {
            Some(numbers) => numbers.into_values().map(owned).collect(),
            None => names.into_iter().map(owned).collect(),
        })
    }

    pub(super) fn given(names: &[String]) -> Self {
        Self(names.to_vec())
    }

    pub(super) fn names(&self) -> &[String] {
        &self.0
    }

    /// The number of each name, as a map: some data sets have many classes.
    pub(super) fn numbers(&self) -> BTreeMap<&str, usize> {
        self.0.iter().map(String::as_str).zip(0..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_as_text_unless_all_are_numbers() {
        let collect = |names: &[&'static str]| ClassNames::collect(names.iter().copied()).0;
        assert_eq!(collect(&["b", "10", "9", "b"]), ["10", "9", "b"]);
        assert_eq!(collect(&["10", "-1", "9", "10"]), ["-1", "9", "10"]);
        assert_eq!(collect(&["01", "1"]), ["01", "1"]);
    }
}
