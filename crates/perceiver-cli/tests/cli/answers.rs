//! From a text or photo to an answer.

use std::fs;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{
    arguments, assert_close, configure, copy, fixture, forward, image_settings, logits, photo,
    read, run, run_with_input, softmax,
};

#[test]
fn masks_are_filled_with_the_most_probable_texts() {
    // The fixture's vocabulary has only the bytes below 47.
    let model = fixture("masked_lm");
    let text = "!#[MASK][MASK] [MASK]";
    let run = run(arguments!["fill-mask", "--model", &model, text, "-k", "7", "--json"]);
    let answer = run.json();
    assert!(run.stderr.starts_with("perceiver: flex, "), "{}", run.stderr);

    let logits = logits(&model, &[4, 39, 41, 3, 3, 38, 3, 5]);
    let probabilities: Vec<Vec<f64>> = logits.values.chunks(53).map(softmax).collect();
    let mut pairs: Vec<(f64, String)> = Vec::new();
    for (first, one) in probabilities[3][6..].iter().enumerate() {
        for (second, other) in probabilities[4][6..].iter().enumerate() {
            let text = String::from_utf8(vec![first as u8, second as u8]).unwrap();
            pairs.push((one * other, text));
        }
    }
    let bytes = probabilities[6][6..].iter().enumerate();
    let mut single: Vec<(f64, String)> =
        bytes.map(|(byte, score)| (*score, char::from(byte as u8).to_string())).collect();
    for expected in [&mut pairs, &mut single] {
        expected.sort_by(|one, other| other.0.total_cmp(&one.0));
    }
    for (span, (expected, range)) in [(&pairs, [2, 14]), (&single, [15, 21])].iter().enumerate() {
        let span = &answer["spans"][span];
        assert_eq!([&span["start"], &span["end"]], [&json!(range[0]), &json!(range[1])]);
        let candidates = span["candidates"].as_array().unwrap();
        assert_eq!(candidates.len(), 7);
        for (found, (score, text)) in candidates.iter().zip(expected.iter()) {
            assert_eq!(found["text"], *text);
            assert_close(&found["score"], *score);
        }
    }
    assert_eq!(answer["filled"], format!("!#{} {}", pairs[0].1, single[0].1));
}

#[test]
fn text_can_come_from_standard_input() {
    let model = fixture("masked_lm");
    let command = |text| arguments!["fill-mask", "--model", &model, text, "--json", "--quiet"];
    let piped = run_with_input(command("-"), b"!#[MASK]\n");
    assert_eq!(piped.json(), run(command("!#[MASK]")).json());
    assert_eq!(piped.stderr, "");
}

#[test]
fn people_see_a_table_without_control_characters() {
    let run = run(arguments!["fill-mask", "--model", fixture("masked_lm"), "![MASK]", "-k", "40"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("1 byte after \"!\""), "{}", run.stdout);
    assert!(run.stdout.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", run.stdout);
}

#[test]
fn texts_are_classified_as_the_problem_type_says() {
    let folder = tempdir().unwrap();
    for (case, problem) in [
        ("sequence_single_label", None),
        ("sequence_multi_label", Some("multi_label_classification")),
        ("sequence_regression", None),
    ] {
        let model = copy(case, folder.path());
        if let Some(problem) = problem {
            configure(&model, "problem_type", json!(problem));
        }
        let text = "!\"#$";
        let classify =
            arguments!["classify", "--model", &model, "--text", text, "-k", "100", "--json"];
        let answer = run(classify).json();
        let logits = logits(&model, &[4, 39, 40, 41, 42, 5]).values;
        let sigmoid = |logit: &f32| 1.0 / (1.0 + (-f64::from(*logit)).exp());
        let (kind, scores): (_, Vec<f64>) = match case {
            "sequence_single_label" => ("softmax", softmax(&logits)),
            "sequence_multi_label" => ("sigmoid", logits.iter().map(sigmoid).collect()),
            _ => ("value", logits.iter().map(|&logit| logit.into()).collect()),
        };
        assert_eq!(answer["scores"], kind, "{case}");
        let labels = answer["labels"].as_array().unwrap();
        assert_eq!(labels.len(), scores.len(), "{case}");
        let mut last = f64::INFINITY;
        for label in labels {
            let index = label["index"].as_u64().unwrap() as usize;
            assert_eq!(label["label"], format!("LABEL_{index}"));
            assert_close(&label["score"], scores[index]);
            assert!(label["score"].as_f64().unwrap() <= last);
            last = label["score"].as_f64().unwrap();
        }
    }
}

#[test]
fn photos_are_classified_as_by_preprocess_and_forward() {
    let folder = tempdir().unwrap();
    let photos = [folder.path().join("one.png"), folder.path().join("two.bmp")];
    photo(&photos[0], 60, 40);
    photo(&photos[1], 33, 47);
    for (case, side) in [("image_conv", 17), ("image_fourier", 9), ("image_learned", 6)] {
        let model = copy(case, folder.path());
        image_settings(&model, side);
        configure(&model, "id2label", json!({"0": "a", "1": "b", "2": "c", "3": "d", "4": "e"}));
        let mut command = arguments!["classify", "--model", &model, "-k", "2", "--json"];
        command.extend(photos.iter().map(|photo| photo.clone().into()));
        let answers = run(command);
        assert_eq!(answers.code, 0, "{answers:?}");
        let answers: Vec<Value> =
            answers.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), photos.len());

        let (pixels, output) =
            (folder.path().join("pixels.safetensors"), folder.path().join("out.safetensors"));
        let mut command =
            arguments!["preprocess", "--force", "--model", &model, "--output", &pixels];
        command.extend(photos.iter().map(|photo| photo.clone().into()));
        assert_eq!(run(command).code, 0);
        let shape = [2, 3, side as usize, side as usize];
        assert_eq!(read(&pixels)["pixel_values"].shape, shape);
        let forward = [forward(&model, &pixels, &output), arguments!["--force"]].concat();
        assert_eq!(run(forward).code, 0);
        let logits = read(&output).remove("logits").unwrap();
        for (answer, logits) in answers.iter().zip(logits.values.chunks(logits.shape[1])) {
            let labels = answer["labels"].as_array().unwrap();
            assert_eq!(labels.len(), 2);
            let scores = softmax(logits);
            for label in labels {
                let index = label["index"].as_u64().unwrap() as usize;
                assert_eq!(label["label"], ["a", "b", "c", "d", "e"][index]);
                assert_close(&label["score"], scores[index]);
            }
        }
    }
}

