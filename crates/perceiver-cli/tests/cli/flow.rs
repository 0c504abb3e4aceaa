//! From frames to flow: every form of output, and bad input.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use image::{DynamicImage, Rgb, RgbImage};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::support::{Run, arguments, configure, copy, fixture, listing, run};

/// Height and width of the model's tiles.
const TILE: [u32; 2] = [24, 32];

/// A model, and frames with a moving pattern.
struct Scene {
    folder: TempDir,
    model: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let folder = tempdir().unwrap();
        let model = copy("optical_flow", folder.path());
        configure(&model, "train_size", json!(TILE));
        Self { folder, model }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A frame of this width and height.
    fn frame(&self, name: &str, width: u32, height: u32) -> PathBuf {
        let path = self.path(name);
        let shift = name.bytes().map(u32::from).sum::<u32>();
        let level = |at: u32| (at * 37 % 256) as u8;
        let image = RgbImage::from_fn(width, height, |x, y| {
            Rgb([level(x + shift), level(y + 2 * shift), level(x * y + shift)])
        });
        image.save(&path).unwrap();
        path
    }

    /// A frame of the model's size.
    fn tile(&self, name: &str) -> PathBuf {
        self.frame(name, TILE[1], TILE[0])
    }

    fn flow<S: Into<OsString>>(&self, more: impl IntoIterator<Item = S>) -> Run {
        let mut command = arguments!["flow", "--model", &self.model];
        command.extend(more.into_iter().map(Into::into));
        run(command)
    }

    /// Expects one line that mentions everything in `words`, and no other change.
    #[track_caller]
    fn refuses(&self, more: Vec<OsString>, words: &[&str]) {
        let before = listing(self.folder.path());
        let run = self.flow(more);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        for word in words {
            assert!(run.stderr.contains(word), "no {word:?} in {}", run.stderr);
        }
        assert_eq!(listing(self.folder.path()), before);
    }
}

/// Width, height and numbers of a `.flo` file.
fn read_flo(path: &Path) -> (u32, u32, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..4], b"PIEH");
    let (words, _) = bytes[4..].as_chunks::<4>();
    let numbers = words[2..].iter().map(|&word| f32::from_le_bytes(word));
    (u32::from_le_bytes(words[0]), u32::from_le_bytes(words[1]), numbers.collect())
}

fn write_flo(path: &Path, width: u32, height: u32, numbers: &[f32]) {
    let sides = [width, height].into_iter().flat_map(u32::to_le_bytes);
    let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
    fs::write(path, [b"PIEH".to_vec(), sides.chain(numbers).collect()].concat()).unwrap();
}

fn pixels(path: &Path) -> RgbImage {
    image::open(path).unwrap().into_rgb8()
}

/// The JSON documents, one per line.
fn documents(run: &Run) -> Vec<Value> {
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn two_frames_become_a_flo_file_that_the_summary_describes() {
    let scene = Scene::new();
    let (first, second) = (scene.frame("a.png", 40, 26), scene.frame("b.png", 40, 26));
    let out = scene.path("out.flo");
    let run = scene.flow(arguments![&first, &second, "-o", &out, "--json"]);
    let answer = run.json();
    assert!(run.stderr.starts_with("perceiver: flex, "), "{}", run.stderr);
    let (width, height, numbers) = read_flo(&out);
    assert_eq!((width, height, numbers.len()), (40, 26, 40 * 26 * 2));
    assert_eq!([&answer["width"], &answer["height"]], [&json!(40), &json!(26)]);
    assert_eq!(answer["outputs"], json!([out]));
    assert_eq!(answer["frames"], json!([first, second]));
    let distances: Vec<f64> =
        numbers.chunks(2).map(|vector| f64::from(vector[0]).hypot(f64::from(vector[1]))).collect();
    let mean = distances.iter().sum::<f64>() / distances.len() as f64;
    let largest = distances.iter().copied().fold(0.0, f64::max);
    assert!(largest > 1e-3, "the model sees motion");
    for (name, expected) in [("mean_motion", mean), ("largest_motion", largest)] {
        let found = answer[name].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-5 * expected, "{name} {found} is not {expected}");
    }
}

