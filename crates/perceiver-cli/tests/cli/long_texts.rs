//! Texts that are longer than the model's input: refused, cut, or read in windows.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{Run, arguments, assert_close, fixture, read, run};

/// Both models take 11 bytes between `[CLS]` and `[SEP]`. The windows of this text are its halves.
const LONG: &str = "!#$%&'()*+,-.!#$%&'(";
const BEGINNING: &str = "!#$%&'()*+,";
const HALVES: [&str; 2] = ["!#$%&'()*+", ",-.!#$%&'("];

fn classify(text: &str, more: &[&str]) -> Run {
    let model = fixture("sequence_single_label");
    let mut command = arguments!["classify", "--model", model, "--json", "-k", "9", "--text", text];
    command.extend(more.iter().map(OsString::from));
    run(command)
}

/// The score of each class.
fn scores(run: &Run) -> BTreeMap<u64, f64> {
    let labels = run.json()["labels"].as_array().unwrap().clone();
    let score =
        |label: &Value| (label["index"].as_u64().unwrap(), label["score"].as_f64().unwrap());
    labels.iter().map(score).collect()
}

fn features(text: &str, folder: &Path, more: &[&str]) -> Vec<f32> {
    let (model, output) = (fixture("masked_lm"), folder.join("x.safetensors"));
    let mut command = arguments!["features", "--model", model, "--force", "-o", &output];
    command.extend(arguments!["--text", text]);
    command.extend(more.iter().map(OsString::from));
    let ran = run(command);
    assert_eq!(ran.code, 0, "{ran:?}");
    read(&output).remove("features").unwrap().values
}

#[test]
fn a_long_text_is_refused_with_the_options_that_read_it() {
    let folder = tempdir().unwrap();
    let output = folder.path().join("map.html");
    let text = fixture("masked_lm");
    let features = arguments!["features", "--model", &text, "--text", LONG, "-o"];
    let attend = arguments!["attend", "--model", &text, "--text", LONG, "-o", &output];
    for (ran, options) in [
        (classify(LONG, &[]), "--truncate reads its beginning, --window all of it"),
        (
            run([features, arguments![folder.path().join("x.npy")]].concat()),
            "--truncate reads its beginning, --window all of it",
        ),
        (run(attend), "--truncate reads its beginning"),
    ] {
        assert_eq!((ran.code, ran.stderr.lines().count()), (2, 1), "{ran:?}");
        let expected =
            format!("the text has 22 tokens, expected at most the model's 13; {options}");
        assert!(ran.stderr.contains(&expected), "{ran:?}");
    }
    let both = classify(LONG, &["--truncate", "--window"]);
    assert!(both.code == 2 && both.stderr.contains("--window"), "{both:?}");
    let photo = run(arguments!["classify", "photo.png", "--window"]);
    assert!(photo.code == 2 && photo.stderr.contains("--window"), "{photo:?}");
}

#[test]
fn a_truncated_text_is_its_beginning() {
    let folder = tempdir().unwrap();
    assert_eq!(scores(&classify(LONG, &["--truncate"])), scores(&classify(BEGINNING, &[])));
    let [long, short] = [(LONG, &["--truncate"][..]), (BEGINNING, &[])]
        .map(|(text, more)| features(text, folder.path(), more));
    assert_eq!(long, short);
    let map = |text: &str| {
        let output = folder.path().join("map.png");
        let command =
            arguments!["attend", "--model", fixture("masked_lm"), "--text", text, "--truncate"];
        run([command, arguments!["--force", "--json", "-o", output]].concat()).json()["maps"]
            .clone()
    };
    assert_eq!(map(LONG), map(BEGINNING));
}

#[test]
fn windows_are_averaged() {
    let folder = tempdir().unwrap();
    let halves = HALVES.map(|half| scores(&classify(half, &[])));
    let found = scores(&classify(LONG, &["--window"]));
    assert_eq!(found.len(), halves[0].len());
    for (class, score) in found {
        let mean = f64::midpoint(halves[0][&class], halves[1][&class]);
        assert_close(&score.into(), mean);
    }
    let halves = HALVES.map(|half| features(half, folder.path(), &[]));
    let found = features(LONG, folder.path(), &["--window"]);
    for (index, value) in found.iter().enumerate() {
        let mean = f32::midpoint(halves[0][index], halves[1][index]);
        assert!((value - mean).abs() < 1e-5, "{value} is not {mean}");
    }
    // Without pooling, the latents of the windows follow each other.
    let whole = ["--pool", "none"];
    let halves = HALVES.map(|half| features(half, folder.path(), &whole)).concat();
    let found = features(LONG, folder.path(), &["--pool", "none", "--window"]);
    assert_eq!(found.len(), halves.len());
    let close = |(one, other): (&f32, &f32)| (one - other).abs() < 1e-5;
    assert!(found.iter().zip(&halves).all(close));
}

/// In batches of one window each, among short texts.
#[test]
fn long_texts_of_a_batch_are_read_as_alone() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("texts.txt");
    let texts = ["!#", LONG, "$$$", &LONG.repeat(5)];
    fs::write(&file, texts.join("\n")).unwrap();
    let model = fixture("sequence_single_label");
    for batch in ["1", "3", "64"] {
        let command = arguments!["classify", "--model", &model, "--text-file", &file, "--json"];
        let many = run([command, arguments!["-k", "9", "--window", "--batch", batch]].concat());
        assert_eq!(many.code, 0, "{many:?}");
        for (answer, text) in many.documents().iter().zip(texts) {
            let alone = scores(&classify(text, &["--window"]));
            for label in answer["labels"].as_array().unwrap() {
                assert_close(&label["score"], alone[&label["index"].as_u64().unwrap()]);
            }
        }
    }
}

#[test]
fn an_evaluation_says_how_many_texts_it_cut() {
    let folder = tempdir().unwrap();
    let table = folder.path().join("texts.jsonl");
    let row = |text: &str| serde_json::json!({ "text": text, "label": "LABEL_0" }).to_string();
    fs::write(&table, [row(LONG), row("!#"), row(BEGINNING)].join("\n")).unwrap();
    let model = fixture("sequence_single_label");
    let ran = run(arguments!["evaluate", &model, &table, "--json"]);
    assert_eq!(ran.json()["examples"], 3);
    let expected = "warning: 1 of 3 texts were cut to the model's 13 tokens";
    assert!(ran.stderr.contains(expected), "{ran:?}");
}

#[test]
fn texts_in_different_numbers_of_windows_are_refused_without_pooling() {
    let folder = tempdir().unwrap();
    let (file, output) = (folder.path().join("texts.txt"), folder.path().join("x.npy"));
    fs::write(&file, ["!#", LONG].join("\n")).unwrap();
    let model = fixture("sequence_single_label");
    let command = arguments!["features", "--model", &model, "--text-file", &file, "--window"];
    let ran = run([command, arguments!["--pool", "none", "-o", &output]].concat());
    assert_eq!((ran.code, ran.stderr.lines().count()), (2, 1), "{ran:?}");
    let expected =
        format!("texts.txt:2: is read in 2 windows, expected the 1 of {}", file.display());
    assert!(ran.stderr.contains(&expected), "{ran:?}");
    assert!(!output.exists());
}
