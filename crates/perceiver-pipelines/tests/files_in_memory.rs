//! Pipelines load from files in memory as from folders, and answer many inputs as one by one.
#![cfg(feature = "flex")]
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use perceiver_pipelines::{
    Attend, Classify, Error, Features, FillMask, Input, OpticalFlow, RgbImage,
};

fn folder(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(model)
}

/// The settings and weights of a bundled model.
fn files(model: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder(model)).unwrap().map(|entry| entry.unwrap());
    let file = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    entries.map(file).collect()
}

fn borrowed(files: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect()
}

#[test]
fn texts_get_the_same_answers_from_a_folder_from_memory_and_in_batches() {
    let files = files("languages");
    let device = Device::flex();
    let from_folder = Classify::from_pretrained(folder("languages"), &device).unwrap();
    let from_memory = Classify::from_files(&borrowed(&files), &device).unwrap();
    let texts = ["The cat sleeps.", "", "Der Hund schläft."];
    let answers: Vec<_> = from_memory.run_all(texts).collect();
    let expected = from_folder.run(texts[0]).unwrap();
    assert_eq!(from_memory.run(texts[0]).unwrap(), expected);
    assert!(matches!(answers[1], Err(Error::EmptyText)));
    for (text, answer) in [(texts[0], &answers[0]), (texts[2], &answers[2])] {
        let (answer, alone) = (answer.as_ref().unwrap(), from_folder.run(text).unwrap());
        assert_eq!(answer.labels[0].name, alone.labels[0].name);
        assert!((answer.labels[0].score - alone.labels[0].score).abs() < 1e-6);
    }
    let vectors = Features::from_files(&borrowed(&files), &device).unwrap();
    let expected = Features::from_pretrained(folder("languages"), &device).unwrap();
    assert_eq!(vectors.run(texts[0]).unwrap(), expected.run(texts[0]).unwrap());
}

#[test]
fn options_default_and_clones_are_independent() {
    let pipeline = FillMask::from_files(&borrowed(&files("language")), &Device::flex()).unwrap();
    let text = "Elizabeth could [MASK][MASK][MASK] believe it.";
    let filled = pipeline.run(text).unwrap();
    assert_eq!(filled.text, "Elizabeth could not believe it.");
    assert_eq!(filled.spans[0].candidates.len(), 5);
    let one = pipeline.clone().top_k(1).run(text).unwrap();
    assert_eq!(one.spans[0].candidates[..], filled.spans[0].candidates[..1]);
    let all: Vec<_> = pipeline.batch(1).run_all([text, "no mask"]).collect();
    assert_eq!(*all[0].as_ref().unwrap(), filled);
    assert!(matches!(all[1], Err(Error::NoMask { .. })));
}

#[test]
fn texts_of_any_length_share_a_batch_if_the_padding_token_is_not_in_the_vocabulary() {
    let device = Device::flex();
    let outside = |model: &str| {
        let mut files = files(model);
        files.retain(|(name, _)| name != "tokenizer_config.json");
        let settings = br#"{"added_tokens_decoder": {"500": {"content": "[PAD]"}}}"#;
        files.push(("tokenizer_config.json".to_owned(), settings.to_vec()));
        files
    };

    let texts = ["The cat sleeps.", "Der Hund schläft auf dem Sofa."];
    let (padded, known) = (outside("languages"), files("languages"));
    let answers = |files: &[(String, Vec<u8>)]| -> Vec<_> {
        let pipeline = Classify::from_files(&borrowed(files), &device).unwrap();
        pipeline.run_all(texts).map(|answer| answer.unwrap()).collect()
    };
    assert_eq!(answers(&padded), answers(&known));
    let vectors = |files: &[(String, Vec<u8>)]| -> Vec<_> {
        let pipeline = Features::from_files(&borrowed(files), &device).unwrap();
        pipeline.run_all(texts).map(|answer| answer.unwrap()).collect()
    };
    assert_eq!(vectors(&padded), vectors(&known));

    let texts = ["Elizabeth could [MASK][MASK][MASK] believe it.", "She [MASK]s."];
    let filled = |files: &[(String, Vec<u8>)]| -> Vec<_> {
        let pipeline = FillMask::from_files(&borrowed(files), &device).unwrap();
        pipeline.run_all(texts).map(|answer| answer.unwrap()).collect()
    };
    assert_eq!(filled(&outside("language")), filled(&files("language")));
}

#[test]
fn images_in_memory_reach_a_model_in_memory() {
    let files = files("fashion-mnist");
    let photo = RgbImage::from_fn(28, 28, |x, y| [(x * y % 251) as u8; 3].into());
    let device = Device::flex();
    let from_folder = Classify::from_pretrained(folder("fashion-mnist"), &device).unwrap();
    let from_memory = Classify::from_files(&borrowed(&files), &device).unwrap();
    let expected = from_folder.run(photo.clone()).unwrap();
    assert_eq!(from_memory.run(photo.clone()).unwrap(), expected);
    let attend = Attend::from_files(&borrowed(&files), &device).unwrap();
    let maps: Vec<_> = attend.run_all([Input::from(photo), "a text".into()]).collect();
    let sum: f32 = maps[0].as_ref().unwrap().maps[0].weights.iter().sum();
    assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    assert!(matches!(maps[1], Err(Error::WrongInput { .. })));
}

