//! Completes the configuration of a model for any data from its training part.

use std::collections::{BTreeMap, BTreeSet};

use perceiver_data::{Cell, Modality, Record, Rows, Source, Target};
use perceiver_models::any_data::{
    AnyDataConfig, ColumnConfig, ModalityConfig, Output, TableConfig,
};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::scale::Scale;

/// Most classes, or categories of a column, that are learned.
const MOST_NAMES: usize = 100_000;

/// The sizes, scales, categories and classes found in the training part.
#[derive(Debug, Default)]
struct Learned {
    modalities: BTreeMap<String, Statistics>,
    classes: BTreeSet<String>,
    targets: Scale,
}

/// The statistics of one modality in the training part.
#[derive(Debug, Default)]
struct Statistics {
    elements: usize,
    largest_id: usize,
    values: Scale,
    shape: Vec<usize>,
    columns: Vec<(String, Self)>,
    names: BTreeSet<String>,
    /// Bits of the numbers of a column, which are names if others are.
    numbers: BTreeSet<u32>,
    /// Smallest and largest coordinate along each axis.
    extents: Vec<[f64; 2]>,
    /// Largest distance along any axis from the mean of an example's points.
    spread: f64,
}

/// Fills in what a configuration leaves out, from records that can be read, and returns the names of
/// the classes.
///
/// # Errors
/// The reason why the records do not complete it, in one line.
pub(crate) fn learned(
    config: &mut AnyDataConfig,
    records: &dyn Source<Example = Record>,
) -> Result<Vec<String>, String> {
    let mut learned = Learned::default();
    // Nothing here depends on what is random.
    let mut random = ChaCha8Rng::seed_from_u64(0);
    for index in 0..records.len() {
        // Training counts the records that cannot be read.
        if let Ok(record) = records.example(index, &mut random) {
            learned.add(&record)?;
        }
    }
    for modality in &mut config.modalities {
        let name = modality.name().to_owned();
        let Some(statistics) = learned.modalities.get(&name) else {
            let found: Vec<_> = learned.modalities.keys().map(String::as_str).collect();
            let found = if found.is_empty() { "nothing".into() } else { found.join(", ") };
            return Err(format!("`modalities` names {name:?}, the data has {found}"));
        };
        statistics.complete(modality)?;
    }
    if let Output::Regression { mean, deviation, .. } = &mut config.output
        && mean.is_empty()
    {
        (*mean, *deviation) = (learned.targets.mean(), learned.targets.deviation());
    }
    Ok(in_order(learned.classes))
}

impl Learned {
    fn add(&mut self, record: &Record) -> Result<(), String> {
        for (name, data) in &record.inputs {
            if !self.modalities.contains_key(&**name) {
                self.modalities.insert(name.to_string(), Statistics::default());
            }
            if let Some(statistics) = self.modalities.get_mut(&**name) {
                statistics.add(data);
            }
        }
        match &record.target {
            None => {}
            Some(Target::Class(name)) => self.class(name),
            Some(Target::Labels(names)) => names.iter().for_each(|name| self.class(name)),
            Some(Target::Elements(names)) => {
                names.iter().flatten().for_each(|name| self.class(name));
            }
            Some(Target::Values(values)) => self.targets.add(values.len(), values),
        }
        if self.classes.len() > MOST_NAMES {
            return Err(format!("the data has more than {MOST_NAMES} classes"));
        }
        Ok(())
    }

    fn class(&mut self, name: &str) {
        if !self.classes.contains(name) {
            self.classes.insert(name.to_owned());
        }
    }
}

impl Statistics {
    fn add(&mut self, data: &Modality) {
        self.elements = self.elements.max(data.elements());
        match data {
            Modality::Series(rows) => self.values.add(rows.columns, &rows.values),
            Modality::Table { columns, cells } => {
                for (place, (name, cell)) in columns.iter().zip(cells).enumerate() {
                    self.column(place, name).cell(cell);
                }
            }
            Modality::Points { coordinates, features } => {
                self.values.add(features.columns, &features.values);
                self.places(coordinates);
            }
            Modality::Grid { shape, values } => {
                if self.shape.is_empty() {
                    self.shape.clone_from(shape);
                }
                self.values.add(values.columns, &values.values);
            }
            Modality::Tokens(ids) => {
                let largest = ids.iter().max().map_or(0, |&id| id as usize);
                self.largest_id = self.largest_id.max(largest);
            }
        }
    }

