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
