//! Series in a table with a row per time step.

use std::collections::HashMap;
use std::path::Path;

use super::LabelColumns;
use super::record_series::{FileSeries, Series, SeriesColumns};
use super::records::excerpt;
use super::table_reader::{TableReader, check_count, is_missing, line, target};
use crate::Rows;
use crate::error::{Error, Result};

/// The places of the columns.
struct Places {
    id: usize,
    time: Option<usize>,
    label: Vec<usize>,
    /// With their names.
    channels: Vec<(usize, String)>,
}

/// A series whose rows are being collected.
struct Growing {
    id: String,
    first_line: u64,
    /// The time, line and numbers of each row.
    steps: Vec<(f64, u64)>,
    values: Vec<f32>,
    label: Vec<String>,
    /// Why it cannot be used.
    error: Option<String>,
}

/// The names of a file's channels, and its series in the order of their first rows.
///
/// # Errors
/// If the file cannot be read, lacks a column or has too many rows.
pub(super) fn from_table(
    path: &Path,
    columns: &SeriesColumns,
) -> Result<(Vec<String>, FileSeries)> {
    let refused = |reason: String| Error::data(path, reason);
    let table = TableReader::open(path)?;
    let places = Places::of(&table, columns).map_err(refused)?;
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut growing: Vec<Growing> = Vec::new();
    let (mut lost, mut rows) = (Vec::new(), 0);
    for row in table.rows() {
        rows += 1;
        check_count(rows).map_err(refused)?;
        let row = row.map_err(refused)?;
        let line = line(&row);
        // Text that is not UTF-8 fails with the series that its row belongs to.
        let id = String::from_utf8_lossy(row.get(places.id).unwrap_or_default());
        let id = id.trim();
        if id.is_empty() {
            lost.push(Err(format!("line {line}: no name of a series")));
            continue;
        }
        let index = *known.entry(id.to_owned()).or_insert_with(|| {
            growing.push(Growing::new(id, line));
            growing.len() - 1
        });
        let series = &mut growing[index];
        if series.error.is_none()
            && let Err(reason) = series.add(&table, row, &places)
        {
            series.error = Some(format!("line {line}: {reason}"));
        }
    }
    let channels: Vec<String> = places.channels.into_iter().map(|(_, name)| name).collect();
    let series =
        growing.into_iter().map(|series| series.finish(channels.len(), columns.label.as_ref()));
    let series = series.chain(lost).collect();
    Ok((channels, series))
}

impl Places {
    fn of(table: &TableReader, columns: &SeriesColumns) -> Result<Self, String> {
        let id = table.place(&columns.id)?;
        let time = columns.time.as_ref().map(|name| table.place(name)).transpose()?;
        let label = table.label_places(columns.label.as_ref())?;
        let ignored = table.places(&columns.ignored)?;
        let is_channel = |(index, _): &(usize, String)| {
            *index != id
                && Some(*index) != time
                && !label.contains(index)
                && !ignored.contains(index)
        };
        let channels: Vec<_> =
            table.header.iter().cloned().enumerate().filter(is_channel).collect();
        if channels.is_empty() {
            return Err("line 1: no column with the numbers of a channel".into());
        }
        Ok(Self { id, time, label, channels })
    }
}

impl Growing {
    fn new(id: &str, first_line: u64) -> Self {
        let (steps, values, label) = (Vec::new(), Vec::new(), Vec::new());
        Self { id: id.to_owned(), first_line, steps, values, label, error: None }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Why it cannot be used.
    fn add(
        &mut self,
        table: &TableReader,
        row: csv::ByteRecord,
        places: &Places,
    ) -> Result<(), String> {
        let (line, fields) = (line(&row), table.header.len());
        if row.len() != fields {
            return Err(format!("{} fields, expected {fields}", row.len()));
        }
        let row = table.text(row)?;
        let time = match places.time {
            None => self.steps.len() as f64,
            Some(place) => {
                let time = row[place].trim();
                let number = time.parse::<f64>().ok().filter(|time| time.is_finite());
                number.ok_or_else(|| format!("time {} is not a number", excerpt(time)))?
            }
        };
        let label = places.label.iter().map(|&place| row[place].trim());
        if self.steps.is_empty() {
            self.label = label.map(str::to_owned).collect();
        } else if let Some((found, first)) =
            label.zip(&self.label).find(|(found, first)| found != first)
        {
            let (found, first) = (excerpt(found), excerpt(first));
            return Err(format!("label {found}, the first of the series is {first}"));
        }
        for (place, name) in &places.channels {
            let text = row[*place].trim();
            let number = match text.parse::<f32>() {
                Ok(number) => number,
                Err(_) if is_missing(text) => f32::NAN,
                Err(_) => {
                    let (text, name) = (excerpt(text), excerpt(name));
                    return Err(format!("{text} in column {name}, expected a number"));
                }
            };
            self.values.push(number);
        }
        self.steps.push((time, line));
        Ok(())
    }

    /// The series in order of time.
    fn finish(self, channels: usize, label: Option<&LabelColumns>) -> Result<Series, String> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut order: Vec<usize> = (0..self.steps.len()).collect();
        order.sort_by(|&one, &other| self.steps[one].0.total_cmp(&self.steps[other].0));
        let twice = order.windows(2).find(|pair| self.steps[pair[0]].0 == self.steps[pair[1]].0);
        if let Some(pair) = twice {
            let (time, line) = self.steps[pair[1]];
            return Err(format!("line {line}: time {time} stands twice in the series"));
        }
        let row = |&step: &usize| &self.values[step * channels..(step + 1) * channels];
        let values = order.iter().flat_map(row).copied().collect();
        let target = target(label, self.label.iter().map(String::as_str));
        let target = target.map_err(|reason| format!("line {}: {reason}", self.first_line))?;
        let place = format!("line {}, series {}", self.first_line, excerpt(&self.id));
        Ok(Series { place, steps: Rows::new(channels, values), target })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use crate::Target;

    fn series(text: impl AsRef<[u8]>, time: Option<&str>) -> Result<FileSeries> {
        let text = text.as_ref();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, text).unwrap();
        let columns = SeriesColumns {
            id: "take".into(),
            time: time.map(str::to_owned),
            label: Some(LabelColumns::Class("who".into())),
            ignored: if text.windows(4).any(|part| part == b"note") {
                vec!["note".into()]
            } else {
                Vec::new()
            },
        };
        from_table(&path, &columns).map(|(_, series)| series)
    }