/// Ground truth at a distance of (3, 4) from the flow: an error of 5 pixels, above 3 and 5 %.
#[test]
fn ground_truth_gives_epe_and_fl_all() {
    let scene = Scene::new();
    let (first, second) = (scene.tile("a.png"), scene.tile("b.png"));
    let (out, truth) = (scene.path("out.flo"), scene.path("truth.flo"));
    assert_eq!(scene.flow(arguments![&first, &second, "-o", &out]).code, 0);
    let (width, height, mut numbers) = read_flo(&out);
    for (index, vector) in numbers.chunks_mut(2).enumerate() {
        let beside = if index < 200 { [3.0, 4.0] } else { [0.0, 0.0] };
        let unknown = index % 2 == 1;
        for (number, beside) in vector.iter_mut().zip(beside) {
            *number = if unknown { 1e10 } else { *number + beside };
        }
    }
    write_flo(&truth, width, height, &numbers);
    let run = scene.flow(arguments![&first, &second, "--ground-truth", &truth, "--json"]);
    let answer = run.json();
    let known = f64::from(width * height / 2);
    let close = |name: &str, expected: f64| {
        let found = answer[name].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-5, "{name} {found} is not {expected}");
    };
    assert_eq!(answer["known_pixels"], json!(width * height / 2));
    close("end_point_error", 5.0 * 100.0 / known);
    close("fl_all", 100.0 / known);

    let run = scene.flow(arguments![&first, &second, "--ground-truth", &truth]);
    assert!(run.stdout.contains("Fl-all  26.04 %"), "{}", run.stdout);
    assert!(run.stdout.contains("over 384 known pixels"), "{}", run.stdout);
}

#[test]
fn kitti_files_are_the_same_flow_in_steps_of_a_64th() {
    let scene = Scene::new();
    let (first, second) = (scene.tile("a.png"), scene.tile("b.png"));
    let (flo, kitti) = (scene.path("out.flo"), scene.path("kitti.png"));
    assert_eq!(scene.flow(arguments![&first, &second, "-o", &flo]).code, 0);
    let command = arguments![&first, &second, "-o", &kitti, "--format", "kitti"];
    assert_eq!(scene.flow(command).code, 0);
    let (_, _, numbers) = read_flo(&flo);
    let DynamicImage::ImageRgb16(picture) = image::open(&kitti).unwrap() else { panic!() };
    assert_eq!(picture.dimensions(), (TILE[1], TILE[0]));
    for (pixel, vector) in picture.pixels().zip(numbers.chunks(2)) {
        assert_eq!(pixel.0[2], 1);
        for (&sample, number) in pixel.0.iter().zip(vector) {
            assert!(((f32::from(sample) - 32768.0) / 64.0 - number).abs() <= 1.0 / 128.0);
        }
    }
}

#[test]
fn every_form_of_picture_has_its_size_and_the_legend_its_corner() {
    let scene = Scene::new();
    let (first, second) = (scene.frame("a.png", 44, 28), scene.frame("b.png", 44, 28));
    let picture = |more: &[&str]| {
        let out = scene.path("out.png");
        let mut command = arguments![&first, &second, "-o", &out, "--force", "--max-motion", "1"];
        command.extend(more.iter().map(OsString::from));
        assert_eq!(scene.flow(command).code, 0);
        pixels(&out)
    };
    let colours = picture(&[]);
    let plain = picture(&["--no-legend"]);
    assert_eq!(colours.dimensions(), (44, 28));
    let differ = |x: u32, y: u32| colours.get_pixel(x, y) != plain.get_pixel(x, y);
    assert!((0..28).all(|y| (0..20).all(|x| !differ(x, y))), "the legend lies to the right");
    assert!((14..28).any(|y| (22..44).any(|x| differ(x, y))), "there is a legend");
    assert_ne!(picture(&["--no-legend", "--colours", "middlebury"]), plain);

    let arrows = picture(&["--no-legend", "--format", "arrows"]);
    let frame = pixels(&first);
    assert_eq!(arrows.dimensions(), (44, 28));
    assert!(arrows != frame && arrows != plain);
    let kept = arrows.pixels().zip(frame.pixels()).filter(|(one, other)| one == other).count();
    assert!(kept > 44 * 28 / 4, "{kept} pixels of the frame are left");

    let both = picture(&["--no-legend", "--format", "side-by-side"]);
    assert_eq!(both.dimensions(), (88, 28));
    for (x, y, pixel) in both.enumerate_pixels() {
        let expected = if x < 44 { frame.get_pixel(x, y) } else { plain.get_pixel(x - 44, y) };
        assert_eq!(pixel, expected, "at {x}, {y}");
    }
}

