//! Series in the `.ts` format of the UEA and UCR archives.

use std::collections::BTreeSet;
use std::path::Path;

use super::record_series::{FileSeries, Series};
use super::records::{MAX_RECORDS, excerpt, finite_number};
use super::table_reader::MAX_COLUMNS;
use crate::error::{Error, Result};
use crate::text_file::read_text;
use crate::{Rows, Target};

/// The use of the labels of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Labels {
    /// They become targets. `?` is a missing one.
    Read,
    /// They may hold anything.
    Skipped,
}

/// The lines before the data.
#[derive(Debug, Default)]
struct Header {
    /// The classes, if series have one. Empty if the header does not list them.
    classes: Option<BTreeSet<String>>,
    /// If true, a series has a number to predict.
    has_value: bool,
    channels: Option<usize>,
}

/// The series of a file.
///
/// # Errors
/// If the file cannot be read, or has a wrong header or too many series.
pub(super) fn from_ts(path: &Path, labels: Labels) -> Result<FileSeries> {
    let refused = |reason: String| Error::data(path, reason);
    let text = read_text(path)?;
    let lines = (1_usize..).zip(text.lines().map(str::trim));
    let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let mut header = Header::default();
    loop {
        let Some((number, line)) = lines.next() else {
            return Err(refused("no line @data, expected the header of a .ts file".into()));
        };
        if line.eq_ignore_ascii_case("@data") {
            break;
        }
        header.read(line).map_err(|reason| refused(format!("line {number}: {reason}")))?;
    }
    let mut found = Vec::new();
    for (number, line) in lines {
        if found.len() == MAX_RECORDS {
            return Err(refused(format!("more than {MAX_RECORDS} series")));
        }
        let series = header.series(line, number, labels);
        found.push(series.map_err(|reason| format!("line {number}: {reason}")));
    }
    Ok(found)
}

impl Header {
    fn read(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let Some(key) = name.strip_prefix('@') else {
            return Err(format!("{}, expected a line @… before @data", excerpt(line)));
        };
        let mut is_true = || match words.next().map(str::to_lowercase).as_deref() {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            _ => Err(format!("{name} without true or false")),
        };
        match key.to_lowercase().as_str() {
            "timestamps" if is_true()? => {
                Err("@timeStamps is true, expected false: time stamps are not read".into())
            }
            "classlabel" => {
                self.classes =
                    if is_true()? { Some(words.map(str::to_owned).collect()) } else { None };
                Ok(())
            }
            "targetlabel" => {
                self.has_value = is_true()?;
                Ok(())
            }
            "dimension" | "dimensions" => {
                let count = words.next().and_then(|count| count.parse().ok());
                let count = count.filter(|count| *count > 0);
                self.channels = Some(count.ok_or("the number of dimensions is not positive")?);
                Ok(())
            }
            // The data says the same: names, equal lengths, missing numbers.
            _ => Ok(()),
        }
    }

    /// The series in a line. Its number of channels is expected of all that follow.
    fn series(&mut self, line: &str, number: usize, labels: Labels) -> Result<Series, String> {
        let has_label = self.classes.is_some() || self.has_value;
        let (data, label) = if has_label {
            let (data, label) = line.rsplit_once(':').ok_or("expected a colon before the label")?;
            (data, Some(label.trim()).filter(|_| labels == Labels::Read))
        } else {
            (line, None)
        };
        let target = match (&self.classes, label) {
            (_, None | Some("?")) => None,
            (Some(_), Some("")) => return Err("the label is empty".into()),
            (Some(classes), Some(name)) => {
                if !classes.is_empty() && !classes.contains(name) {
                    return Err(format!(
                        "label {} is not among those of @classLabel",
                        excerpt(name)
                    ));
                }
                Some(Target::Class(name.to_owned()))
            }
            (None, Some(value)) => Some(Target::Values(vec![finite_number(value)?])),
        };
        // Before memory is taken for them.
        let count = data.matches(':').count() + 1;
        if count > MAX_COLUMNS {
            return Err(format!("{count} channels, expected at most {MAX_COLUMNS}"));
        }
        let expected = *self.channels.get_or_insert(count);
        if count != expected {
            return Err(format!("{count} channels, expected {expected}"));
        }
        let channels: Vec<&str> = data.split(':').collect();
        let steps = channels[0].split(',').count();
        let mut others =
            (2_usize..).zip(channels[1..].iter().map(|numbers| numbers.split(',').count()));
        // Before memory is reserved for all of them.
        if let Some((channel, found)) = others.find(|(_, found)| *found != steps) {
            return Err(format!("channel {channel} has {found} steps, the first has {steps}"));
        }
        let mut values = vec![f32::NAN; steps * count];
        for (channel, numbers) in channels.into_iter().enumerate() {
            for (step, text) in numbers.split(',').map(str::trim).enumerate() {
                if text == "?" {
                    continue;
                }
                let value: Option<f32> = text.parse().ok();
                values[step * count + channel] = value.ok_or_else(|| {
                    format!("{} is not a number, in channel {}", excerpt(text), channel + 1)
                })?;
            }
        }
        Ok(Series { place: format!("line {number}"), steps: Rows::new(count, values), target })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn series(text: &str) -> Result<FileSeries> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ts");
        std::fs::write(&path, text).unwrap();
        from_ts(&path, Labels::Read)
    }