    #[test]
    fn rows_are_gathered_by_series_and_ordered_by_time() {
        let text =
            "take,t,x,who,note,y\nb,2,1,Ann,,10\na,5,7,Bob,n,\nb,1.5,0,Ann,,?\nb,10,2,Ann,,20\n";
        let found = series(text, Some("t")).unwrap();
        let [b, a] = [0, 1].map(|index| found[index].as_ref().unwrap());
        assert_eq!(
            (b.place.as_str(), a.place.as_str()),
            ("line 2, series \"b\"", "line 3, series \"a\"")
        );
        assert_eq!((b.steps.columns, b.steps.rows), (2, 3));
        let values = &b.steps.values;
        assert_eq!(
            [values[0], values[2], values[3], values[4], values[5]],
            [0.0, 1.0, 10.0, 2.0, 20.0]
        );
        assert!(values[1].is_nan() && a.steps.values[1].is_nan());
        assert_eq!(b.target, Some(Target::Class("Ann".into())));
        // Without times, rows are in order, and the time is a channel.
        let found = series(text, None).unwrap();
        let values = &found[0].as_ref().unwrap().steps.values;
        assert_eq!([values[0], values[3], values[6]], [2.0, 1.5, 10.0]);
    }

    #[test]
    fn a_bad_row_costs_its_series_alone_and_names_its_line() {
        let text = "take,t,x,who\nok,1,1,A\nshort,1\nword,1,up,A\ntwice,1,1,A\ntwice,1,2,A\n\
                    two,1,1,A\ntwo,2,1,B\nwhen,noon,1,A\nnobody,1,1,\n,1,1,A\nok,2,2,A\n";
        let found = series(text, Some("t")).unwrap();
        assert_eq!(found[0].as_ref().unwrap().steps, Rows::new(1, vec![1.0, 2.0]));
        let reasons: Vec<_> = found[1..].iter().map(|one| one.clone().unwrap_err()).collect();
        let expected = [
            "line 3: 2 fields, expected 4",
            "line 4: \"up\" in column \"x\", expected a number",
            "line 6: time 1 stands twice in the series",
            "line 8: label \"B\", the first of the series is \"A\"",
            "line 9: time \"noon\" is not a number",
            "line 10: the label is empty",
            "line 11: no name of a series",
        ];
        assert_eq!(reasons, expected);
    }

    #[test]
    fn tables_without_the_columns_are_refused() {
        for (text, expected) in [
            ("t,x,who\n1,1,A\n", "line 1: no column \"take\""),
            ("take,x,who\na,1,A\n", "line 1: no column \"t\""),
            ("take,t,who\na,1,A\n", "line 1: no column with the numbers of a channel"),
        ] {
            let error = series(text, Some("t")).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error}");
        }
    }

    #[test]
    fn a_row_that_is_not_utf_8_costs_its_series() {
        let text = b"take,x,who\na,1,A\na,\xff,A\nb,2,A\n\xe9,1,A\n";
        let found = series(text, None).unwrap();
        assert_eq!(found[1].as_ref().unwrap().steps, Rows::new(1, vec![2.0]));
        let reasons = [0, 2].map(|index| found[index].clone().unwrap_err());
        let expected =
            ["line 3: column \"x\" is not UTF-8", "line 5: column \"take\" is not UTF-8"];
        assert_eq!(reasons, expected);
    }

    #[test]
    fn channels_keep_their_names_and_a_misspelt_column_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "y,take,note,x\n1,a,,2\n").unwrap();
        let columns = |ignored: &str| SeriesColumns {
            id: "take".into(),
            time: None,
            label: None,
            ignored: vec![ignored.into()],
        };
        assert_eq!(from_table(&path, &columns("note")).unwrap().0, ["y", "x"]);
        let error = from_table(&path, &columns("notes")).unwrap_err().to_string();
        assert!(error.ends_with("a.csv: line 1: no column \"notes\""), "{error}");
    }
}
