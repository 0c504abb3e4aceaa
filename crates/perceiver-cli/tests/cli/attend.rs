//! Where a model attends.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{
    Floats, arguments, copy, fixture, forward, ids, image_settings, photo, read, run, write,
};

/// The tokens of `!#[MASK] `, in the vocabulary of the fixture.
const TEXT: &str = "!#[MASK] ";
const IDS: [i64; 6] = [4, 39, 41, 3, 38, 5];

/// A map from `forward`, whose parity is tested: `[1, heads, queries, keys]`.
fn cross_attention(model: &Path, layer: usize) -> Floats {
    let folder = tempdir().unwrap();
    let (inputs, output) =
        (folder.path().join("in.safetensors"), folder.path().join("out.safetensors"));
    write(&inputs, &[("inputs".to_owned(), ids(&[1, IDS.len()], &IDS))].into());
    let mut arguments = forward(model, &inputs, &output);
    arguments.push("--attentions".into());
    assert_eq!(run(arguments).code, 0);
    read(&output).remove(&format!("cross_attentions.{layer}")).unwrap()
}

/// The mean over some heads and queries.
fn mean(map: &Floats, heads: &[usize], queries: &[usize]) -> Vec<f64> {
    let [_, _, rows, keys] = map.shape[..] else { panic!("{:?}", map.shape) };
    let mut mean = vec![0.0; keys];
    for head in heads {
        for query in queries {
            let row = &map.values[(head * rows + query) * keys..];
            for (sum, &weight) in mean.iter_mut().zip(row) {
                *sum += f64::from(weight) / (heads.len() * queries.len()) as f64;
            }
        }
    }
    mean
}

/// The weights of a map in the order of the text, by the positions' bytes.
#[track_caller]
fn weights(map: &Value) -> Vec<f64> {
    let mut places: Vec<(u64, f64)> = Vec::new();
    for place in map["places"].as_array().unwrap() {
        let start = match place["text"].as_str().unwrap() {
            "[CLS]" => 0,
            "[SEP]" => 1000,
            _ => 1 + place["start"].as_u64().unwrap(),
        };
        places.push((start, place["weight"].as_f64().unwrap()));
    }
    places.sort_by_key(|(start, _)| *start);
    places.into_iter().map(|(_, weight)| weight).collect()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }
}

/// Maps over all positions of a text.
fn attend(options: &[&str]) -> Value {
    let folder = tempdir().unwrap();
    let page = folder.path().join("map.html");
    let model = fixture("masked_lm");
    let mut arguments = arguments!["attend", "--model", &model, "--text", TEXT, "-o", &page];
    arguments.extend(arguments!["--json", "-k", "100"]);
    arguments.extend(options.iter().map(Into::into));
    let answer = run(arguments).json();
    assert!(fs::read_to_string(page).unwrap().ends_with("</html>\n"));
    answer
}

#[test]
fn the_map_of_a_text_is_the_mean_of_the_encoder_s_probabilities() {
    let map = cross_attention(&fixture("masked_lm"), 0);
    let (heads, latents): (Vec<_>, Vec<_>) = ((0..2).collect(), (0..7).collect());
    let answer = attend(&[]);
    let found = weights(&answer["maps"][0]);
    assert_close(&found, &mean(&map, &heads, &latents));
    assert_close(&[found.iter().sum()], &[1.0]);
    let one = attend(&["--head", "1", "--latent", "4"]);
    assert_eq!([&one["maps"][0]["head"], &one["maps"][0]["latent"]], [&json!(1), &json!(4)]);
    assert_close(&weights(&one["maps"][0]), &mean(&map, &[1], &[4]));
}

#[test]
fn a_text_has_a_picture_too() {
    let folder = tempdir().unwrap();
    let model = fixture("masked_lm");
    let size = |options: &[&str]| {
        let path = folder.path().join("map.png");
        let mut arguments = arguments!["attend", "--model", &model, "--text", TEXT, "-o", &path];
        arguments.extend(options.iter().map(Into::into));
        assert_eq!(run(arguments).code, 0);
        image::open(path).unwrap().into_rgb8().dimensions()
    };
    let (width, height) = size(&[]);
    // Two heads side by side, with a gap in between.
    assert_eq!(size(&["--grid=heads", "--force"]), (2 * width + 8, height));
}

