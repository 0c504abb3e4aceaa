//! Flow of frames larger than the model matches transformers with tiling in NumPy, on every compiled
//! backend.
//!
//! `generate/flow.py` wrote the frames and the flow, with the weights of `heads/optical_flow`.

#![allow(clippy::print_stdout, reason = "differences are shown with --nocapture")]

use std::fs;

use burn::tensor::TensorData;
use image::RgbImage;
use perceiver_models::NamedTensors;
use perceiver_pipelines::{Error, OpticalFlow, Progress};
use perceiver_tests::{TOLERANCE, devices, difference, fixtures, read_tensors};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Height and width of the generator's tiles.
const TILE: [usize; 2] = [42, 44];

/// A model with the weights of the head's fixture and larger tiles.
fn model() -> TempDir {
    let (folder, case) = (tempfile::tempdir().expect("a folder"), fixtures("heads/optical_flow"));
    let weights = "model.safetensors";
    fs::copy(case.join(weights), folder.path().join(weights)).expect("the weights are there");
    let config = fs::read_to_string(case.join("config.json")).expect("config.json is there");
    let mut config: Value = serde_json::from_str(&config).expect("config.json is JSON");
    config["train_size"] = json!(TILE);
    fs::write(folder.path().join("config.json"), config.to_string()).expect("it can be written");
    folder
}

fn frame(tensors: &NamedTensors, name: &str) -> RgbImage {
    let tensor = &tensors[name];
    let &[height, width, 3] = &tensor.shape()[..] else { panic!("{:?}", tensor.shape()) };
    let levels = tensor.iter::<u8>().collect();
    RgbImage::from_raw(width as u32, height as u32, levels).expect("three levels a pixel")
}

#[test]
fn flow_over_tiles_is_that_of_the_reference() {
    let folder = model();
    // Where the tiles lie does not depend on the device.
    let cases = [("one_row", 3), ("one_tile", 1), ("nine_tiles", 9)];
    for (index, (device_name, device)) in devices().into_iter().enumerate() {
        let pipeline = OpticalFlow::from_pretrained(folder.path(), &device).expect("it loads");
        for &(name, tiles) in if index == 0 { &cases[..] } else { &cases[..1] } {
            let tensors = read_tensors(&fixtures("flow").join(format!("{name}.safetensors")));
            let (first, second) = (frame(&tensors, "first"), frame(&tensors, "second"));
            let mut seen = Vec::new();
            let flow = pipeline
                .run_with_progress(&first, &second, |at| seen.push(at))
                .expect("the frames are large enough");
            let (height, width, directions) = flow.dim();
            let (flow, _) = flow.into_raw_vec_and_offset();
            let flow = TensorData::new(flow, [height, width, directions]);
            let found = difference(&flow, &tensors["flow"]).expect("they can be compared");
            println!("{device_name} {name} {found:.1e}");
            assert!(found <= TOLERANCE, "{name} on {device_name} differs by {found:.1e}");
            let counted: Vec<_> = (0..=tiles).map(|done| Progress { done, total: tiles }).collect();
            assert_eq!(seen, counted, "{name}");
        }
    }
}

#[test]
fn padded_frames_are_those_continued_by_their_last_pixels() {
    let folder = model();
    let (_, device) = devices().into_iter().next().expect("a backend is compiled in");
    let pipeline = OpticalFlow::from_pretrained(folder.path(), &device).expect("it loads");
    let tensors = read_tensors(&fixtures("flow").join("one_tile.safetensors"));
    let small = |name| image::imageops::crop_imm(&frame(&tensors, name), 0, 0, 44, 30).to_image();
    let (first, second) = (small("first"), small("second"));

    let error = pipeline.run(&first, &second).expect_err("they are small");
    assert_eq!(error.to_string(), "the frames are 44x30 pixels, expected at least 44x42");

    let continued =
        |image: &RgbImage| RgbImage::from_fn(44, 42, |x, y| *image.get_pixel(x.min(43), y.min(29)));
    let whole = pipeline.run(&continued(&first), &continued(&second));
    let whole = whole.expect("they are large enough");
    let flow = pipeline.pad(true).run(&first, &second).expect("they are padded");
    assert_eq!(flow.dim(), (30, 44, 2));
    for ((y, x, direction), &found) in flow.indexed_iter() {
        assert_eq!(found, whole[[y, x, direction]], "at {y}, {x}");
    }
}

#[test]
fn frames_of_two_sizes_are_refused() {
    let folder = model();
    let (_, device) = devices().into_iter().next().expect("a backend is compiled in");
    let pipeline = OpticalFlow::from_pretrained(folder.path(), &device).expect("it loads");
    let (first, second) = (RgbImage::new(44, 42), RgbImage::new(45, 42));
    let error = pipeline.run(&first, &second).expect_err("they differ");
    assert!(matches!(error, Error::FrameSizes { first: (44, 42), second: (45, 42) }));
    assert_eq!(error.to_string(), "the frames are 44x42 and 45x42 pixels, expected one size");
}
