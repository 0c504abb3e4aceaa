//! Many texts or photos at once.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{
    arguments, assert_close, copy, fixture, image_settings, photo, run, run_with_input,
};

/// Both answers have the same labels, with scores that differ only by rounding.
fn assert_same(found: &Value, expected: &Value) {
    assert_eq!(found["input"], expected["input"]);
    let [found, expected] = [found, expected].map(|answer| answer["labels"].as_array().unwrap());
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found["label"], expected["label"]);
        assert_close(&found["score"], expected["score"].as_f64().unwrap());
    }
}

#[test]
fn texts_of_a_batch_are_classified_as_alone() {
    let model = fixture("sequence_single_label");
    let texts = ["!\"#$%", "$", "&&&&&&&&&&", "#!"];
    let classify = |more: &[&str]| {
        let mut command = arguments!["classify", "--model", &model, "--json", "-k", "3"];
        command.extend(more.iter().map(Into::into));
        command
    };
    let input = texts.join("\n");
    let many = run_with_input(classify(&["--text-file", "-", "--batch", "3"]), input.as_bytes());
    assert_eq!(many.code, 0, "{many:?}");
    assert!(many.stderr.contains("4 texts: model "), "{}", many.stderr);
    let answers = many.documents();
    assert_eq!(answers.len(), texts.len());
    for (answer, text) in answers.iter().zip(texts) {
        assert_same(answer, &run(classify(&["--text", text])).json());
    }
}

/// A folder with a model of photos, and photos to classify.
fn gallery(folder: &Path) -> std::path::PathBuf {
    let model = copy("image_fourier", folder);
    image_settings(&model, 9);
    fs::create_dir_all(folder.join("photos/trip")).unwrap();
    for (name, width) in [("a.png", 20), ("c, d.png", 31), ("trip/e.bmp", 40), ("trip/f.png", 12)] {
        photo(&folder.join("photos").join(name), width, 24);
    }
    fs::write(folder.join("photos/b.png"), "no photo").unwrap();
    model
}

#[test]
fn a_bad_photo_does_not_stop_the_others_of_a_folder() {
    let folder = tempdir().unwrap();
    let model = gallery(folder.path());
    let photos = folder.path().join("photos");
    for batch in ["1", "2", "64"] {
        let command =
            arguments!["classify", "--model", &model, &photos, "--json", "--batch", batch];
        let many = run(command);
        assert_eq!(many.code, 1, "{many:?}");
        let answers = many.documents();
        let good = ["a.png", "c, d.png", "trip/e.bmp", "trip/f.png"];
        assert_eq!(answers.len(), good.len());
        for (answer, name) in answers.iter().zip(good) {
            let path = photos.join(name);
            assert_eq!(answer["input"], path.display().to_string());
            assert_same(
                answer,
                &run(arguments!["classify", "--model", &model, path, "--json"]).json(),
            );
        }
        let errors: Vec<&str> =
            many.stderr.lines().filter(|line| line.contains("error: ")).collect();
        assert_eq!(errors.len(), 2, "{}", many.stderr);
        assert!(errors[0].contains("b.png"));
        assert!(errors[1].contains("1 of 5 inputs failed"));
    }
}

#[test]
fn photos_are_shown_above_their_labels() {
    let folder = tempdir().unwrap();
    let model = gallery(folder.path());
    let path = folder.path().join("photos/a.png");
    let shown = run(arguments!["classify", "--model", &model, &path, "--show", "-k", "2"]);
    let plain = run(arguments!["classify", "--model", &model, &path, "-k", "2"]);
    let lines: Vec<&str> = shown.stdout.lines().collect();
    // 24 rows of pixels, two per line.
    assert_eq!(lines.len(), 1 + 12 + 2, "{shown:?}");
    assert!(lines[1..13].iter().all(|line| line.matches('▀').count() == 20), "{shown:?}");
    let labels = [&lines[..1], &lines[13..]].concat().join("\n");
    assert_eq!(labels, plain.stdout.trim_end());
}

#[test]
fn values_are_separated_by_commas() {
    let folder = tempdir().unwrap();
    let model = gallery(folder.path());
    let photos = folder.path().join("photos/*.png");
    let csv = run(arguments!["classify", "--model", &model, &photos, "--csv", "-k", "2"]);
    let lines: Vec<&str> = csv.stdout.lines().collect();
    assert_eq!(lines.len(), 5, "{csv:?}");
    assert_eq!(lines[0], "input,rank,label,index,score");
    let json = run(arguments!["classify", "--model", &model, &photos, "--json", "-k", "2"]);
    let name = |name: &str| folder.path().join("photos").join(name).display().to_string();
    let names = [name("a.png"), format!("\"{}\"", name("c, d.png"))];
    for (index, answer) in json.documents().iter().enumerate() {
        for (rank, label) in answer["labels"].as_array().unwrap().iter().enumerate() {
            let [text, place, score] = ["label", "index", "score"].map(|field| &label[field]);
            let text = text.as_str().unwrap();
            let line = format!("{},{},{text},{place},{score}", names[index], rank + 1);
            assert_eq!(lines[1 + 2 * index + rank], line);
        }
    }
}