    #[test]
    fn labels_may_be_missing_and_are_not_looked_at_unless_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ts");
        std::fs::write(&path, "@classLabel true a b\n@data\n1:2:?\n1:2:c\n").unwrap();
        let number = series("@targetLabel true\n@data\n1:2:?\n").unwrap();
        assert_eq!(number[0].as_ref().unwrap().target, None);
        let step = Rows::new(2, vec![1.0, 2.0]);
        let found = from_ts(&path, Labels::Read).unwrap();
        let first = found[0].as_ref().unwrap();
        assert_eq!((&first.steps, &first.target), (&step, &None));
        let expected = "line 4: label \"c\" is not among those of @classLabel";
        assert_eq!(found[1], Err(expected.into()));
        for series in from_ts(&path, Labels::Skipped).unwrap() {
            let series = series.unwrap();
            assert_eq!((series.steps, series.target), (step.clone(), None));
        }
    }

    #[test]
    fn too_many_channels_cost_their_series() {
        let found = series(&format!("@data\n{}1\n1:2\n", "1:".repeat(MAX_COLUMNS))).unwrap();
        let expected = "line 2: 16385 channels, expected at most 16384";
        assert_eq!(found[0], Err(expected.into()));
        assert!(found[1].is_ok());
    }

    #[test]
    fn channels_lengths_missing_numbers_and_labels_are_read() {
        let text = "# about\n@problemName x\n@timeStamps false\n@missing true\n@dimensions 2\n\
                    @equalLength false\n@classLabel true a b\n@data\n1,2.5,?:-1,?,3e2:a\n\n4:5:b\n";
        let found = series(text).unwrap();
        let first = found[0].as_ref().unwrap();
        assert_eq!((first.place.as_str(), first.steps.columns, first.steps.rows), ("line 9", 2, 3));
        let values = &first.steps.values;
        assert_eq!([values[0], values[1], values[2], values[5]], [1.0, -1.0, 2.5, 300.0]);
        assert!(values[3].is_nan() && values[4].is_nan());
        assert_eq!(first.target, Some(Target::Class("a".into())));
        let second = found[1].as_ref().unwrap();
        assert_eq!(second.steps, Rows::new(2, vec![4.0, 5.0]));
        assert_eq!((second.place.as_str(), found.len()), ("line 11", 2));

        let found = series("@targetLabel TRUE\n@data\n1,2:0.5\n").unwrap();
        assert_eq!(found[0].as_ref().unwrap().target, Some(Target::Values(vec![0.5])));
        let found = series("@classLabel false\n@data\n1,2:3,4\n").unwrap();
        let expected = Series {
            place: "line 3".into(),
            steps: Rows::new(2, vec![1.0, 3.0, 2.0, 4.0]),
            target: None,
        };
        assert_eq!(found, [Ok(expected)]);
    }

    #[test]
    fn a_bad_series_names_its_line_and_leaves_the_others() {
        let lines = "1,2:3,4:a\n1,2:3:a\n1,2:a\n1,x:3,4:a\n1,2:3,4:c\n1:2:\n:1:a\n1,2\n";
        let found = series(&format!("@classLabel true a b\n@data\n{lines}")).unwrap();
        let reasons: Vec<_> = found[1..].iter().map(|one| one.clone().unwrap_err()).collect();
        let expected = [
            "line 4: channel 2 has 1 steps, the first has 2",
            "line 5: 1 channels, expected 2",
            "line 6: \"x\" is not a number, in channel 1",
            "line 7: label \"c\" is not among those of @classLabel",
            "line 8: the label is empty",
            "line 9: \"\" is not a number, in channel 1",
            "line 10: expected a colon before the label",
        ];
        assert!(found[0].is_ok());
        assert_eq!(reasons, expected);
    }

    #[test]
    fn a_wrong_header_is_refused_in_one_line() {
        for (text, expected) in [
            ("", "no line @data, expected the header of a .ts file"),
            ("1,2:a\n@data\n", "line 1: \"1,2:a\", expected a line @… before @data"),
            (
                "@timeStamps true\n@data\n",
                "line 1: @timeStamps is true, expected false: time stamps are not read",
            ),
            ("@classLabel\n@data\n", "line 1: @classLabel without true or false"),
            ("@dimensions 0\n@data\n", "line 1: the number of dimensions is not positive"),
        ] {
            let error = series(text).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "(@data|@classLabel true|@dimensions 2|\n|,|:|\\?|1|a| ){0,30}") {
            let _ = series(&text);
        }
    }
}