#[test]
fn a_video_gives_a_flow_for_each_pair_of_frames_and_ends_with_an_error() {
    let pipeline = OpticalFlow::from_files(&borrowed(&files("flow")), &Device::flex()).unwrap();
    let frame =
        |shift: u32| RgbImage::from_fn(24, 16, |x, y| [((x + shift) * 10 + y * 3) as u8; 3].into());
    let frames = [frame(0), frame(1), frame(3)];
    let missing = perceiver_pipelines::read_image("/there is no such image");
    let all = frames.clone().map(Ok).into_iter().chain([missing, Ok(frame(5))]);
    let flows: Vec<_> = pipeline.run_all(all).collect();
    assert_eq!(flows.len(), 3);
    assert_eq!(*flows[0].as_ref().unwrap(), pipeline.run(&frames[0], &frames[1]).unwrap());
    assert_eq!(*flows[1].as_ref().unwrap(), pipeline.run(&frames[1], &frames[2]).unwrap());
    assert!(matches!(flows[2], Err(Error::Data(_))));
}

/// Smooth colours without a period, moved to the right and down.
fn texture([right, down]: [f32; 2]) -> RgbImage {
    RgbImage::from_fn(72, 48, |x, y| {
        let (x, y) = (x as f32 - right, y as f32 - down);
        let level = |phase: f32| {
            let waves = (0.41 * x + 0.17 * y + phase).sin()
                + (0.29 * y - 0.23 * x + 2.3 * phase).sin()
                + (0.11 * x * (1.0 + 0.01 * y) + 1.7 * phase).sin()
                + (0.13 * y * (1.0 + 0.02 * x) + 0.6 * phase).sin();
            (127.5 + 31.0 * waves) as u8
        };
        [level(0.0), level(1.0), level(2.0)].into()
    })
}

/// The model knows three pixels of motion.
#[test]
fn larger_motions_than_the_model_knows_are_found_coarse_to_fine() {
    let pipeline = OpticalFlow::from_files(&borrowed(&files("flow")), &Device::flex()).unwrap();
    let motion = [7.0, -5.0];
    let frames = [texture([0.0; 2]), texture(motion)];
    let mean_error = |pipeline: &OpticalFlow| {
        let flow = pipeline.run(&frames[0], &frames[1]).unwrap();
        let inside = flow.slice(ndarray::s![10..38, 10..62, ..]);
        let vectors = inside.rows().into_iter();
        let errors = vectors.map(|vector| (vector[0] - motion[0]).hypot(vector[1] - motion[1]));
        errors.sum::<f32>() / (28.0 * 52.0)
    };
    let found = mean_error(&pipeline);
    assert!(found < 0.5, "{found}");
    let single = mean_error(&pipeline.levels(1));
    assert!(single > 4.0, "{single}");
}

/// The same weights in a model that does not name the motion that it was trained on.
#[test]
fn a_single_level_reads_each_tile_once() {
    let mut unnamed = files("flow");
    let (_, config) = unnamed.iter_mut().find(|(name, _)| name == "config.json").unwrap();
    let field = "\"trained_motion\": 3.0,";
    let text = String::from_utf8(config.clone()).unwrap();
    assert!(text.contains(field));
    *config = text.replace(field, "").into_bytes();
    let open = |files| OpticalFlow::from_files(&borrowed(files), &Device::flex()).unwrap();
    let (named, unnamed) = (open(&files("flow")), open(&unnamed));
    // More tiles than are computed at once on two threads.
    let frames = [texture([0.0; 2]), texture([1.0, 2.0])];
    let run = |pipeline: &OpticalFlow| pipeline.run(&frames[0], &frames[1]).unwrap();
    assert_eq!(run(&named.levels(1)), run(&unnamed));
}

#[test]
fn files_that_do_not_make_a_model_are_named() {
    let device = Device::flex();
    let message = |files: &[(&str, &[u8])]| {
        let error = Classify::from_files(files, &device).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    let missing = message(&[]);
    assert!(missing.contains("config.json"), "{missing}");
    let flow = files("flow");
    let wrong = message(&borrowed(&flow));
    assert!(wrong.starts_with("config.json: holds a PerceiverForOpticalFlow"), "{wrong}");
    let mut damaged = files("languages");
    damaged.retain(|(name, _)| name != "model.safetensors");
    let weights = message(&borrowed(&damaged));
    assert!(weights.contains("model.safetensors"), "{weights}");
}
