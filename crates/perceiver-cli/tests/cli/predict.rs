//! `perceiver predict`: raw files in, answers out.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::tempdir;

use crate::support::{arguments, fixture, run};

/// A regression from a table, whose answers PyTorch computed (`tests/generate/any_data.py`).
fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/any_data/table_regression")
}

/// The inputs of the fixture as a user has them: an unknown colour, a missing city and age, a label.
const ROWS: &str = "colour,age,city,size,price\n\
                    blue,-10.876127242,Wien,-7.669163227,7\n\
                    red,,?,-3.6963951588,8\n";
/// `outputs.safetensors`: price and area of each row.
const ANSWERS: [[f64; 2]; 2] =
    [[76.795_852_661, 4.415_314_197_5], [115.926_048_278, 4.733_416_557_3]];

#[test]
fn raw_rows_are_answered_in_the_units_of_the_data() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("new.csv");
    fs::write(&file, ROWS).unwrap();
    for batch in ["1", "8"] {
        let found = run(arguments![
            "predict",
            model(),
            &file,
            "--ignore",
            "price",
            "--json",
            "--batch",
            batch
        ]);
        assert_eq!(found.code, 0, "{found:?}");
        let answers = found.documents();
        assert_eq!(answers.len(), 2);
        for ((answer, [price, area]), line) in answers.iter().zip(ANSWERS).zip(2..) {
            assert_eq!(answer["input"], format!("{}, line {line}", file.display()));
            for (name, expected) in [("price", price), ("area", area)] {
                let found = answer["values"][name].as_f64().unwrap();
                assert!((found / expected - 1.0).abs() < 1e-5, "{name}: {found}, not {expected}");
            }
        }
    }
    let found = run(arguments!["predict", model(), &file, "--ignore", "price", "--csv"]);
    let lines: Vec<&str> = found.stdout.lines().collect();
    assert_eq!((lines[0], lines.len()), ("input,price,area", 3));
    assert!(lines[1].contains("new.csv, line 2\",76.79"), "{}", lines[1]);
}

#[test]
fn rows_and_files_that_do_not_fit_leave_the_others_and_are_counted() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.csv"), "age,city,size,colour\n1,Oslo,2,red\nold,Rome,1,red\n3,Rome\n")
        .unwrap();
    fs::write(path("b.csv"), "age,city,colour\n1,Oslo,red\n1,Oslo,red\n").unwrap();
    fs::write(path("c.csv"), "age,city,size,colour\n4,Oslo,2,red\n").unwrap();
    let found = run(arguments!["predict", model(), folder.path().join("*.csv"), "--json"]);
    assert_eq!(found.code, 1, "{found:?}");
    let inputs: Vec<_> = found
        .documents()
        .iter()
        .map(|answer| answer["input"].as_str().unwrap().to_owned())
        .collect();
    assert!(inputs[0].ends_with("a.csv, line 2") && inputs[1].ends_with("c.csv, line 2"));
    assert_eq!(inputs.len(), 2);
    let errors: Vec<_> = found.stderr.lines().filter(|line| line.contains("error: ")).collect();
    let expected = [
        "a.csv, line 3: `row` has \"old\" in column `age`, expected a number",
        "a.csv: line 4: 2 fields, expected 4",
        "b.csv: line 1: no column \"size\", which the model reads",
        "3 of 5 inputs failed",
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn what_no_row_can_be_answered_from_is_refused_in_one_line() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("new.csv");
    fs::write(&file, ROWS).unwrap();
    let texts = fixture("sequence_single_label");
    for (model, file, expected) in [
        (
            model(),
            file.clone(),
            "line 1: the model has no column \"price\"; --ignore leaves it out",
        ),
        (model(), folder.path().join("no.csv"), "No such file or directory"),
        (model(), folder.path().to_path_buf(), "expected a file named *.csv or *.tsv"),
        (texts, file.clone(), "PerceiverForAnyData"),
    ] {
        let found = run(arguments!["predict", model, file]);
        assert_eq!((found.code, found.stdout.as_str()), (2, ""), "{found:?}");
        assert_eq!(found.stderr.lines().count(), 1, "{}", found.stderr);
        assert!(found.stderr.contains(expected), "{}", found.stderr);
    }
}

/// Points of `point_labels`, an example of five and one of three: two coordinates and a feature each.
const POINTS: [[f32; 3]; 8] = [
    [7.532_066_3, -0.068_649_56, -3.735_548_5],
    [-1.384_334, 0.759_938_84, 0.612_487_9],
    [8.303_421, -5.008_129, 0.387_451_62],
    [-1.679_418_3, 2.075_856, 4.342_053],
    [-0.250_939_46, 0.472_301_9, 3.450_502_2],
    [-2.498_627_7, 2.650_803_6, 2.326_326_4],
    [5.079_424_4, -5.681_183, -1.589_284_8],
    [-0.108_334_735, -1.678_324_6, 2.568_107_6],
];
/// `outputs.safetensors`: scores of the labels no, maybe and yes for each point.
const LOGITS: [[f64; 3]; 8] = [
    [-0.925_843_715, -1.944_661_379, -3.638_095_856],
    [1.691_583_633, -3.046_131_134, 0.920_444_548],
    [-0.404_117_972, -0.779_720_306, -2.913_793_325],
    [0.175_965_399, -1.283_579_588, 2.010_102_034],
    [1.798_766_851, -3.109_204_292, 1.971_267_581],
    [4.208_180_428, -6.235_005_379, 4.021_972_179],
    [-0.040_771_276, -5.297_425_270, 0.175_311_819],
    [1.009_354_591, -4.674_223_423, 2.543_876_648],
];

#[test]
fn points_of_an_array_get_a_class_each() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("clouds.npy");
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 5, 3), }\n";
    let filling = [f32::NAN; 6];
    let numbers = POINTS.as_flattened().iter().chain(&filling).flat_map(|n| n.to_le_bytes());
    let length = (header.len() as u16).to_le_bytes();
    let head = [b"\x93NUMPY\x01\0", length.as_slice(), header.as_bytes()].concat();
    fs::write(&file, head.into_iter().chain(numbers).collect::<Vec<u8>>()).unwrap();

    let model =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/any_data/point_labels");
    let found = run(arguments!["predict", &model, &file, "--json"]);
    assert_eq!(found.code, 0, "{found:?}");
    let answers = found.documents();
    assert_eq!(answers[1]["input"], format!("{}, example 1", file.display()));
    let elements: Vec<_> =
        answers.iter().flat_map(|answer| answer["elements"].as_array().unwrap()).collect();
    assert_eq!((answers.len(), elements.len()), (2, 8));
    for (element, logits) in elements.iter().zip(LOGITS) {
        let label =
            ["no", "maybe", "yes"].iter().position(|name| element["label"] == *name).unwrap();
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        let expected = logits[label].exp() / sum;
        assert!(logits.iter().all(|logit| *logit <= logits[label]), "{element}");
        let found = element["score"].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
    }

    let table = folder.path().join("clouds.csv");
    fs::write(&table, "x,y\n1,2\n").unwrap();
    let found = run(arguments!["predict", &model, &table]);
    assert!(found.stderr.contains("clouds.csv: the model reads points, expected an array, *.npy"));
    assert_eq!((found.code, found.stdout.as_str()), (2, ""), "{found:?}");
}
