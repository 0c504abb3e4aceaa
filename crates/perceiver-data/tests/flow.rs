//! Flow in pictures, files and errors against what `tests/generate/flow.py` wrote.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;

use image::RgbImage;
use ndarray::Array3;
use perceiver_data::flow::{Colours, Palette, flow_errors, read_flow};
use safetensors::SafeTensors;

fn fixture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/flow");
    fs::read(format!("{folder}/{name}.safetensors")).unwrap()
}

fn floats(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let (words, _) = tensors.tensor(name).unwrap().data().as_chunks::<4>();
    words.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

fn flow(tensors: &SafeTensors<'_>, name: &str) -> Array3<f32> {
    let tensor = tensors.tensor(name).unwrap();
    let [height, width, 2] = *tensor.shape() else { panic!("{:?}", tensor.shape()) };
    Array3::from_shape_vec((height, width, 2), floats(tensors, name)).unwrap()
}

fn picture(tensors: &SafeTensors<'_>, name: &str) -> RgbImage {
    let tensor = tensors.tensor(name).unwrap();
    let [height, width, 3] = *tensor.shape() else { panic!("{:?}", tensor.shape()) };
    RgbImage::from_raw(width as u32, height as u32, tensor.data().to_vec()).unwrap()
}

fn assert_same(found: &RgbImage, expected: &RgbImage, motion: &Array3<f32>) {
    assert_eq!(found.dimensions(), expected.dimensions());
    for ((x, y, found), expected) in found.enumerate_pixels().zip(expected.pixels()) {
        let motion = [motion[[y as usize, x as usize, 0]], motion[[y as usize, x as usize, 1]]];
        assert_eq!(found, expected, "for {motion:?}");
    }
}

#[test]
fn hsv_pictures_equal_opencv_s() {
    let bytes = fixture("pictures");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let flow = flow(&tensors, "flow");
    let found = Colours::new(Palette::Hsv, 24.0).picture(flow.view());
    assert_same(&found, &picture(&tensors, "hsv"), &flow);
}

#[test]
fn middlebury_pictures_equal_those_of_its_formulas() {
    let bytes = fixture("pictures");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let flow = flow(&tensors, "flow");
    let largest = floats(&tensors, "middlebury.largest")[0];
    let found = Colours::new(Palette::Middlebury, largest).picture(flow.view());
    assert_same(&found, &picture(&tensors, "middlebury"), &flow);
}

#[test]
fn truth_and_errors_are_those_of_numpy() {
    let bytes = fixture("truths");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let known = tensors.tensor("known").unwrap().data();
    for name in ["png", "flo"] {
        let file = folder.path().join(name);
        fs::write(&file, tensors.tensor(name).unwrap().data()).unwrap();
        let truth = read_flow(&file).unwrap();
        assert_eq!(truth.flow, flow(&tensors, "flow"), "{name}");
        let found: Vec<u8> = truth.known.iter().map(|&known| u8::from(known)).collect();
        assert_eq!(found, known, "{name}");

        let errors = flow_errors(flow(&tensors, "estimate").view(), &truth);
        let expected = floats(&tensors, "end_point_error")[0];
        assert!((errors.end_point_error as f32 - expected).abs() <= 1e-5 * expected, "{errors:?}");
        assert_eq!(errors.outliers as f32, floats(&tensors, "outliers")[0]);
        assert_eq!(errors.pixels, known.iter().filter(|&&known| known == 1).count());
    }
}

#[test]
fn a_file_that_is_no_flow_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "hello").unwrap();
    let message = read_flow(file.path()).unwrap_err().to_string();
    assert!(message.starts_with(&format!("{}: expected a .flo file", file.path().display())));
}
