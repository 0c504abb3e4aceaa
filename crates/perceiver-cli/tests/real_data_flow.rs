//! Flow of real frames by the built program, in tiles of the published model's size. The model is
//! small and untrained; the workspace's `tests/flow.rs` compares numbers with the reference's.
//!
//! `cargo xtask data` fetches the frames, `cargo xtask data-tests` runs this.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use perceiver_data::flow::read_flow;
use serde_json::{Value, json};
use tempfile::tempdir;

/// A file in the package's folder.
fn data(package: &str, file: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var_os("PERCEIVER_DATA").map_or("target/data".into(), PathBuf::from);
    root.join(folder).join(package).join(file)
}

/// The fixture's weights, for frames of the published size.
fn model(folder: &Path) -> PathBuf {
    let case =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/heads/optical_flow");
    let text = fs::read_to_string(case.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["train_size"] = json!([368, 496]);
    let model = folder.join("model");
    fs::create_dir(&model).unwrap();
    fs::write(model.join("config.json"), config.to_string()).unwrap();
    fs::copy(case.join("model.safetensors"), model.join("model.safetensors")).unwrap();
    model
}

/// Runs the program on two frames, writes every form, and checks flow and pictures.
fn check(first: &Path, second: &Path, width: u64, height: u64) {
    let folder = tempdir().unwrap();
    let flows = folder.path().join("flows");
    let output = Command::new(env!("CARGO_BIN_EXE_perceiver"))
        .args(["flow", "--json", "--format", "flo,kitti,colours,arrows,side-by-side", "--model"])
        .args([&model(folder.path()), first, second, Path::new("-o"), &flows])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!([&answer["width"], &answer["height"]], [&json!(width), &json!(height)]);

    let stem = first.file_stem().unwrap().to_str().unwrap();
    let flo = read_flow(flows.join(format!("flo/{stem}.flo"))).unwrap();
    let kitti = read_flow(flows.join(format!("kitti/{stem}.png"))).unwrap();
    assert!(flo.known.iter().all(|&known| known), "every pixel has a finite motion");
    assert_eq!(flo.flow.dim(), (height as usize, width as usize, 2));
    for (exact, rounded) in flo.flow.iter().zip(&kitti.flow) {
        assert!((exact - rounded).abs() <= 1.0 / 128.0, "{exact} became {rounded}");
    }
    for (form, width) in [("colours", width), ("arrows", width), ("side-by-side", 2 * width)] {
        let size = image::image_dimensions(flows.join(form).join(format!("{stem}.png"))).unwrap();
        assert_eq!((u64::from(size.0), u64::from(size.1)), (width, height), "{form}");
    }
}

#[test]
#[ignore = "needs `cargo xtask data`"]
fn two_frames_of_the_rubber_whale() {
    let frame = |name: &str| {
        let folder = "usr/share/doc/opencv-doc/examples/data";
        data("deb/opencv-doc", &format!("{folder}/{name}"))
    };
    check(&frame("rubberwhale1.png"), &frame("rubberwhale2.png"), 584, 388);
}

#[test]
#[ignore = "needs `cargo xtask data`"]
fn a_motorcycle_seen_by_two_eyes() {
    let frame = |name: &str| {
        let folder = "usr/lib/python3/dist-packages/skimage/data";
        data("deb/python3-skimage", &format!("{folder}/{name}"))
    };
    check(&frame("motorcycle_left.png"), &frame("motorcycle_right.png"), 741, 500);
}
