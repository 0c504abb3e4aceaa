//! From class names to numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Remarks;
use super::records::excerpt;

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

    /// Labels are names of classes or, if not one of those found is a name and all are indexes, indexes.
    pub(super) fn form<'label>(&self, found: impl IntoIterator<Item = &'label str>) -> LabelForm {
        let mut found = found.into_iter().peekable();
        let is_name = |label: &&str| self.0.iter().any(|name| name == label);
        // Names that come from the data itself end here.
        if found.peek().is_none_or(is_name) {
            return LabelForm::Names;
        }
        let [names, indexes] =
            [LabelForm::Names, LabelForm::Indexes].map(|form| self.numbers(form));
        match found.all(|label| indexes.contains_key(label) && !names.contains_key(label)) {
            true => LabelForm::Indexes,
            false => LabelForm::Names,
        }
    }

    /// The first names, for an error about one that is not among them.
    pub(super) fn listed(&self) -> String {
        const LISTED: usize = 10;
        let mut names: Vec<_> = self.0.iter().take(LISTED).map(|name| excerpt(name)).collect();
        if let more @ 1.. = self.0.len().saturating_sub(LISTED) {
            names.push(format!("{more} more"));
        }
        names.join(", ")
    }

    /// The number of each label of a form, as a map: some data sets have many classes.
    pub(super) fn numbers(&self, form: LabelForm) -> BTreeMap<String, usize> {
        let classes = self.0.iter().enumerate();
        match form {
            LabelForm::Names => classes.map(|(index, name)| (name.clone(), index)).collect(),
            LabelForm::Indexes => {
                let labels = |index| index_labels(index).map(|label| (label, index));
                let truths = TRUTHS.iter().map(|&(label, index)| (label.to_owned(), index));
                let truths = truths.filter(|_| self.0.len() == TRUTH_CLASSES);
                classes.flat_map(|(index, _)| labels(index)).chain(truths).collect()
            }
        }
    }

    /// Says that labels were taken by index, if they were.
    pub(super) fn remarks(&self, data: &Path, form: LabelForm) -> Remarks {
        const SHOWN: usize = 5;
        if form == LabelForm::Names {
            return Remarks::default();
        }
        let classes = self.0.iter().enumerate().take(SHOWN);
        let mut classes: Vec<_> =
            classes.map(|(index, name)| format!("{index} as {name:?}")).collect();
        if self.0.len() > SHOWN {
            classes.push("and so on".to_owned());
        }
        let (data, classes) = (data.display(), classes.join(", "));
        let note = format!("{data}: no label is the name of a class; by index, {classes}");
        Remarks { notes: vec![note], ..Remarks::default() }
    }
}

/// Classes of a model that tells true from false.
const TRUTH_CLASSES: usize = 2;

/// Truth values as JSON, Python and spreadsheets write them, with their classes.
const TRUTHS: [(&str, usize); 6] =
    [("false", 0), ("False", 0), ("FALSE", 0), ("true", 1), ("True", 1), ("TRUE", 1)];

/// An index as programs write it: as a number, as a float, as where a column has gaps, and as
/// transformers names a class without a name.
fn index_labels(index: usize) -> [String; 3] {
    [index.to_string(), format!("{index}.0"), format!("LABEL_{index}")]
}

/// How labels tell classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LabelForm {
    Names,
    Indexes,
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

    #[test]
    fn labels_are_indexes_if_not_one_of_them_is_a_name() {
        let given =
            |names: &[&str]| ClassNames(names.iter().map(|&name| name.to_owned()).collect());
        let names = given(&["ham", "spam", "news"]);
        assert_eq!(names.form(["2", "0", "2"]), LabelForm::Indexes);
        for label in ["2", "2.0", "LABEL_2"] {
            assert_eq!(names.form([label, "0"]), LabelForm::Indexes, "{label}");
            assert_eq!(names.numbers(LabelForm::Indexes)[label], 2);
        }
        // Names, names beside numbers, numbers beyond the classes, other forms of numbers, nothing.
        for labels in [
            ["spam", "ham"],
            ["spam", "0"],
            ["0", "3"],
            ["0", "01"],
            ["0", "-1"],
            ["0", "1.5"],
            ["0", "3.0"],
            ["0", "LABEL_01"],
        ] {
            assert_eq!(names.form(labels), LabelForm::Names, "{labels:?}");
        }
        assert_eq!(names.form([]), LabelForm::Names);
        // One of the numbers is a name, so no other number is an index.
        assert_eq!(given(&["1", "2", "3"]).form(["0", "1"]), LabelForm::Names);
    }

    #[test]
    fn true_and_false_are_the_two_classes_of_a_model_without_such_names() {
        let given = |names: &[&str]| ClassNames(names.iter().map(|&n| n.to_owned()).collect());
        let names = given(&["negative", "positive"]);
        assert_eq!(names.form(["true", "false", "True"]), LabelForm::Indexes);
        let numbers = names.numbers(LabelForm::Indexes);
        assert_eq!(["false", "TRUE", "1"].map(|label| numbers[label]), [0, 1, 1]);
        assert_eq!(given(&["a", "b", "c"]).form(["true"]), LabelForm::Names);
        assert_eq!(given(&["true", "false"]).form(["true"]), LabelForm::Names);
    }

    #[test]
    fn the_first_ten_classes_are_listed() {
        let names: Vec<String> = (0..12).map(|index| format!("c{index}")).collect();
        assert_eq!(ClassNames::given(&names[..2]).listed(), "\"c0\", \"c1\"");
        assert!(ClassNames::given(&names).listed().ends_with("\"c9\", 2 more"));
    }

    #[test]
    fn labels_by_index_are_said_to_be() {
        let names: Vec<String> = (0..7).map(|index| format!("LABEL_{index}")).collect();
        let names = ClassNames::given(&names);
        let notes = names.remarks(Path::new("a.csv"), LabelForm::Indexes).notes;
        let expected = "a.csv: no label is the name of a class; by index, 0 as \"LABEL_0\", 1 as \
                        \"LABEL_1\", 2 as \"LABEL_2\", 3 as \"LABEL_3\", 4 as \"LABEL_4\", and so on";
        assert_eq!(notes, [expected]);
    }
}
