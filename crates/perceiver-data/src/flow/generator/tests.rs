#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use rand::SeedableRng;

use super::*;

/// A photo without fine detail, of which bilinear interpolation loses nothing visible.
fn smooth(width: u32, height: u32, phase: f32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = |across: f32, down: f32| {
            let angle = across * x as f32 + down * y as f32 + phase;
            (127.5 + 120.0 * angle.sin()).round() as u8
        };
        Rgb([wave(0.08, 0.02), wave(-0.03, 0.08), wave(0.05, 0.06)])
    })
}

fn options() -> FlowGeneratorOptions {
    FlowGeneratorOptions {
        changes_light: false,
        counts_hidden: false,
        ..FlowGeneratorOptions::new(8, [40, 56])
    }
}

fn generator(options: FlowGeneratorOptions) -> FlowGenerator {
    let photos = [0.0, 1.5, 3.0].map(|phase| Photo::new(smooth(150, 120, phase), usize::MAX));
    FlowGenerator { photos: photos.into(), options, remarks: Remarks::default() }
}

fn still<'a>(image: &'a RgbImage, motion: Motion) -> Piece<'a> {
    Piece { outline: None, view: View::plain(image), motion }
}

/// Differences in levels between the first frame and the second where the flow points, at pixels
/// that the second one shows and that lie on an edge in neither.
fn warp_errors(scene: &[Piece<'_>], pair: &FlowPair) -> Vec<f32> {
    let second = View::plain(&pair.second);
    let mut errors = Vec::new();
    for ((y, x), _) in pair.valid.indexed_iter().filter(|(_, valid)| **valid) {
        let here = [x as f32, y as f32];
        let there = [0, 1].map(|axis| here[axis] + pair.flow[[y, x, axis]]);
        let edge = scene.iter().any(|piece| {
            is_edge(here, |place| piece.cover(place))
                || is_edge(there, |place| piece.cover(piece.motion.backward(place)))
        });
        if !edge {
            let found = second.colour(there);
            let expected = pair.first.get_pixel(x as u32, y as u32).0;
            errors.extend((0..3).map(|colour| (found[colour] - f32::from(expected[colour])).abs()));
        }
    }
    errors
}

/// Returns true if a piece's cover changes around a position.
fn is_edge(place: [f32; 2], cover: impl Fn([f32; 2]) -> f32) -> bool {
    let around = (-2..=2).flat_map(|down| (-2..=2).map(move |right| [right, down]));
    let mut covers = around.map(|step| cover([0, 1].map(|axis| place[axis] + step[axis] as f32)));
    !covers.all(|around| around == cover(place))
}

#[test]
fn a_shifted_photo_has_the_shift_as_its_flow() {
    let photo = smooth(60, 50, 0.0);
    let pair = pair(&[still(&photo, Motion::shift([3.0, -2.0]))], [20, 30]);
    for ((y, x), &valid) in pair.valid.indexed_iter() {
        assert_eq!([pair.flow[[y, x, 0]], pair.flow[[y, x, 1]]], [3.0, -2.0]);
        assert_eq!(valid, x + 3 < 30 && y >= 2, "at {y}, {x}");
        if valid {
            let moved = pair.second.get_pixel(x as u32 + 3, y as u32 - 2);
            assert_eq!(pair.first.get_pixel(x as u32, y as u32), moved);
        }
    }
}

/// A rotation by 90 degrees about the origin: x becomes y, y becomes -x.
#[test]
fn a_turned_photo_has_the_turn_as_its_flow() {
    let photo = smooth(60, 50, 0.0);
    let motion = Motion::turn([0.0; 2], std::f32::consts::FRAC_PI_2, [0.0; 2]);
    let pair = pair(&[still(&photo, motion)], [20, 30]);
    for ((y, x), _) in pair.valid.indexed_iter() {
        let (column, row) = (x as f32, y as f32);
        assert!((pair.flow[[y, x, 0]] - (-row - column)).abs() < 1e-4);
        assert!((pair.flow[[y, x, 1]] - (column - row)).abs() < 1e-4);
    }
}

#[test]
fn the_second_frame_warped_by_the_flow_is_the_first() {
    let generator = generator(options());
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut pixels = 0;
    for _ in 0..8 {
        let scene = generator.draw(&mut random);
        let pair = pair(&scene, [40, 56]);
        let errors = warp_errors(&scene, &pair);
        let largest = errors.iter().copied().fold(0.0, f32::max);
        assert!(largest < 4.0, "{largest} levels");
        pixels += errors.len() / 3;
    }
    assert!(pixels > 8 * 40 * 56 / 4, "{pixels} pixels are compared");
}

#[test]
fn what_a_piece_comes_to_cover_is_hidden() {
    let photo = smooth(60, 50, 0.0);
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let outline = Outline::draw([20, 30], &mut random);
    let background = still(&photo, Motion::shift([0.0; 2]));
    let piece =
        Piece { outline: Some(outline.clone()), ..still(&photo, Motion::shift([4.0, 0.0])) };
    let pair = pair(&[background, piece], [20, 30]);
    let covered = |x: f32, y: usize| outline.cover([x, y as f32]) >= 0.5;
    let mut hidden = 0;
    for ((y, x), &valid) in pair.valid.indexed_iter() {
        let (here, later) = (covered(x as f32, y), covered(x as f32 - 4.0, y));
        let expected = if here { x + 4 < 30 } else { !later };
        assert_eq!(valid, expected, "at {y}, {x}");
        assert_eq!(pair.flow[[y, x, 0]], if here { 4.0 } else { 0.0 });
        hidden += usize::from(!here && later);
    }
    assert!(hidden > 0, "the piece covers nothing");
}

#[test]
fn no_pixel_moves_further_than_asked_for() {
    let generator = generator(FlowGeneratorOptions { max_motion: 5.0, ..options() });
    let mut random = ChaCha8Rng::seed_from_u64(6);
    for _ in 0..8 {
        let pair = generator.example(0, &mut random).unwrap();
        for vector in pair.flow.rows() {
            assert!(vector[0].hypot(vector[1]) <= 5.0 + 1e-4, "{vector}");
        }
    }
}

#[test]
fn the_same_draws_make_the_same_pair() {
    let generator = generator(FlowGeneratorOptions::new(8, [12, 16]));
    let pair = |seed| generator.example(3, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
    assert_eq!(pair(7), pair(7));
    assert_ne!(pair(7), pair(8));
}

#[test]
fn another_light_leaves_the_flow_and_the_first_frame() {
    let plain = FlowGeneratorOptions { counts_hidden: true, ..options() };
    let pair = |changes_light| {
        let generator = generator(FlowGeneratorOptions { changes_light, ..plain });
        generator.example(0, &mut ChaCha8Rng::seed_from_u64(9)).unwrap()
    };
    let (plain, changed) = (pair(false), pair(true));
    assert_eq!(changed.first, plain.first);
    assert_eq!(changed.flow, plain.flow);
    assert_ne!(changed.second, plain.second);
    assert!(changed.valid.iter().all(|&valid| valid));
}

#[test]
fn photos_come_from_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    smooth(30, 20, 0.0).save(folder.path().join("photo.png")).unwrap();
    let generator = FlowGenerator::new(folder.path(), options()).unwrap();
    assert_eq!((generator.len(), generator.photos.len()), (8, 1));

    assert_eq!(generator.remarks(), Remarks::default());

    std::fs::write(folder.path().join("another.jpg"), "no photo").unwrap();
    let generator = FlowGenerator::new(folder.path(), options()).unwrap();
    let left_out = generator.remarks().left_out;
    assert_eq!((generator.photos.len(), left_out.len()), (1, 1));
    assert!(left_out[0].contains("another.jpg: cannot read the image"), "{left_out:?}");

    std::fs::remove_file(folder.path().join("photo.png")).unwrap();
    let error = FlowGenerator::new(folder.path(), options()).unwrap_err().to_string();
    assert!(error.contains("another.jpg: cannot read the image"), "{error}");
}

#[test]
fn impossible_options_are_refused() {
    let message = |options: FlowGeneratorOptions| {
        FlowGenerator::new("photos", options).unwrap_err().to_string()
    };
    let empty = message(FlowGeneratorOptions::new(1, [0, 5]));
    assert_eq!(empty, "photos: pairs of 0x5 pixels, expected 1 to 67108864");
    let none = message(FlowGeneratorOptions::new(0, [5, 5]));
    assert!(none.contains("0 pairs, expected at least one"), "{none}");
    let crowded = message(FlowGeneratorOptions { pieces: usize::MAX, ..options() });
    assert!(crowded.contains("moving pieces, expected at most 1000"), "{crowded}");
    let endless = message(FlowGeneratorOptions { max_motion: f32::NAN, ..options() });
    assert!(endless.contains("motion of NaN pixels"), "{endless}");
}