#[test]
fn a_grid_shows_heads_or_latents_sharpest_first() {
    let map = cross_attention(&fixture("masked_lm"), 0);
    let heads = attend(&["--grid=heads", "--latent", "2"]);
    for (head, found) in heads["maps"].as_array().unwrap().iter().enumerate() {
        assert_close(&weights(found), &mean(&map, &[head], &[2]));
    }
    let latents = attend(&["--grid"]);
    let latents = latents["maps"].as_array().unwrap();
    assert_eq!(latents.len(), 7);
    let mut sharpness = Vec::new();
    for found in latents {
        let latent = found["latent"].as_u64().unwrap() as usize;
        let expected = mean(&map, &[0, 1], &[latent]);
        assert_close(&weights(found), &expected);
        sharpness.push(expected.iter().map(|weight| weight * weight).sum::<f64>());
    }
    assert!(sharpness.is_sorted_by(|one, other| one >= other), "{sharpness:?}");
}

#[test]
fn the_decoder_s_map_is_the_encoder_s_as_the_masks_weigh_the_latents() {
    let model = fixture("masked_lm");
    let (encoder, decoder) = (cross_attention(&model, 0), cross_attention(&model, 1));
    let through = |queries: &[usize]| {
        let shares = mean(&decoder, &[0, 1, 2, 3, 4, 5, 6, 7], queries);
        let mut expected = vec![0.0; IDS.len()];
        for (latent, share) in shares.iter().enumerate() {
            for (sum, weight) in expected.iter_mut().zip(mean(&encoder, &[0, 1], &[latent])) {
                *sum += share * weight;
            }
        }
        expected
    };
    let answer = attend(&["--layer", "decoder"]);
    assert_close(&weights(&answer["maps"][0]), &through(&[3]));
    let answer = attend(&["--layer", "decoder", "--query", "1"]);
    assert_close(&weights(&answer["maps"][0]), &through(&[1]));
}

#[test]
fn a_photo_s_picture_has_a_square_a_token() {
    let folder = tempdir().unwrap();
    let model = copy("image_fourier", folder.path());
    image_settings(&model, 8);
    let photo_path = folder.path().join("photo.png");
    photo(&photo_path, 30, 20);
    let picture = folder.path().join("map.png");
    let arguments = arguments!["attend", "--model", &model, &photo_path, "-o", &picture];
    let ran = run(arguments.clone());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(image::image_dimensions(&picture).unwrap(), (448, 448));
    let place = ran.stdout.lines().nth(2).unwrap();
    assert!(place.contains(" %  row ") && place.contains(", column "), "{}", ran.stdout);

    let again = run(arguments.clone());
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    let mut arguments = arguments;
    arguments.extend(arguments!["--grid", "--force", "--quiet"]);
    assert_eq!(run(arguments).code, 0);
    // Seven latents in three columns and three rows.
    assert_eq!(image::image_dimensions(&picture).unwrap(), (3 * 448 + 16, 3 * 448 + 16));
}

#[test]
fn what_cannot_be_shown_is_refused_before_anything_is_written() {
    let folder = tempdir().unwrap();
    let page = folder.path().join("map.html");
    for (options, expected) in [
        (vec!["--head", "2"], "there is no head 2, expected 0 to 1"),
        (vec!["--latent", "7"], "there is no latent 7, expected 0 to 6"),
        (vec!["--query", "0"], "expected --latent"),
        (vec!["--layer", "decoder", "--query", "6"], "there is no query 6, expected 0 to 5"),
        (vec!["--layer", "decoder", "--latent", "0"], "expected --query"),
    ] {
        let mut arguments = arguments!["attend", "--model", fixture("masked_lm"), "-o", &page];
        arguments.extend(arguments!["--text", TEXT]);
        arguments.extend(options.iter().map(Into::into));
        let ran = run(arguments);
        assert_eq!(ran.code, 2, "{options:?}");
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        assert!(!page.exists());
    }
    let other = folder.path().join("map.jpg");
    let model = fixture("masked_lm");
    let ran = run(arguments!["attend", "--model", &model, "--text", TEXT, "-o", &other]);
    assert!(ran.stderr.contains("expected a file named *.png or *.html"), "{}", ran.stderr);
    let flow = fixture("optical_flow");
    let ran = run(arguments!["attend", "--model", &flow, "--text", TEXT, "-o", &page]);
    assert!(ran.stderr.contains("holds a PerceiverForOpticalFlow"), "{}", ran.stderr);
}
