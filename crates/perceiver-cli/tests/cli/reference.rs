//! The program's answers compared with those of transformers' pipelines, which
//! `tests/generate/pipelines.py` wrote.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::SafeTensors;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{
    Floats, arguments, configure, copy, fixture, image_settings, read, run, run_with_input,
};

/// Image models and the side of their square inputs.
const IMAGE_CLASSIFIERS: [(&str, u32); 3] =
    [("image_conv", 17), ("image_fourier", 9), ("image_learned", 6)];

fn pipelines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/pipelines")
}

fn expected(name: &str) -> Floats {
    read(&pipelines().join("answers.safetensors")).remove(name).unwrap()
}

/// The reference's inputs, or its names for outputs.
fn listed(name: &str) -> Value {
    let bytes = fs::read(pipelines().join("answers.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    serde_json::from_str(&header.metadata().as_ref().unwrap()[name]).unwrap()
}

#[track_caller]
fn assert_close(found: f64, expected: f32) {
    assert!((found - f64::from(expected)).abs() < 1e-5, "{found} is not {expected}");
}

/// Scores in the order of the labels.
fn scores(answer: &Value) -> Vec<f64> {
    let labels = answer["labels"].as_array().unwrap();
    let scores: HashMap<u64, f64> = labels
        .iter()
        .map(|label| (label["index"].as_u64().unwrap(), label["score"].as_f64().unwrap()))
        .collect();
    (0..labels.len() as u64).map(|index| scores[&index]).collect()
}

#[test]
fn masks_are_filled_as_by_transformers() {
    let model = fixture("masked_lm");
    let texts = listed("masked");
    let candidates = listed("candidates");
    for (index, text) in texts.as_array().unwrap().iter().enumerate() {
        let text = text.as_str().unwrap();
        let answer =
            run(arguments!["fill-mask", "--model", &model, text, "-k", "47", "--json"]).json();
        for (place, span) in answer["spans"].as_array().unwrap().iter().enumerate() {
            let ours = span["candidates"].as_array().unwrap();
            let theirs = candidates[index][place].as_array().unwrap();
            let scores = expected(&format!("fill_mask.{index}.{place}")).values;
            assert_eq!(theirs.len(), scores.len());
            for ((ours, theirs), score) in ours.iter().zip(theirs).zip(scores) {
                assert_eq!(ours["text"], *theirs, "{text}");
                assert_close(ours["score"].as_f64().unwrap(), score);
            }
        }
    }
}

#[test]
fn texts_are_classified_as_by_transformers() {
    let folder = tempdir().unwrap();
    let texts = listed("texts");
    let texts: Vec<&str> =
        texts.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    for (case, problem) in [
        ("sequence_single_label", None),
        ("sequence_multi_label", Some("multi_label_classification")),
    ] {
        let model = copy(case, folder.path());
        if let Some(problem) = problem {
            configure(&model, "problem_type", json!(problem));
        }
        let command = arguments!["classify", "--model", &model, "--text-file", "-", "--json"];
        let answers = run_with_input(command, texts.join("\n").as_bytes()).documents();
        let expected = expected(case);
        assert_eq!(expected.shape, [texts.len(), 3]);
        for (answer, expected) in answers.iter().zip(expected.values.chunks(3)) {
            for (found, &expected) in scores(answer).into_iter().zip(expected) {
                assert_close(found, expected);
            }
        }
    }
}

#[test]
fn photos_are_classified_as_by_transformers() {
    let folder = tempdir().unwrap();
    let photo = pipelines().join("photo.png");
    for (case, side) in IMAGE_CLASSIFIERS {
        let model = copy(case, folder.path());
        image_settings(&model, side);
        let answer = run(arguments!["classify", "--model", &model, &photo, "--json"]).json();
        let expected = expected(case).values;
        assert_eq!(expected.len(), 5);
        for (found, expected) in scores(&answer).into_iter().zip(expected) {
            assert_close(found, expected);
        }
    }
}

#[test]
fn features_are_the_latents_of_transformers() {
    let folder = tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    let features = |model: &Path| {
        arguments!["features", "--model", model, "--pool", "none", "--force", "-o", &output]
    };
    let check = |case: &str, command| {
        let run = run(command);
        assert_eq!(run.code, 0, "{run:?}");
        let (found, expected) =
            (read(&output).remove("features").unwrap(), expected(&format!("features.{case}")));
        assert_eq!(found.shape[1..], expected.shape);
        for (found, expected) in found.values.iter().zip(expected.values) {
            assert!((found - expected).abs() < 1e-5, "{case}: {found} is not {expected}");
        }
    };
    let mut command = features(&fixture("masked_lm"));
    command.extend(arguments!["--text", listed("texts")[0].as_str().unwrap()]);
    check("masked_lm", command);
    for (case, side) in IMAGE_CLASSIFIERS {
        let model = copy(case, folder.path());
        image_settings(&model, side);
        let mut command = features(&model);
        command.push(pipelines().join("photo.png").into());
        check(case, command);
    }
}
