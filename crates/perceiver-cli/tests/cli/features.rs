//! Latents of texts, photos and pairs of frames; `videos.rs` tests those of clips.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{
    arguments, configure, copy, fixture, image_settings, photo, read, run, run_with_input,
};

#[test]
fn an_array_holds_what_the_tensor_file_holds() {
    let folder = tempdir().unwrap();
    let [tensors, array] = ["x.safetensors", "x.npy"].map(|name| folder.path().join(name));
    let model = fixture("masked_lm");
    for output in [&tensors, &array] {
        let command = arguments![
            "features",
            "--model",
            &model,
            "--text-file",
            "-",
            "--pool",
            "none",
            "-o",
            output,
            "--json"
        ];
        let run = run_with_input(command, b"!#\n\n$$$\n");
        // The second line is blank.
        assert_eq!(run.code, 0, "{run:?}");
        let answer = &run.documents()[0];
        assert_eq!(answer["features"], json!([2, 7, 24]));
        assert_eq!(answer["inputs"], json!(["!#", "$$$"]));
    }
    let floats = read(&tensors).remove("features").unwrap();
    assert_eq!(floats.shape, [2, 7, 24]);

    let bytes = fs::read(&array).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"));
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!((10 + length) % 64, 0);
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    let expected = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 7, 24, ), }";
    assert_eq!(header.trim_end(), expected);
    let values = bytes[10 + length..].chunks(4);
    let values: Vec<f32> =
        values.map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    assert_eq!(values, floats.values);
    let names: Value =
        serde_json::from_slice(&fs::read(array.with_extension("json")).unwrap()).unwrap();
    assert_eq!(names, json!(["!#", "$$$"]));
}

#[test]
fn a_vector_is_the_mean_of_the_latents() {
    let folder = tempdir().unwrap();
    let model = copy("image_conv", folder.path());
    image_settings(&model, 17);
    let picture = folder.path().join("photo.png");
    photo(&picture, 30, 40);
    let [all, mean] = ["all", "mean"].map(|name| folder.path().join(format!("{name}.safetensors")));
    for (output, pool) in [(&all, "none"), (&mean, "mean")] {
        let command = arguments![
            "features", "--model", &model, &picture, &picture, "--pool", pool, "-o", output
        ];
        let run = run(command);
        assert_eq!(run.code, 0, "{run:?}");
    }
    let all = read(&all).remove("features").unwrap();
    let mean = read(&mean).remove("features").unwrap();
    assert_eq!((&all.shape[..], &mean.shape[..]), (&[2, 7, 24][..], &[2, 24][..]));
    for (input, means) in mean.values.chunks(24).enumerate() {
        let latents = &all.values[input * 7 * 24..][..7 * 24];
        for (channel, mean) in means.iter().enumerate() {
            let sum: f32 = latents.iter().skip(channel).step_by(24).sum();
            assert!((sum / 7.0 - mean).abs() < 1e-6);
        }
    }
}

/// A frame of this width and height, different for each name.
fn frame(path: &Path, width: u32, height: u32) {
    let shift = path.to_string_lossy().bytes().map(u32::from).sum::<u32>();
    let level = |at: u32| (at * 37 % 256) as u8;
    let pixel = |x, y| Rgb([level(x + shift), level(y + 2 * shift), level(x * y + shift)]);
    RgbImage::from_fn(width, height, pixel).save(path).unwrap();
}

#[test]
fn a_model_of_flow_gives_the_latents_of_every_pair_and_tile() {
    let folder = tempdir().unwrap();
    let model = copy("optical_flow", folder.path());
    configure(&model, "train_size", json!([24, 32]));
    let names = ["a.png", "b.png", "c.png"];
    let wide = names.map(|name| folder.path().join(name));
    let narrow = names.map(|name| folder.path().join(format!("narrow {name}")));
    for (wide, narrow) in wide.iter().zip(&narrow) {
        frame(wide, 40, 24);
        image::open(wide).unwrap().crop_imm(0, 0, 32, 24).save(narrow).unwrap();
    }
    let latents = |frames: &[PathBuf], pool: &str| {
        let output = folder.path().join("latents.safetensors");
        let command = arguments!["features", "--model", &model, "--pool", pool, "--force"];
        let output = arguments!["-o", output, "--json"];
        let run = run(command.into_iter().chain(output).chain(frames.iter().map(OsString::from)));
        assert_eq!(run.code, 0, "{run:?}");
        let names = run.json()["inputs"].clone();
        (read(&folder.path().join("latents.safetensors")).remove("features").unwrap(), names)
    };
    let (tiles, names) = latents(&wide, "none");
    let (tile, _) = latents(&narrow, "none");
    let pair = |pair: &[PathBuf]| format!("{} to {}", pair[0].display(), pair[1].display());
    assert_eq!(names, json!([pair(&wide[..2]), pair(&wide[1..])]));
    let [pairs, count, channels] = tile.shape[..] else { panic!("{:?}", tile.shape) };
    assert_eq!((pairs, &tiles.shape[..]), (2, &[2, 2 * count, channels][..]));
    // The first of the two tiles is the left part of the frames.
    assert_eq!(tiles.values[..count * channels], tile.values[..count * channels]);
    assert_eq!(latents(&wide, "mean").0.shape, [2, channels]);
}
