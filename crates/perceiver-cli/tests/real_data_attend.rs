//! Where a model attends in real photos, pixel by pixel, with the built program.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const CONFIG: &str = r#"{"model_type": "perceiver", "num_latents": 8, "d_latents": 16,
    "num_self_attends_per_block": 1, "num_self_attention_heads": 1,
    "num_cross_attention_heads": 1, "initializer_range": 0.3}"#;

/// Pixels of the model's image.
const PLACES: usize = 224 * 224;

#[test]
#[ignore = "needs `cargo xtask data`"]
fn every_pixel_of_a_photo_has_a_weight_and_they_sum_to_one() {
    let data = std::env::var_os("PERCEIVER_DATA").expect("`cargo xtask data-tests` names it");
    let photos =
        Path::new(&data).join("deb/python3-skimage/usr/lib/python3/dist-packages/skimage/data");
    let folder = tempfile::tempdir().unwrap();
    let (config, model) = (folder.path().join("config.json"), folder.path().join("model"));
    fs::write(&config, CONFIG).unwrap();
    let head = ["init", "--head", "image-classification-fourier", "--seed", "7", "--config"];
    let made = perceiver().args(head).args([&config, &model]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    // Portrait, landscape and a JPEG.
    for name in ["astronaut.png", "chelsea.png", "rocket.jpg"] {
        let picture = folder.path().join(name).with_extension("png");
        let ran = perceiver()
            .args(["attend", "--json", "-k", "100000", "--model"])
            .args([&model, &photos.join(name)])
            .arg("--output")
            .arg(&picture)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{name}: {ran:?}");
        let answer: Value = serde_json::from_slice(&ran.stdout).unwrap();
        let places = answer["maps"][0]["places"].as_array().unwrap();
        assert_eq!(places.len(), PLACES, "{name}");
        let weights = places.iter().map(|place| place["weight"].as_f64().unwrap());
        let sum: f64 = weights.sum();
        assert!((sum - 1.0).abs() < 1e-4, "{name}: {sum}");
        assert_eq!(image::image_dimensions(&picture).unwrap(), (448, 448), "{name}");
    }
}

fn perceiver() -> Command {
    Command::new(env!("CARGO_BIN_EXE_perceiver"))
}
