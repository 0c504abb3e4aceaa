//! Folders of real photos and a novel, with the built program.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

fn data() -> PathBuf {
    std::env::var_os("PERCEIVER_DATA").expect("`cargo xtask data-tests` names it").into()
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_perceiver"))
}

#[test]
#[ignore = "needs `cargo xtask data`"]
fn folders_of_photos_are_classified_but_for_those_that_are_no_photos() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/heads");
    let model = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(fixture.join("image_fourier").join(file), model.path().join(file)).unwrap();
    }
    let size = json!({ "height": 9, "width": 9 });
    let settings = json!({ "size": size, "crop_size": size });
    fs::write(model.path().join("preprocessor_config.json"), settings.to_string()).unwrap();
    let run = program()
        .args(["classify", "--json", "--model"])
        .arg(model.path())
        .arg(data().join("deb/opencv-doc/usr/share/doc/opencv-doc/examples/data"))
        .arg(data().join("deb/python3-skimage/usr/lib/python3/dist-packages/skimage/data"))
        .output()
        .unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("cannot read")).collect();
    // Floats are not colours, and one file of scikit-image's tests is truncated.
    assert_eq!(errors.len(), 2, "{said}");
    assert!(errors[0].contains("multipage_rgb.tif"), "{said}");
    assert!(errors[1].contains("truncated.jpg"), "{said}");
    let answers = String::from_utf8(run.stdout).unwrap();
    assert!(answers.lines().count() > 100, "{answers}");
    assert!(
        said.contains(&format!("2 of {} inputs failed", answers.lines().count() + 2)),
        "{said}"
    );
}

#[test]
#[ignore = "needs `cargo xtask data`"]
fn masks_all_over_a_novel_are_filled() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("text.json");
    let shape = json!({
        "model_type": "perceiver", "num_latents": 4, "d_latents": 8, "d_model": 8,
        "num_self_attends_per_block": 1, "num_self_attention_heads": 1,
        "num_cross_attention_heads": 1, "max_position_embeddings": 128,
    });
    fs::write(&config, shape.to_string()).unwrap();
    let model = folder.path().join("model");
    let mut init = program();
    init.args(["init", "--head", "masked-lm", "--config"]).arg(&config).arg(&model);
    assert!(init.output().unwrap().status.success());

    let novels = fs::read_to_string(data().join("austen.txt")).unwrap();
    let pieces: Vec<String> =
        novels.split("Elizabeth").take(30).map(|piece| piece.to_owned()).collect();
    let file = folder.path().join("masked.txt");
    fs::write(&file, pieces.join("[MASK]").replace('\n', " ")).unwrap();
    let run = program()
        .args(["fill-mask", "-k", "1", "--span", "9", "--json", "--model"])
        .arg(&model)
        .arg("--file")
        .arg(&file)
        .output()
        .unwrap();
    let answer: Value = serde_json::from_slice(&run.stdout).unwrap();
    let spans = answer["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 29);
    let text = answer["text"].as_str().unwrap();
    let mut expected = text.to_owned();
    for span in spans {
        let candidate = span["candidates"][0]["text"].as_str().unwrap();
        assert_eq!(candidate.len(), 9);
        expected = expected.replacen("[MASK]", candidate, 1);
    }
    assert_eq!(answer["filled"], expected);
}