#[test]
fn tokens_are_those_of_the_reference_and_come_back_as_text() {
    let tokens = run(arguments!["tokenize", "hi [MASK]", "--json"]).json();
    assert_eq!(tokens["input_ids"], json!([4, 110, 111, 38, 3, 5]));
    assert_eq!(tokens["offsets"][4], json!([0, 3, 9]));
    assert_eq!(tokens["offsets"][0], Value::Null);

    let text = "Grüße,\tthe 3 – 世界 \u{1F980}\n[SEP]";
    let tokens = run(arguments!["tokenize", text, "--json"]).json();
    let decoded =
        run(arguments!["tokenize", "--json", "--decode", tokens["input_ids"].to_string()]);
    assert_eq!(decoded.json()["text"], format!("[CLS]{text}[SEP]"));
    let mut decode = arguments!["tokenize", "--skip-special-tokens", "--json", "--decode"];
    let list = tokens["input_ids"].as_array().unwrap();
    decode.extend(list.iter().map(|id| id.to_string().into()));
    assert_eq!(run(decode).json()["text"], text.trim_end_matches("[SEP]"));
}

#[test]
fn texts_are_padded_cut_and_paired() {
    let tokens = run(arguments![
        "tokenize",
        "ab",
        "--pair",
        "cde",
        "--max-length",
        "6",
        "--truncation",
        "--json"
    ]);
    assert_eq!(tokens.json()["input_ids"], json!([4, 103, 104, 5, 105, 5]));
    let tokens =
        run(arguments!["tokenize", "a", "--max-length", "5", "--padding=max-length", "--json"]);
    assert_eq!(tokens.json()["input_ids"], json!([4, 103, 5, 0, 0]));
    assert_eq!(tokens.json()["attention_mask"], json!([1, 1, 1, 0, 0]));
    let tokens = run(arguments!["tokenize", "a", "--no-special-tokens", "--json"]);
    assert_eq!(tokens.json()["input_ids"], json!([103]));
    let long = run(arguments!["tokenize", "a".repeat(3000)]);
    assert_eq!(long.code, 0);
    assert!(long.stderr.starts_with("perceiver: warning: "), "{}", long.stderr);
}

#[test]
fn both_image_processors_can_be_followed() {
    let folder = tempdir().unwrap();
    let image = folder.path().join("photo.png");
    photo(&image, 301, 187);
    let pixels = ["pil", "torchvision"].map(|backend| {
        let output = folder.path().join(format!("{backend}.safetensors"));
        let command =
            arguments!["preprocess", &image, "--backend", backend, "--output", &output, "--json"];
        assert_eq!(run(command).json()["pixel_values"], json!([1, 3, 224, 224]));
        read(&output).remove("pixel_values").unwrap().values
    });
    // Both round twice, to one of 256 levels.
    let level = 1.0 / 255.0 / 0.224;
    let differences = pixels[0].iter().zip(&pixels[1]).map(|(one, other)| (one - other).abs());
    let greatest = differences.fold(0.0, f32::max);
    assert!(greatest > 0.0 && greatest < 2.1 * level, "{greatest}");
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_ends_quietly() {
    use std::io::Read;
    use std::process::Stdio;

    let folder = tempdir().unwrap();
    let letter = folder.path().join("letter.txt");
    fs::write(&letter, "a".repeat(300_000)).unwrap();
    let mut child = crate::support::program()
        .args(["tokenize", "-", "--json"])
        .stdin(fs::File::open(&letter).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{stderr}");
    assert!(stderr.lines().all(|line| line.starts_with("perceiver: warning: ")), "{stderr}");
}