    /// The column of a name, which stands at `place` in most rows.
    fn column(&mut self, place: usize, name: &str) -> &mut Self {
        let is_there = self.columns.get(place).is_some_and(|(known, _)| known == name);
        let found = || self.columns.iter().position(|(known, _)| known == name);
        let index = if is_there { Some(place) } else { found() };
        let index = index.unwrap_or_else(|| {
            self.columns.push((name.to_owned(), Self::default()));
            self.columns.len() - 1
        });
        &mut self.columns[index].1
    }

    fn cell(&mut self, cell: &Cell) {
        match cell {
            Cell::Missing => {}
            Cell::Number(number) => {
                self.values.add(1, &[*number]);
                if self.numbers.len() <= MOST_NAMES {
                    self.numbers.insert(number.to_bits());
                }
            }
            Cell::Category(name) => {
                if self.names.len() <= MOST_NAMES && !self.names.contains(name) {
                    self.names.insert(name.clone());
                }
            }
        }
    }

    fn places(&mut self, coordinates: &Rows) {
        let dimensions = coordinates.columns;
        if self.extents.is_empty() {
            self.extents = vec![[f64::INFINITY, f64::NEG_INFINITY]; dimensions];
        }
        if self.extents.len() != dimensions {
            return;
        }
        for (axis, extents) in self.extents.iter_mut().enumerate() {
            let along = coordinates.values.iter().skip(axis).step_by(dimensions);
            let along = along.map(|&place| f64::from(place)).filter(|place| place.is_finite());
            let (mut sum, mut count) = (0.0, 0.0);
            let mut own = [f64::INFINITY, f64::NEG_INFINITY];
            for place in along {
                own = [own[0].min(place), own[1].max(place)];
                sum += place;
                count += 1.0;
            }
            if count > 0.0 {
                let mean = sum / count;
                *extents = [extents[0].min(own[0]), extents[1].max(own[1])];
                self.spread = self.spread.max(own[1] - mean).max(mean - own[0]);
            }
        }
    }

    /// Fills in the fields that are absent.
    fn complete(&self, config: &mut ModalityConfig) -> Result<(), String> {
        let size = |field: &mut usize, learned: usize| {
            if *field == 0 {
                *field = learned;
            }
        };
        match config {
            ModalityConfig::Series(series) => size(&mut series.max_length, self.elements),
            ModalityConfig::Table(table) => self.columns(table)?,
            ModalityConfig::Points(points) => {
                if points.centre.is_empty() {
                    let middle = |[low, high]: &[f64; 2]| (low + high) / 2.0;
                    let centred = points.centred;
                    let centre = self.extents.iter().map(|e| if centred { 0.0 } else { middle(e) });
                    points.centre = centre.collect();
                }
                if points.scale == 0.0 {
                    let half = self.extents.iter().map(|[low, high]| (high - low) / 2.0);
                    let scale = if points.centred { self.spread } else { half.fold(0.0, f64::max) };
                    points.scale = if scale > 0.0 { scale } else { 1.0 };
                }
            }
            ModalityConfig::Grid(grid) => {
                if grid.shape.is_empty() {
                    grid.shape.clone_from(&self.shape);
                }
            }
            ModalityConfig::Tokens(tokens) => {
                size(&mut tokens.vocabulary, self.largest_id + 1);
                size(&mut tokens.max_length, self.elements);
            }
        }
        if let Some(channels) = config.numbers_mut()
            && channels.mean.is_empty()
        {
            *channels = self.values.channels();
        }
        Ok(())
    }

    /// The columns of the data, in its order.
    fn columns(&self, table: &mut TableConfig) -> Result<(), String> {
        if !table.columns.is_empty() {
            return Ok(());
        }
        // Numbers are names if others are.
        let is_too_large = |column: &Self| {
            !column.names.is_empty() && column.names.len() + column.numbers.len() > MOST_NAMES
        };
        if let Some((name, _)) = self.columns.iter().find(|(_, column)| is_too_large(column)) {
            return Err(format!("column {name:?} has more than {MOST_NAMES} categories"));
        }
        let column = |(name, column): &(String, Self)| {
            let categories = (!column.names.is_empty()).then(|| {
                let numbers = column.numbers.iter().map(|bits| f32::from_bits(*bits).to_string());
                in_order(column.names.iter().cloned().chain(numbers).collect())
            });
            let first = |numbers: Vec<f64>, usual| numbers.first().copied().unwrap_or(usual);
            let is_number = categories.is_none();
            ColumnConfig {
                name: name.clone(),
                mean: if is_number { first(column.values.mean(), 0.0) } else { 0.0 },
                deviation: if is_number { first(column.values.deviation(), 1.0) } else { 1.0 },
                categories,
            }
        };
        table.columns = self.columns.iter().map(column).collect();
        Ok(())
    }
}

