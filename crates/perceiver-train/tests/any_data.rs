//! A model for any data, from a recipe and raw files to answers.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]
#![cfg(feature = "flex")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Device;
use perceiver_models::any_data::ModalityConfig;
use perceiver_train::data::{
    Cell, LabelColumns, Modality, Record, RecordSeries, RecordTable, Source as _,
};
use perceiver_train::recipe::{Recipe, TrainOptions};
use perceiver_train::{
    Answer, ChaCha8Rng, EvaluationData, Evaluator, Metric, Predictor, rand::SeedableRng,
};

/// Fresh weights draw from a generator of the whole process: concurrent runs would disturb each other.
static ALONE: Mutex<()> = Mutex::new(());

const RECIPE: &str = r#"
name = "weather"
architecture = "PerceiverForAnyData"

[model]
num_latents = 2
d_latents = 8
num_blocks = 2
num_cross_attention_layers = 2
num_self_attends_per_block = 1
num_self_attention_heads = 2
num_cross_attention_heads = 2
attention_probs_dropout_prob = 0.0
initializer_range = 0.3
modalities = [{ name = "row", kind = "table", embedding = 8 }]
output = OUTPUT

[data]
kind = "table"
train = "train.csv"
validation = "validation.csv"
LABEL
ignored = ["id"]

[optimiser]
name = "adam-w"
learning_rate = 0.02

[run]
steps = 80
batch_size = 16
validate_every = 40
"#;

fn recipe(output: &str, label: &str) -> String {
    RECIPE.replace("OUTPUT", output).replace("LABEL", label)
}

/// The class is warm unless the city is Oslo, and the price is 1000 more than twice the size. A fifth
/// of the sizes, and some noise, are missing.
fn table(rows: usize) -> String {
    let mut table = "id,city,size,noise,class,price\n".to_owned();
    for row in 0..rows {
        let city = ["Rome", "Oslo", "Cairo"][row % 3];
        let class = if city == "Oslo" { "cold" } else { "warm" };
        let size = (row * 7 % 20) as f32;
        let noise = if row % 5 == 0 { "NA".to_owned() } else { (row * 13 % 7).to_string() };
        let price = 1000.0 + 2.0 * size;
        let _ = writeln!(table, "{row},{city},{size},{noise},{class},{price}");
    }
    table
}

