//! The models bundled with the program.

use std::fs;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma, Rgb, RgbImage};
use perceiver_data::flow::read_flow;
use tempfile::tempdir;

use crate::support::{arguments, run};

fn models() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_text_is_filled_in_by_a_bundled_model() {
    let filled = run(["fill-mask", "Elizabeth could [MASK][MASK][MASK] believe it.", "--json"]);
    assert!(filled.stderr.contains("model: language, which comes with this"), "{filled:?}");
    assert_eq!(filled.json()["filled"], "Elizabeth could not believe it.");
}

#[test]
fn a_text_is_classified_by_language_without_a_model() {
    for (language, text) in [
        ("finnish", "Kissa nukkuu pöydällä, ja koira juoksee ulkona."),
        ("french", "Le chat dort, et le chien court dehors avec les enfants."),
        ("italian", "Il gatto dorme sul tavolo e il cane corre fuori."),
        ("polish", "Kot śpi na stole, a pies biega na zewnątrz."),
        ("turkish", "Kedi masanın üstünde uyuyor ve köpek dışarıda koşuyor."),
    ] {
        let named = run(["classify", "--text", text, "-k", "1", "--json"]);
        assert_eq!(named.json()["labels"][0]["label"], language, "{text}");
    }
}

#[test]
fn a_bundled_model_is_found_by_its_name() {
    for (sentiment, text) in [
        ("positive", "The staff was friendly and the food was excellent."),
        ("positive", "I love this phone, it works great."),
        ("negative", "A waste of money: it broke after one day."),
        ("negative", "The plot is boring and the acting is terrible."),
    ] {
        let named = run(["classify", "--model", "sentiment", "--text", text, "-k", "1", "--json"]);
        assert_eq!(named.json()["labels"][0]["label"], sentiment, "{text}");
    }
}

/// Clothes drawn with rectangles, bright on black: left, top, width and height.
#[test]
fn a_picture_of_clothes_is_classified_without_a_model() {
    let folder = tempdir().unwrap();
    let trousers = [[8, 2, 12, 6], [8, 8, 5, 18], [15, 8, 5, 18]];
    let bag = [[3, 10, 22, 14], [9, 5, 10, 2], [8, 5, 2, 6], [18, 5, 2, 6]];
    for (name, parts) in [("trousers", &trousers[..]), ("bag", &bag[..])] {
        let within = |x, y, [left, top, width, height]: [u32; 4]| {
            (left..left + width).contains(&x) && (top..top + height).contains(&y)
        };
        let level = |x, y| if parts.iter().any(|&part| within(x, y, part)) { 200 } else { 0 };
        let path = folder.path().join("drawn.png");
        GrayImage::from_fn(28, 28, |x, y| Luma([level(x, y)])).save(&path).unwrap();
        let named = run(arguments!["classify", &path, "-k", "1", "--json"]);
        assert!(named.stderr.contains("model: fashion-mnist, which comes with"), "{named:?}");
        assert_eq!(named.json()["labels"][0]["label"], name);
    }
}

/// Waves of colour, shifted by whole pixels.
#[test]
fn motion_between_frames_is_found_without_a_model() {
    let folder = tempdir().unwrap();
    let frame = |name: &str, right: f32, down: f32| {
        let level = |x: u32, y: u32, channel: u8| {
            let (x, y, phase) = (x as f32 - right, y as f32 - down, f32::from(channel));
            let waves =
                (0.7 * x + 0.3 * y + phase).sin() + (0.6 * y - 0.35 * x + 2.0 * phase).sin();
            (127.5 + 51.0 * waves) as u8
        };
        let path = folder.path().join(name);
        let pixel = |x, y| Rgb([0, 1, 2].map(|channel| level(x, y, channel)));
        RgbImage::from_fn(48, 32, pixel).save(&path).unwrap();
        path
    };
    let (first, flow) = (frame("first.png", 0.0, 0.0), folder.path().join("flow.flo"));
    for motion in [[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0], [2.0, 0.0]] {
        let second = frame("second.png", motion[0], motion[1]);
        let found = run(arguments!["flow", &first, &second, "-o", &flow, "--force"]);
        assert!(found.stderr.contains("model: flow, which comes with this"), "{found:?}");
        let found = read_flow(&flow).unwrap().flow;
        for axis in [0, 1] {
            let mean = found.index_axis(ndarray::Axis(2), axis).mean().unwrap();
            assert!((mean - motion[axis]).abs() < 0.35, "{mean} of {motion:?}, axis {axis}");
        }
    }
}

#[test]
fn a_video_is_reconstructed_without_a_model() {
    let folder = tempdir().unwrap();
    let (frames, again) = (folder.path().join("frames"), folder.path().join("again"));
    fs::create_dir(&frames).unwrap();
    for index in 0..3 {
        let level = |x: u32, y: u32| Rgb([(4 * x) as u8, (4 * y) as u8, 60 + index]);
        RgbImage::from_fn(40, 40, level).save(frames.join(format!("{index}.png"))).unwrap();
    }
    let created = run(arguments!["autoencode", &frames, "-o", &again, "--json"]);
    assert!(created.stderr.contains("model: autoencoder, which comes with"), "{created:?}");
    assert_eq!(created.json()["frames"], 3);
    assert_eq!(image::open(again.join("000003.png")).unwrap().width(), 32);
}

#[test]
fn every_model_can_be_read_and_has_a_card_of_its_own_numbers() {
    for model in models() {
        let inspected = run(["inspect".as_ref(), model.as_os_str(), "--json".as_ref()]).json();
        let card = fs::read_to_string(model.join("README.md")).unwrap();
        let parameters = inspected["parameters"]["total"].as_u64().unwrap().to_string();
        assert!(card.replace(',', "").contains(&parameters), "{}", model.display());
        assert!(card.contains("| data | measure | this model | baseline |"), "{}", model.display());
        assert!(model.join("learning-curve.svg").is_file(), "{}", model.display());
    }
}