#[test]
fn a_folder_of_frames_becomes_a_folder_for_every_form() {
    let scene = Scene::new();
    let (frames, flows) = (scene.path("frames"), scene.path("flows"));
    fs::create_dir(&frames).unwrap();
    for name in ["frames/9.png", "frames/10.png", "frames/11.png"] {
        scene.tile(name);
    }
    let run =
        scene.flow(arguments![&frames, "-o", &flows, "--format", "flo,colours,arrows", "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    let found = documents(&run);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["frames"], json!([frames.join("9.png"), frames.join("10.png")]));
    assert_eq!(listing(&flows), ["arrows", "colours", "flo"]);
    assert_eq!(listing(&flows.join("flo")), ["10.flo", "9.flo"]);
    assert_eq!(listing(&flows.join("colours")), ["10.png", "9.png"]);

    // A single form needs no folder of its own.
    let single = scene.path("single");
    assert_eq!(scene.flow(arguments![&frames, "-o", &single]).code, 0);
    assert_eq!(listing(&single), ["10.png", "9.png"]);
    let colours = pixels(&flows.join("colours/9.png"));
    assert_eq!(pixels(&single.join("9.png")), colours);
}

#[test]
fn videos_are_read_and_written_frame_by_frame() {
    let scene = Scene::new();
    let frames: Vec<_> = ["1.png", "2.png", "3.png", "4.png"].map(|name| scene.tile(name)).into();
    let (clip, again) = (scene.path("clip.gif"), scene.path("again"));
    let mut command = arguments!["-o", &clip, "--format", "colours", "--no-legend", "--fps", "5"];
    command.extend(frames.iter().map(OsString::from));
    let run = scene.flow(command);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(run.stdout.lines().filter(|line| line.contains(".png to ")).count(), 3);

    // Three frames of flow have two flows between them.
    let run = scene.flow(arguments![&clip, "-o", &again, "--format", "flo"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(listing(&again), ["000001.flo", "000002.flo"]);

    let both = scene.path("both.gif");
    assert_eq!(scene.flow(arguments![&clip, "-o", &both]).code, 0);
    assert_eq!(pixels(&both).dimensions(), (2 * TILE[1], TILE[0]));
}

#[test]
fn a_bad_frame_costs_its_pairs_only() {
    let scene = Scene::new();
    let frames: Vec<_> =
        ["1.png", "2.png", "3.png", "4.png", "5.png"].map(|name| scene.tile(name)).into();
    fs::write(&frames[2], "no image").unwrap();
    let flows = scene.path("flows");
    let mut command = arguments!["-o", &flows, "--format", "flo"];
    command.extend(frames.iter().map(OsString::from));
    let run = scene.flow(command);
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(listing(&flows), ["1.flo", "4.flo"]);
    let lines: BTreeSet<_> = run.stderr.lines().collect();
    let errors = lines.iter().filter(|line| line.contains("3.png: cannot read the image"));
    assert_eq!(errors.count(), 2, "{}", run.stderr);
    assert!(run.stderr.contains("perceiver: error: 2 of 4 inputs failed"), "{}", run.stderr);
}

#[test]
fn smaller_frames_are_padded_where_that_is_wanted() {
    let scene = Scene::new();
    let (first, second) = (scene.frame("a.png", 20, 16), scene.frame("b.png", 20, 16));
    let out = scene.path("out.flo");
    let words = ["20x16 pixels, expected at least 32x24", "--pad"];
    scene.refuses(arguments![&first, &second, "-o", &out], &words);
    assert_eq!(scene.flow(arguments![&first, &second, "-o", &out, "--pad"]).code, 0);
    let (width, height, _) = read_flo(&out);
    assert_eq!((width, height), (20, 16));
}

#[test]
fn levels_and_passes_are_those_asked_for_as_far_as_frames_hold_a_tile() {
    let scene = Scene::new();
    let (first, second) = (scene.frame("a.png", 48, 36), scene.frame("b.png", 48, 36));
    let out = scene.path("out.flo");
    let flow = |more: &[&str]| {
        let mut command = arguments![&first, &second, "-o", &out, "--force"];
        command.extend(more.iter().map(OsString::from));
        let run = scene.flow(command);
        assert_eq!(run.code, 0, "{run:?}");
        read_flo(&out)
    };
    // The model's configuration does not name its largest motion.
    let once = flow(&[]);
    assert_eq!(flow(&["--levels", "1"]), once);
    assert_eq!(flow(&["--levels", "1", "--passes", "1"]), once);
    let (width, height, coarse_to_fine) = flow(&["--levels", "2"]);
    assert_eq!((width, height), (48, 36));
    assert!(coarse_to_fine != once.2 && coarse_to_fine.iter().all(|number| number.is_finite()));
    assert_ne!(flow(&["--levels", "2", "--passes", "2"]).2, coarse_to_fine);
    assert_eq!(flow(&["--levels", "18446744073709551615"]).2, coarse_to_fine);
    assert_ne!(flow(&["--passes", "2"]).2, once.2);

    let refuses = |more: &[&str], words: &[&str]| {
        let mut command = arguments![&first, &second, "-o", scene.path("other.flo")];
        command.extend(more.iter().map(OsString::from));
        scene.refuses(command, words);
    };
    refuses(&["--levels", "0"], &["--levels", "1.."]);
    refuses(&["--levels", "1e9"], &["--levels"]);
    refuses(&["--passes=-1"], &["--passes"]);
    refuses(&["--passes", "18446744073709551615"], &["--passes", "1..=100"]);
}

#[test]
fn identical_frames_have_no_motion_and_hide_nothing() {
    let scene = Scene::new();
    let (frame, flows) = (scene.frame("a.png", 48, 36), scene.path("flows"));
    let mut command = arguments![&frame, &frame, "-o", &flows, "--format", "flo,occlusion"];
    command.extend(arguments!["--levels", "2", "--mark-hidden"]);
    let run = scene.flow(command);
    assert_eq!(run.code, 0, "{run:?}");
    let (_, _, numbers) = read_flo(&flows.join("flo/a.flo"));
    assert!(numbers.iter().all(|&number| number == 0.0));
    let hidden = pixels(&flows.join("occlusion/a.png"));
    assert_eq!(hidden.dimensions(), (48, 36));
    assert!(hidden.iter().all(|&level| level == 0));
}

/// The model is untrained, so its two flows disagree: almost every pixel counts as hidden.
#[test]
fn hidden_pixels_are_unknown_in_files_of_numbers_if_asked() {
    let scene = Scene::new();
    let (first, second) = (scene.tile("a.png"), scene.tile("b.png"));
    let (plain, flows) = (scene.path("plain.flo"), scene.path("flows"));
    assert_eq!(scene.flow(arguments![&first, &second, "-o", &plain]).code, 0);
    let mut command = arguments![&first, &second, "-o", &flows, "--mark-hidden"];
    command.extend(arguments!["--format", "flo,kitti,occlusion"]);
    let run = scene.flow(command);
    assert_eq!(run.code, 0, "{run:?}");
    let hidden = pixels(&flows.join("occlusion/a.png"));
    let (plain, marked) = (read_flo(&plain).2, read_flo(&flows.join("flo/a.flo")).2);
    let kitti = perceiver_data::flow::read_flow(flows.join("kitti/a.png")).unwrap();
    assert!(hidden.contains(&255));
    for (index, (vector, marked)) in plain.chunks(2).zip(marked.chunks(2)).enumerate() {
        let (x, y) = (index as u32 % TILE[1], index as u32 / TILE[1]);
        let is_hidden = hidden.get_pixel(x, y).0[0] == 255;
        assert_eq!(kitti.known[[y as usize, x as usize]], !is_hidden, "{x}, {y}");
        if is_hidden {
            // Middlebury's number for unknown motion.
            assert_eq!(marked, [1e10; 2], "{x}, {y}");
        } else {
            assert_eq!(marked, vector, "{x}, {y}");
        }
    }
    let out = scene.path("out.png");
    scene.refuses(
        arguments![&first, &second, "-o", &out, "--mark-hidden"],
        &["--mark-hidden", "expected -o *.flo or --format flo or kitti"],
    );
}

#[test]
fn frames_are_written_with_others_between_them() {
    let scene = Scene::new();
    let frames = ["1.png", "2.png", "3.png"].map(|name| scene.tile(name));
    let (folder, clip) = (scene.path("slow"), scene.path("slow.gif"));
    let command = |out: &Path| {
        let mut command = arguments!["-o", out, "--interpolate", "2"];
        command.extend(frames.iter().map(OsString::from));
        command
    };
    let run = scene.flow(command(&folder));
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("slow: 7 frames"), "{}", run.stdout);
    let written: Vec<_> = (1..=7).map(|index| format!("{index:06}.png")).collect();
    assert_eq!(listing(&folder), written);
    for (index, frame) in frames.iter().enumerate() {
        assert_eq!(pixels(&folder.join(&written[3 * index])), pixels(frame));
    }
    assert_eq!(scene.flow(command(&clip)).code, 0);
    assert_eq!(pixels(&clip).dimensions(), (TILE[1], TILE[0]));

    // A shorter clip leaves no frames of the longer one behind.
    let mut shorter = arguments!["-o", &folder, "--interpolate", "1", "--force"];
    shorter.extend(frames.iter().map(OsString::from));
    assert_eq!(scene.flow(shorter).code, 0);
    assert_eq!(listing(&folder), written[..5]);

    // A frame that cannot be read leaves a gap, and nothing else.
    let broken = scene.path("broken.png");
    fs::write(&broken, "no image").unwrap();
    let gap = scene.path("gap");
    let mut command = arguments!["-o", &gap, "--interpolate", "1", &frames[0], &frames[1]];
    command.extend(arguments![&broken, &frames[2], &frames[0]]);
    assert_eq!(scene.flow(command).code, 1);
    assert_eq!(listing(&gap), written[..6]);
    for (index, frame) in [(0, 0), (2, 1), (3, 2), (5, 0)] {
        assert_eq!(pixels(&gap.join(&written[index])), pixels(&frames[frame]), "{index}");
    }

    // The same frame twice has nothing new between.
    let same = scene.path("same");
    let mut command = arguments![&frames[0], &frames[0], "-o", &same, "--interpolate", "1"];
    command.extend(arguments!["--levels", "2"]);
    assert_eq!(scene.flow(command).code, 0);
    assert_eq!(pixels(&same.join("000002.png")), pixels(&frames[0]));

    let refuses = |out: &str, more: &[&str], words: &[&str]| {
        let mut command = arguments![&frames[0], &frames[1], "-o", scene.path(out)];
        command.extend(more.iter().map(OsString::from));
        scene.refuses(command, words);
    };
    refuses("other", &["--interpolate", "0"], &["--interpolate", "1..=1000"]);
    refuses("other", &["--interpolate", "2", "--format", "flo"], &["--interpolate", "--format"]);
    refuses("other.flo", &["--interpolate", "2"], &["other.flo"]);
}

/// Frames at rest: the flow is exactly zero.
#[test]
fn points_are_followed_into_a_table_and_into_pictures() {
    let scene = Scene::new();
    let frame = scene.frame("a.png", 48, 36);
    let (table, folder) = (scene.path("points.csv"), scene.path("drawn"));
    let command = |out: &Path| {
        let mut command = arguments![&frame, &frame, &frame, "-o", out, "--levels", "2"];
        command.extend(arguments!["--track", "10,20.5", "--track", "0,35"]);
        command
    };
    let run = scene.flow(command(&table));
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("points.csv: 3 frames"), "{}", run.stdout);
    let expected = "frame,point,x,y\n1,1,10.00,20.50\n1,2,0.00,35.00\n2,1,10.00,20.50\n\
        2,2,0.00,35.00\n3,1,10.00,20.50\n3,2,0.00,35.00\n";
    assert_eq!(fs::read_to_string(&table).unwrap(), expected);
    assert_eq!(scene.flow(command(&folder)).code, 0);
    assert_eq!(listing(&folder), ["000001.png", "000002.png", "000003.png"]);
    let (drawn, plain) = (pixels(&folder.join("000003.png")), pixels(&frame));
    assert_ne!(drawn.get_pixel(10, 20), plain.get_pixel(10, 20));
    assert_eq!(drawn.get_pixel(40, 5), plain.get_pixel(40, 5));

    let refuses = |out: &str, point: &str, words: &[&str]| {
        let mut command = arguments![&frame, &frame, "-o", scene.path(out), "--levels", "2"];
        command.extend(arguments!["--track", point]);
        scene.refuses(command, words);
    };
    refuses("no.csv", "48,3", &["--track 48,3", "outside the frames' 48x36 pixels"]);
    refuses("no.csv", "4", &["--track", "expected X,Y in pixels"]);
    refuses("no.csv", "nan,4", &["--track", "expected X,Y in pixels"]);
    refuses("no.flo", "4,4", &["no.flo"]);
}

#[test]
fn input_other_than_pairs_of_frames_is_refused() {
    let scene = Scene::new();
    let (first, second) = (scene.tile("a.png"), scene.tile("b.png"));
    let wide = scene.frame("wide.png", 33, 24);
    let text = scene.path("text.png");
    fs::write(&text, "no image").unwrap();
    fs::create_dir(scene.path("empty")).unwrap();
    fs::create_dir(scene.path("one")).unwrap();
    scene.tile("one/1.png");
    let out = scene.path("out.flo");
    let refuses = |frames: &[&Path], words: &[&str]| {
        let mut command = arguments!["-o", &out];
        command.extend(frames.iter().map(OsString::from));
        scene.refuses(command, words);
    };
    refuses(&[&first, &wide], &["a.png to ", "32x24 and 33x24 pixels, expected one size"]);
    refuses(&[&first, &text], &["text.png: cannot read the image"]);
    refuses(&[&first, &scene.path("gone.png")], &["gone.png: does not exist"]);
    refuses(&[&first], &["a.png", "a single image"]);
    refuses(&[&scene.path("one")], &["1.png: is one frame, expected two or more"]);
    refuses(&[&scene.path("empty")], &["empty", "holds no image"]);
    refuses(&[&first, &scene.path("one")], &["one: is a folder"]);
    let command = arguments!["flow", "--model", fixture("masked_lm"), &first, &second, "-o", &out];
    let run = run(command);
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("holds a PerceiverForMaskedLM, expected a PerceiverForOpticalFlow")
    );
}

#[test]
fn output_that_cannot_be_is_refused_before_any_work() {
    let scene = Scene::new();
    let (first, second) = (scene.tile("a.png"), scene.tile("b.png"));
    let there = scene.path("there.flo");
    fs::write(&there, "mine").unwrap();
    let full = scene.path("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine"), "").unwrap();
    let refuses = |output: &Path, more: &[&str], words: &[&str]| {
        let mut command = arguments![&first, &second, "-o", output];
        command.extend(more.iter().map(OsString::from));
        scene.refuses(command, words);
    };
    refuses(&there, &[], &["there.flo: exists; --force replaces it"]);
    refuses(&full, &[], &["full: is not empty; --force"]);
    refuses(&scene.path("no/out.flo"), &[], &["cannot write", "does not exist"]);
    refuses(&there.join("out"), &[], &["there.flo"]);
    refuses(&scene.path("out.jpg"), &[], &["unknown extension .jpg, expected .flo, .png"]);
    refuses(&scene.path("out.gif"), &["--format", "kitti"], &["does not support the form kitti"]);
    refuses(
        &scene.path("out.flo"),
        &["--format", "colours"],
        &["does not support the form colours"],
    );
    refuses(&scene.path("out.png"), &["--format", "kitti,colours"], &["expected a folder"]);
    refuses(&scene.path("out.png"), &["--max-motion", "0"], &["--max-motion", "more than 0"]);
    refuses(&scene.path("out.gif"), &["--fps", "0"], &["0 frames per second"]);
    let third = scene.tile("c.png");
    let three = arguments![&first, &second, &third, "-o", scene.path("out.flo")];
    scene.refuses(three, &["out.flo: holds the flow of two frames, expected a folder or a video"]);
    fs::create_dir(scene.path("other")).unwrap();
    let twice = arguments![&first, scene.tile("other/a.png"), &second, "-o", scene.path("out")];
    scene.refuses(twice, &["two frames are named a"]);
    assert_eq!(fs::read(&there).unwrap(), b"mine");
    let run = scene.flow(arguments![&first, &second, "-o", &there, "--force"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(read_flo(&there).0, TILE[1]);
}

#[test]
fn ground_truth_that_does_not_fit_is_refused() {
    let scene = Scene::new();
    let (first, second, third) = (scene.tile("a.png"), scene.tile("b.png"), scene.tile("c.png"));
    let truth = scene.path("truth.flo");
    let command = || arguments![&first, &second, "--ground-truth", &truth];
    write_flo(&truth, 3, 2, &[0.0; 12]);
    scene.refuses(command(), &["truth.flo: is 3x2 pixels, expected the frames' 32x24"]);
    write_flo(&truth, 3, 2, &[1e10; 12]);
    scene.refuses(command(), &["truth.flo: no pixel is known"]);
    write_flo(&truth, 3, 2, &[0.0; 11]);
    scene.refuses(command(), &["truth.flo: is 56 bytes long, 3x2 pixels make 60"]);
    let frame = arguments![&first, &second, "--ground-truth", &first];
    scene.refuses(frame, &["a.png: is a PNG of Rgb8 pixels, expected KITTI's Rgb16"]);
    let three = arguments![&first, &second, &third, "--ground-truth", &truth];
    scene.refuses(three, &["is the flow of two frames"]);
    scene.refuses(arguments![&first, &second], &["--output"]);
}
