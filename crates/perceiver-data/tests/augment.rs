//! Operations of RandAugment against torchvision, on what `tests/generate/augment.py` wrote.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use image::{Rgb, RgbImage};
use perceiver_data::augment::Operation;
use safetensors::SafeTensors;
use serde_json::Value;

const FIXTURE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/augment/rand_augment.safetensors");

/// Slopes of tenths make values that end in a half, which torchvision's single precision rounds
/// either way: in so many percent of a sheared image.
const HALVES: usize = 3;

fn rgb_image(tensors: &SafeTensors<'_>, name: &str) -> RgbImage {
    let tensor = tensors.tensor(name).unwrap();
    let [height, width, 3] = *tensor.shape() else {
        panic!("{name}: {:?}", tensor.shape());
    };
    RgbImage::from_raw(width as u32, height as u32, tensor.data().to_vec()).unwrap()
}

#[test]
fn operations_give_torchvision_s_pixels() {
    let bytes = std::fs::read(FIXTURE).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let cases = &header.metadata().as_ref().unwrap()["cases"];
    let cases: Vec<Value> = serde_json::from_str(cases).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let image = rgb_image(&tensors, "image");
    let mut wrong = Vec::new();
    for case in &cases {
        let name = case["operation"].as_str().unwrap();
        let operation =
            Operation::ALL.into_iter().find(|operation| format!("{operation:?}") == name).unwrap();
        let magnitude = case["magnitude"].as_u64().unwrap() as u32;
        let is_negative = case["negative"].as_bool().unwrap();
        let key = case["key"].as_str().unwrap();
        let expected = rgb_image(&tensors, key);
        let actual = operation.apply(&image, magnitude, is_negative);
        let off: Vec<u8> =
            actual.iter().zip(expected.iter()).map(|(a, e)| a.abs_diff(*e)).collect();
        let differ = off.iter().filter(|off| **off > 0).count();
        let most = off.iter().max();
        let may_differ = if name.starts_with("Shear") { off.len() * HALVES / 100 } else { 0 };
        if differ > may_differ || most > Some(&1) {
            wrong.push(format!("{key}: {differ} of {}, by {most:?}", off.len()));
        }
    }
    assert_eq!(cases.len(), 9 * 8 + 2 * 4 + 3);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn images_of_a_few_pixels_keep_their_size() {
    for (width, height) in [(1, 1), (1, 4), (2, 2), (3, 1)] {
        let image = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8 * 80, y as u8 * 60, 7]));
        for operation in Operation::ALL {
            for magnitude in [0, 30] {
                let changed = operation.apply(&image, magnitude, true);
                assert_eq!(changed.dimensions(), (width, height), "{operation:?}");
            }
        }
    }
}
