//! Image processing and reading against transformers and Pillow, on what
//! `tests/generate/images.py` wrote.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;

use image::RgbImage;
use perceiver_data::{Backend, PerceiverImageProcessor, read_frames, read_image};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/images");

/// Files whose pixels may differ from Pillow's by one level, with the share that may.
const ONE_LEVEL_OFF: [(&str, f64); 2] = [("cmyk.tif", 0.6), ("jpeg.tif", 0.02)];

fn fixture(name: &str) -> (Vec<u8>, Value) {
    let bytes = fs::read(format!("{FIXTURES}/{name}.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let cases = header.metadata().as_ref().unwrap().get("cases");
    let cases = cases.map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
    (bytes, cases)
}

fn rgb_image(tensors: &SafeTensors<'_>, name: &str) -> RgbImage {
    let tensor = tensors.tensor(name).unwrap();
    let [height, width, 3] = *tensor.shape() else {
        panic!("{name}: {:?}", tensor.shape());
    };
    RgbImage::from_raw(width as u32, height as u32, tensor.data().to_vec()).unwrap()
}

fn processor(case: &Value) -> PerceiverImageProcessor {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("preprocessor_config.json");
    fs::write(file, case["settings"].to_string()).unwrap();
    PerceiverImageProcessor::from_pretrained(folder.path()).unwrap().with_backend(
        match case["backend"].as_str().unwrap() {
            "pil" => Backend::Pil,
            _ => Backend::Torchvision,
        },
    )
}

/// The names and contents of the files in a fixture.
fn files<'a>(tensors: &'a SafeTensors<'_>) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    tensors.iter().filter_map(|(name, file)| Some((name.strip_prefix("file.")?, file.data())))
}

#[test]
fn pixel_values_equal_those_of_transformers() {
    let (bytes, cases) = fixture("processor");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut wrong = Vec::new();
    for case in cases.as_array().unwrap() {
        let name =
            format!("{}.{}", case["backend"].as_str().unwrap(), case["name"].as_str().unwrap());
        let images: Vec<RgbImage> = case["images"]
            .as_array()
            .unwrap()
            .iter()
            .map(|image| rgb_image(&tensors, &format!("image.{}", image.as_str().unwrap())))
            .collect();
        let actual = processor(case).preprocess(&images).unwrap();
        let expected = tensors.tensor(&name).unwrap();
        assert_eq!(actual.shape(), expected.shape(), "{name}");
        let expected: Vec<f32> = match expected.dtype() {
            Dtype::U8 => expected.data().iter().map(|&level| level.into()).collect(),
            _ => expected
                .data()
                .chunks_exact(4)
                .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
                .collect(),
        };
        let differing = actual.iter().zip(&expected).filter(|(a, b)| a != b);
        let largest = differing.clone().map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        if differing.count() > 0 {
            let count = actual.iter().zip(&expected).filter(|(a, b)| a != b).count();
            wrong.push(format!("{name}: {count} of {} differ, by {largest}", expected.len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn saved_settings_equal_those_of_transformers_and_load_again() {
    let (_, cases) = fixture("processor");
    for case in cases.as_array().unwrap() {
        let processor = processor(case);
        let folder = tempfile::tempdir().unwrap();
        processor.save_pretrained(folder.path()).unwrap();
        let saved = fs::read(folder.path().join("preprocessor_config.json")).unwrap();
        let saved: Value = serde_json::from_slice(&saved).unwrap();
        for (field, expected) in case["saved"].as_object().unwrap() {
            let expected = match expected {
                // One number for all channels is written as three, a missing switch as off.
                Value::Number(number) if field.starts_with("image_") => {
                    serde_json::json!([number, number, number])
                }
                Value::Null => Value::Bool(false),
                other => other.clone(),
            };
            assert_eq!(saved[field], expected, "{}: {field}", case["name"]);
        }
        let again = PerceiverImageProcessor::from_pretrained(folder.path()).unwrap();
        let backend = match case["backend"].as_str().unwrap() {
            "pil" => Backend::Pil,
            _ => Backend::Torchvision,
        };
        assert_eq!(again.with_backend(backend), processor);
    }
}

#[test]
fn files_are_read_as_pillow_reads_them() {
    let (bytes, _) = fixture("files");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (name, file) in files(&tensors) {
        let path = folder.path().join(name);
        fs::write(&path, file).unwrap();
        let expected = rgb_image(&tensors, &format!("rgb.{name}"));
        let actual = match read_image(&path) {
            Ok(image) => image,
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
        };
        assert_eq!(actual.dimensions(), expected.dimensions(), "{name}");
        let levels = actual.as_raw().iter().zip(expected.as_raw());
        let differing = levels.filter(|(a, b)| a != b);
        let largest = differing.clone().map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
        let share = differing.count() as f64 / expected.as_raw().len() as f64;
        let allowed = ONE_LEVEL_OFF.iter().find(|(other, _)| *other == name);
        if largest > u8::from(allowed.is_some()) || share > allowed.map_or(0.0, |(_, share)| *share)
        {
            wrong.push(format!("{name}: {share} of the levels differ, by up to {largest}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The frames of an animation in the fixture, and the time of each in hundredths of a second.
fn animation(tensors: &SafeTensors<'_>, name: &str) -> (Vec<RgbImage>, Vec<usize>) {
    let frames = tensors.tensor(&format!("frames.{name}")).unwrap();
    let [count, height, width, 3] = *frames.shape() else {
        panic!("{name}: {:?}", frames.shape());
    };
    let frames = frames.data().chunks_exact(frames.data().len() / count);
    let image = |data: &[u8]| RgbImage::from_raw(width as u32, height as u32, data.to_vec());
    let frames = frames.map(|data| image(data).unwrap()).collect();
    let times = tensors.tensor(&format!("durations.{name}")).unwrap().data().to_vec();
    let times = times.chunks_exact(4).map(|time| i32::from_le_bytes(time.try_into().unwrap()));
    // As browsers show frames of at most ten milliseconds.
    let times = times.map(|time| if time <= 10 { 10 } else { time as usize / 10 });
    (frames, times.collect())
}

#[test]
fn frames_of_animations_are_pillow_s_and_last_as_long_as_the_file_says() {
    let (bytes, _) = fixture("animations");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, file) in files(&tensors) {
        let path = folder.path().join(name);
        fs::write(&path, file).unwrap();
        let (frames, times) = animation(&tensors, name);
        let found: Result<Vec<_>, _> = read_frames(&path).unwrap().collect();
        let found = found.unwrap();
        assert_eq!(found.len(), frames.len(), "{name}");
        // The decoder of WebP blends opaque pixels without copying them.
        let levels = u8::from(name.ends_with(".webp"));
        for (found, expected) in found.iter().zip(&frames) {
            assert_eq!(found.dimensions(), expected.dimensions(), "{name}");
            let is_close = |(one, other): (&u8, &u8)| one.abs_diff(*other) <= levels;
            assert!(found.iter().zip(expected.iter()).all(is_close), "{name}");
        }

        let video = read_frames(&path).unwrap();
        let rate = 100.0 * frames.len() as f64 / times.iter().sum::<usize>() as f64;
        let mean = video.info().frames_per_second.unwrap();
        assert!((mean - rate).abs() < 1e-9, "{name}: {mean} is not {rate}");
        assert_eq!(video.info().frames, Some(frames.len()), "{name}");
        let shown: Result<Vec<_>, _> = video.at_rate(100.0).collect();
        let repeated = found.iter().zip(times).flat_map(|(frame, time)| vec![frame.clone(); time]);
        assert!(shown.unwrap() == repeated.collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn truncated_files_are_refused_in_one_line_that_names_the_file() {
    let (bytes, _) = fixture("files");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, file) in files(&tensors) {
        let path = folder.path().join(name);
        for length in [0, 1, 9, file.len() / 3, file.len() / 2] {
            fs::write(&path, &file[..length]).unwrap();
            // The first picture of an animation can be whole.
            let Err(error) = read_image(&path) else {
                assert!(name.starts_with("animated"), "{name} up to {length}");
                continue;
            };
            let message = error.to_string();
            assert!(message.contains(name) && message.lines().count() == 1, "{message}");
        }
    }
}