fn folder(recipe: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("recipe.toml", recipe.to_owned()),
        ("train.csv", table(60)),
        ("validation.csv", table(20)),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn train(folder: &Path) -> Result<(), String> {
    let recipe = Recipe::from_file(folder.join("recipe.toml")).map_err(|e| e.to_string())?;
    let options = TrainOptions::new(folder.join("model")).data(folder).device(&Device::flex());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    recipe.train(options, |_| {}).map(|_| ()).map_err(|error| error.to_string())
}

/// The value of the first metric on the validation part of the recipe.
fn measured(folder: &Path, metric: &Metric) -> f64 {
    let recipe = Recipe::from_file(folder.join("recipe.toml")).unwrap();
    let evaluator = Evaluator::open(folder.join("model")).unwrap();
    let EvaluationData::Examples(examples) = evaluator.open_recipe(&recipe, folder).unwrap() else {
        panic!("frames")
    };
    let evaluation = evaluator.evaluate(examples, &Device::flex(), &mut |_| {}).unwrap();
    evaluation.measures.get(metric).unwrap()
}

fn answered(predictor: &Predictor, records: &[Record]) -> Vec<Answer> {
    predictor.predict(records).into_iter().map(Result::unwrap).collect()
}

fn records(folder: &Path, label: &LabelColumns) -> Vec<Record> {
    let ignored = ["id", "class", "price"].map(String::from);
    let table =
        RecordTable::open(folder.join("validation.csv"), "row", Some(label), &ignored).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(0);
    (0..table.len()).map(|row| table.example(row, &mut random).unwrap()).collect()
}

#[test]
fn classes_are_learned_from_a_table_and_answered_from_raw_rows() {
    let label = "label = \"class\"\n";
    let recipe = recipe(r#"{ kind = "classification", pooling = "mean" }"#, label);
    let folder = folder(&recipe.replace(r#"["id"]"#, r#"["id", "price"]"#));
    train(folder.path()).unwrap();
    assert_eq!(measured(folder.path(), &Metric::ACCURACY), 100.0);

    let predictor = Predictor::open(folder.path().join("model"), &Device::flex()).unwrap();
    let ModalityConfig::Table(table) = &predictor.config().modalities[0] else {
        panic!("no table")
    };
    let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["city", "size", "noise"]);
    assert_eq!(table.columns[0].categories.as_deref().unwrap(), ["Cairo", "Oslo", "Rome"]);

    let records = records(folder.path(), &LabelColumns::Class("class".into()));
    let answers = answered(&predictor, &records);
    for (record, answer) in records.iter().zip(&answers) {
        let Answer::Class { label, scores } = answer else { panic!("{answer:?}") };
        assert_eq!(record.target, Some(perceiver_train::data::Target::Class(label.clone())));
        assert!((scores.iter().map(|(_, score)| score).sum::<f32>() - 1.0).abs() < 1e-5);
    }
}

#[test]
fn numbers_are_learned_and_answered_in_the_units_of_the_data() {
    let recipe =
        recipe(r#"{ kind = "regression", targets = ["price"] }"#, "values = [\"price\"]\n");
    let folder = folder(&recipe.replace(r#"["id"]"#, r#"["id", "class"]"#));
    train(folder.path()).unwrap();
    // Prices have a standard deviation of 11.5.
    let error = measured(folder.path(), &Metric::ROOT_MEAN_SQUARE_ERROR);
    assert!(error < 3.0, "{error}");

    let text = fs::read_to_string(folder.path().join("recipe.toml")).unwrap();
    let other = folder.path().join("other.toml");
    fs::write(&other, text.replace("values = [\"price\"]", "values = [\"size\"]")).unwrap();
    let refused = Recipe::from_file(&other).and_then(|recipe| {
        Evaluator::open(folder.path().join("model"))?.open_recipe(&recipe, folder.path())
    });
    let refused = refused.err().unwrap().to_string();
    assert!(refused.ends_with("are not `data.values`, expected the same names"), "{refused}");

    let predictor = Predictor::open(folder.path().join("model"), &Device::flex()).unwrap();
    let records = records(folder.path(), &LabelColumns::Values(vec!["price".into()]));
    let Answer::Values(values) = &answered(&predictor, &records[..1])[0] else { panic!() };
    assert_eq!(values[0].0, "price");
    assert!((values[0].1 - 1000.0).abs() < 10.0, "{values:?}");
}

/// Series that rise or fall, of 3 to 6 steps, beside a channel of noise: as a table and as `.ts`.
fn rising_and_falling(count: usize) -> [String; 2] {
    let mut table = "who,t,level,noise,trend\n".to_owned();
    let mut lines = "@classLabel true up down\n@data\n".to_owned();
    for series in 0..count {
        let (steps, rises) = (3 + series % 4, series % 2 == 0);
        let trend = if rises { "up" } else { "down" };
        let level = |step: usize| if rises { step } else { steps - step };
        let noise = |step: usize| (series * 5 + step * 3) % 7;
        // From the last step to the first: their times order them.
        for step in (0..steps).rev() {
            let _ = writeln!(table, "s{series},{step},{},{},{trend}", level(step), noise(step));
        }
        let joined = |number: &dyn Fn(usize) -> usize| {
            (0..steps).map(|step| number(step).to_string()).collect::<Vec<_>>().join(",")
        };
        let _ = writeln!(lines, "{}:{}:{trend}", joined(&level), joined(&noise));
    }
    [table, lines]
}

#[test]
fn classes_of_series_are_learned_from_a_table_and_from_ts_files_alike() {
    let [table, lines] = rising_and_falling(40);
    let modality =
        r#"{ name = "series", kind = "series", position = { kind = "fourier", bands = 4 } }"#;
    let table_of = "id = \"who\"\ntime = \"t\"\nlabel = \"trend\"\n";
    let mut losses = Vec::new();
    for (ending, text, label) in [("csv", table, table_of), ("ts", lines, "")] {
        let recipe = recipe(r#"{ kind = "classification", pooling = "mean" }"#, label)
            .replace(r#"{ name = "row", kind = "table", embedding = 8 }"#, modality)
            .replace("kind = \"table\"", "kind = \"series\"")
            .replace(".csv", &format!(".{ending}"))
            .replace("ignored = [\"id\"]", "");
        let folder = folder(&recipe);
        for part in ["train", "validation"] {
            fs::write(folder.path().join(format!("{part}.{ending}")), &text).unwrap();
        }
        train(folder.path()).unwrap();
        losses.push(measured(folder.path(), &Metric::ACCURACY));
        let predictor = Predictor::open(folder.path().join("model"), &Device::flex()).unwrap();
        let path = folder.path().join("new.ts");
        fs::write(&path, "@data\n0,1,2,3,4,5,6,7:1,2,3,1,2,3,1,2\n").unwrap();
        let new = RecordSeries::from_ts(path, "series").unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(0);
        // Longer than those of the training part.
        let record = new.example(0, &mut random).unwrap();
        assert!(matches!(&answered(&predictor, &[record])[0], Answer::Class { .. }));
    }
    assert_eq!(losses, [100.0, 100.0]);
}

#[test]
fn validation_series_with_other_channels_than_those_of_training_are_refused() {
    let modality =
        r#"{ name = "series", kind = "series", position = { kind = "fourier", bands = 4 } }"#;
    let label = "id = \"who\"\ntime = \"t\"\nlabel = \"trend\"\n";
    let recipe = recipe(r#"{ kind = "classification" }"#, label)
        .replace(r#"{ name = "row", kind = "table", embedding = 8 }"#, modality)
        .replace("kind = \"table\"", "kind = \"series\"")
        .replace("ignored = [\"id\"]", "");
    let folder = folder(&recipe);
    let [table, _] = rising_and_falling(4);
    fs::write(folder.path().join("train.csv"), &table).unwrap();
    for (header, expected) in [
        (
            "who,t,noise,level,trend",
            "line 1: channel 1 is \"noise\", that of the training part is \"level\"",
        ),
        (
            "who,t,level,t2,trend",
            "line 1: channel 2 is \"t2\", that of the training part is \"noise\"",
        ),
        ("who,t,level,noise,more,trend", "line 1: 3 channels, the training part has 2"),
    ] {
        let row = if header.contains("more") { "a,0,1,2,3,up" } else { "a,0,1,2,up" };
        fs::write(folder.path().join("validation.csv"), format!("{header}\n{row}\n")).unwrap();
        let error = train(folder.path()).unwrap_err();
        assert!(error.ends_with(&format!("validation.csv: {expected}")), "{error}");
    }
}

#[test]
fn a_record_that_does_not_fit_the_model_is_refused_by_its_origin() {
    let recipe = recipe(r#"{ kind = "classification" }"#, "label = \"class\"\n");
    let recipe = recipe.replace(r#"["id"]"#, r#"["id", "price"]"#);
    let recipe = recipe.replace("steps = 80", "steps = 1").replace("every = 40", "every = 1");
    let folder = folder(&recipe);
    train(folder.path()).unwrap();
    let predictor = Predictor::open(folder.path().join("model"), &Device::flex()).unwrap();
    let row = |columns: &[&str], cells: Vec<Cell>| Record {
        origin: "new.csv, line 7".into(),
        inputs: vec![(
            Arc::from("row"),
            Modality::Table { columns: columns.iter().map(ToString::to_string).collect(), cells },
        )],
        target: None,
    };
    let (number, city) = (Cell::Number(1.0), Cell::Category("Lima".into()));
    let all = ["city", "size", "noise"];
    // A city that training did not see is unknown, not an error.
    let fitting = row(&all, vec![city.clone(), number.clone(), Cell::Missing]);
    assert_eq!(answered(&predictor, std::slice::from_ref(&fitting)).len(), 1);
    for (record, expected) in [
        (
            row(
                &["city", "size", "noise", "sound"],
                vec![city.clone(), number.clone(), number.clone(), number.clone()],
            ),
            "`row` has column `sound`, which the model does not know",
        ),
        (row(&all[..2], vec![city.clone(), number.clone()]), "`row` has no column `noise`"),
        (
            row(&all, vec![city.clone(), city.clone(), number]),
            "`row` has \"Lima\" in column `size`, expected a number",
        ),
        (
            Record {
                inputs: vec![(Arc::from("row"), Modality::Tokens(vec![1]))],
                ..row(&all, vec![])
            },
            "`row` is tokens, expected table",
        ),
        (Record { inputs: Vec::new(), ..row(&all, Vec::new()) }, "has no modality `row`"),
    ] {
        let results = predictor.predict(&[record, fitting.clone()]);
        let error = results[0].as_ref().unwrap_err().to_string();
        assert_eq!(error, format!("new.csv, line 7: {expected}"));
        assert!(results[1].is_ok(), "{results:?}");
    }
}

#[test]
fn recipes_that_contradict_their_data_are_refused_in_one_line() {
    let good = recipe(r#"{ kind = "classification" }"#, "label = \"class\"\n");
    for (from, to, expected) in [
        (r#"name = "row""#, r#"name = "line""#, "`modalities` names \"line\", the data has row"),
        (r#""table", embedding"#, r#""tables", embedding"#, "`modalities` cannot be read"),
        (r#""table", embedding"#, r#""table", embedded"#, "unknown field `embedded`"),
        ("num_latents = 2", "latents = 2", "unknown field `latents`"),
        (
            r#"{ kind = "classification" }"#,
            r#"{ kind = "elements", modality = "row" }"#,
            "`output.modality` names \"row\", a table, expected another kind",
        ),
        (
            "num_cross_attention_layers = 2",
            "num_cross_attention_layers = 3",
            "`num_cross_attention_layers` is 3, expected 1 to `num_blocks` = 2",
        ),
        ("label = \"class\"", "", "`data` needs either a `label` column or `values` columns"),
        (
            "label = \"class\"",
            "values = [\"price\"]",
            "`data.values` are numbers, `model.output` is classification, expected regression",
        ),
        ("label = \"class\"", "label = \"kind\"", "line 1: no column \"kind\""),
        (
            "[data]\nkind = \"table\"",
            "[data]\nkind = \"series\"",
            "`data.id` is missing, expected the column that names the series of a row",
        ),
        (
            "kind = \"table\"\ntrain = \"train.csv\"",
            "kind = \"series\"\ntrain = \"train.ts\"",
            "`data` has one *.ts file, expected two or none",
        ),
        (
            "PerceiverForAnyData",
            "PerceiverForMaskedLM",
            "`data.kind` is table, expected plain-text for PerceiverForMaskedLM",
        ),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from}");
        let folder = folder(&changed);
        let error = train(folder.path()).unwrap_err();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        assert!(!folder.path().join("model").exists(), "{expected}");
    }
    let output = r#"{ kind = "regression", targets = ["size", "price"] }"#;
    let folder = folder(&recipe(output, "values = [\"price\", \"size\"]\n"));
    let error = train(folder.path()).unwrap_err();
    assert!(error.contains("`model.output.targets` are not `data.values`"), "{error}");
}

/// A file of NumPy's, of single-precision numbers or of bytes.
fn write_array(path: &Path, dtype: &str, shape: &str, elements: &[u8]) {
    let header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    let bytes = [b"\x93NUMPY\x01\0", length.as_slice(), header.as_bytes(), elements].concat();
    fs::write(path, bytes).unwrap();
}

/// Series of 3 or 4 steps and 2 channels; those of class 1 rise.
fn series_in_arrays(folder: &Path, part: &str, examples: usize) {
    let (mut numbers, mut labels) = (Vec::new(), Vec::new());
    for example in 0..examples {
        let class = example % 2;
        let slope = if class == 1 { 2.0 } else { -2.0 };
        for step in 0..4 {
            let is_padding = step == 3 && example % 3 == 0;
            let value = (example * 7 % 5) as f32 + slope * (step as f32 - 1.5);
            let pair = if is_padding { [f32::NAN; 2] } else { [value, 1.0 + step as f32] };
            numbers.extend(pair.into_iter().flat_map(f32::to_le_bytes));
        }
        labels.push(class as u8);
    }
    let shape = format!("({examples}, 4, 2)");
    write_array(&folder.join(format!("{part}.npy")), "<f4", &shape, &numbers);
    let labels_file = folder.join(format!("{part}_labels.npy"));
    write_array(&labels_file, "|u1", &format!("({examples},)"), &labels);
}

const ARRAYS: &str = r#"
kind = "arrays"
layout = "series"
train = "train.npy"
train_labels = "train_labels.npy"
validation = "validation.npy"
validation_labels = "validation_labels.npy"
"#;

/// The recipe for series in arrays, in a folder with them.
fn arrays_folder(change: impl Fn(String) -> String) -> tempfile::TempDir {
    let recipe = recipe(r#"{ kind = "classification", pooling = "query" }"#, "");
    let (before, rest) = recipe.split_once("[data]").unwrap();
    let (_, after) = rest.split_once("[optimiser]").unwrap();
    let row = r#"{ name = "row", kind = "table", embedding = 8 }"#;
    let series =
        r#"{ name = "series", kind = "series", position = { kind = "fourier", bands = 2 } }"#;
    let before = before.replace(row, series);
    let folder = folder(&change(format!("{before}[data]{ARRAYS}[optimiser]{after}")));
    series_in_arrays(folder.path(), "train", 60);
    series_in_arrays(folder.path(), "validation", 20);
    folder
}

#[test]
fn classes_are_learned_from_series_in_arrays() {
    let folder = arrays_folder(|recipe| recipe);
    train(folder.path()).unwrap();
    assert_eq!(measured(folder.path(), &Metric::ACCURACY), 100.0);
}

#[test]
fn recipes_that_contradict_their_arrays_are_refused_in_one_line() {
    for (from, to, expected) in [
        (
            r#"layout = "series""#,
            r#"layout = "table""#,
            "shape [60, 4, 2], expected [examples, columns]",
        ),
        (r#"layout = "series""#, r#"layout = "rows""#, "unknown variant `rows`"),
        (
            r#"name = "series""#,
            r#"name = "sound""#,
            "`modalities` names \"sound\", the data has series",
        ),
        (
            "validation_labels = \"validation_labels.npy\"\n",
            "",
            "`data` needs both `train_labels` and `validation_labels`, or neither",
        ),
        ("\"train_labels.npy\"", "\"validation_labels.npy\"", "shape [20], expected 60 labels"),
        ("\"train.npy\"", "\"train.csv\"", "is not a .npy file of NumPy"),
    ] {
        let folder = arrays_folder(|recipe| {
            let changed = recipe.replacen(from, to, 1);
            assert_ne!(changed, recipe, "{from}");
            changed
        });
        let error = train(folder.path()).unwrap_err();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        assert!(!folder.path().join("model").exists(), "{expected}");
    }
}