/// Names in alphabetical order, or in that of numbers if all are.
fn in_order(names: BTreeSet<String>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().collect();
    let number = |name: &String| name.parse::<f64>().ok().filter(|number| number.is_finite());
    if names.iter().all(|name| number(name).is_some()) {
        let key = |name: &String| number(name).unwrap_or(0.0);
        names.sort_by(|one, other| key(one).total_cmp(&key(other)));
    }
    names
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::sync::Arc;

    use perceiver_models::PerceiverConfig;
    use serde_json::json;

    use super::*;

    fn config(modalities: serde_json::Value, output: serde_json::Value) -> AnyDataConfig {
        let config = PerceiverConfig::default();
        let config = config.with_field("modalities", modalities).with_field("output", output);
        AnyDataConfig::read(&config).unwrap()
    }

    fn record(inputs: Vec<(&str, Modality)>, target: Target) -> Record {
        let inputs = inputs.into_iter().map(|(name, data)| (Arc::from(name), data)).collect();
        Record { origin: "made here".into(), inputs, target: Some(target) }
    }

    #[test]
    fn sizes_scales_categories_and_classes_are_those_of_the_training_part() {
        let modalities = json!([
            {"name": "row", "kind": "table", "embedding": 4},
            {"name": "cloud", "kind": "points", "position": {"kind": "fourier", "bands": 2}},
        ]);
        let mut config = config(modalities, json!({"kind": "classification"}));
        let columns: Arc<[String]> = ["age", "city"].map(String::from).into();
        let row = |age, city| Modality::Table { columns: columns.clone(), cells: vec![age, city] };
        let cloud = |places: [f32; 4]| Modality::Points {
            coordinates: Rows::new(2, places.to_vec()),
            features: Rows::empty(2),
        };
        let rome = Cell::Category("Rome".into());
        let records = vec![
            record(
                vec![("row", row(Cell::Number(3.0), rome)), ("cloud", cloud([0.0, 0.0, 4.0, 1.0]))],
                Target::Class("10".into()),
            ),
            record(
                vec![
                    ("row", row(Cell::Missing, Cell::Number(5.0))),
                    ("cloud", cloud([2.0, 3.0, 2.0, 2.0])),
                ],
                Target::Class("9".into()),
            ),
        ];
        assert_eq!(learned(&mut config, &records).unwrap(), ["9", "10"]);
        let ModalityConfig::Table(table) = &config.modalities[0] else { panic!("no table") };
        let [age, city] = &table.columns[..] else { panic!("not two columns") };
        assert_eq!((age.mean, age.deviation, &age.categories), (3.0, 1.0, &None));
        assert_eq!(city.categories.as_deref().unwrap(), ["5", "Rome"]);
        let ModalityConfig::Points(points) = &config.modalities[1] else { panic!("no points") };
        assert_eq!((points.centre.as_slice(), points.scale), (&[2.0, 1.5][..], 2.0));
    }

    #[test]
    fn a_column_of_too_many_categories_is_refused() {
        let row = json!([{"name": "row", "kind": "table", "embedding": 4}]);
        let mut config = config(row, json!({"kind": "classification"}));
        let columns: Arc<[String]> = ["age".to_owned()].into();
        let row = |cell| Modality::Table { columns: columns.clone(), cells: vec![cell] };
        let class = Target::Class("a".into());
        let numbers = (0..MOST_NAMES).map(|number| Cell::Number(number as f32));
        let mut records: Vec<Record> =
            numbers.map(|cell| record(vec![("row", row(cell))], class.clone())).collect();
        let word = row(Cell::Category("n.a.".into()));
        records.push(record(vec![("row", word)], class));
        let error = learned(&mut config, &records).unwrap_err();
        assert_eq!(error, "column \"age\" has more than 100000 categories");
        records.pop();
        assert_eq!(learned(&mut config, &records).unwrap(), ["a"]);
    }

    #[test]
    fn a_modality_that_the_data_lacks_is_named() {
        let series = json!([{"name": "ecg", "kind": "series",
            "position": {"kind": "fourier", "bands": 2}}]);
        let mut config = config(series, json!({"kind": "classification"}));
        let records =
            vec![record(vec![("eeg", Modality::Tokens(vec![1]))], Target::Class("a".into()))];
        let error = learned(&mut config, &records).unwrap_err();
        assert_eq!(error, "`modalities` names \"ecg\", the data has eeg");
    }
}
