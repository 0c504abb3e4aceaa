//! Videos with sound, reconstructed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::RgbImage;
use perceiver_data::{Sound, VideoFormat, VideoWriter, read_frames, read_sound, read_video_sound};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::evaluate::recipe;
use crate::support::{Floats, Run, arguments, copy, fixture, listing, program, read, run};

/// Sample rate that goes with the fixture's 40 samples per frame.
const SAMPLE_RATE: u32 = 1000;

/// The reference's video, its reconstruction, and the model.
pub(crate) struct Reference {
    pub(crate) model: PathBuf,
    pub(crate) frames: PathBuf,
    pub(crate) sound: PathBuf,
    outputs: std::collections::BTreeMap<String, Floats>,
}

pub(crate) fn reference(folder: &Path) -> Reference {
    let fixtures = fixture("../autoencode");
    let model = copy("multimodal", folder);
    fs::copy(fixtures.join("config.json"), model.join("config.json")).unwrap();
    let inputs = read(&fixtures.join("inputs.safetensors"));
    let (frames, sound) = (folder.join("frames"), folder.join("in.wav"));
    fs::create_dir(&frames).unwrap();
    for (index, levels) in inputs["frames"].values.chunks(24 * 24 * 3).enumerate() {
        let levels = levels.iter().map(|&level| level as u8).collect();
        let frame = RgbImage::from_raw(24, 24, levels).unwrap();
        // Numbers of different lengths, whose order differs from that of their characters.
        frame.save(frames.join(format!("{}.png", index + 8))).unwrap();
    }
    let samples = inputs["sound"].values.iter().map(|sample| sample / 32_768.0).collect();
    Sound { samples, rate: SAMPLE_RATE }.write_wav(&sound).unwrap();
    Reference { model, frames, sound, outputs: read(&fixtures.join("outputs.safetensors")) }
}

/// Returns true if tests of ffmpeg should run.
pub(crate) fn has_ffmpeg() -> bool {
    let is_installed = Command::new("ffmpeg").arg("-version").output().is_ok();
    assert!(is_installed || std::env::var_os("CI").is_none(), "CI is to have ffmpeg");
    is_installed
}

/// The command with further arguments.
pub(crate) fn autoencode(model: &Path, video: &Path, output: &Path, more: &[&str]) -> Run {
    let mut command = arguments!["autoencode", "--model", model, video, "-o", output];
    command.extend(more.iter().map(Into::into));
    run(command)
}

#[track_caller]
fn assert_close(found: &Value, expected: f32) {
    let found = found.as_f64().unwrap();
    let distance = (found - f64::from(expected)).abs();
    assert!(distance < 1e-4, "{found} is not {expected}");
}

#[test]
fn a_shorter_video_leaves_no_frame_of_a_longer_one() {
    let folder = tempdir().unwrap();
    let Reference { model, frames, .. } = reference(folder.path());
    let output = folder.path().join("out");
    fs::create_dir(&output).unwrap();
    for name in ["000001.png", "000099.png", "sound.wav", "notes.txt", "99.png"] {
        fs::write(output.join(name), "older").unwrap();
    }
    let count = listing(&frames).len();
    assert_eq!(autoencode(&model, &frames, &output, &["--force", "--quiet"]).code, 0);
    let mut expected: Vec<_> = (1..=count).map(|number| format!("{number:06}.png")).collect();
    expected.extend(["99.png", "notes.txt"].map(str::to_owned));
    assert_eq!(listing(&output), expected);
}

/// For one whole clip, which both give the model.
#[test]
fn evaluation_finds_the_psnr_that_autoencode_prints() {
    let folder = tempdir().unwrap();
    let Reference { model, frames, sound, .. } = reference(folder.path());
    for number in 11..13 {
        fs::remove_file(frames.join(format!("{number}.png"))).unwrap();
    }
    fs::rename(sound, frames.join("sound.wav")).unwrap();
    let printed = autoencode(&model, &frames, &folder.path().join("out"), &["--json"]).json();
    let evaluation = run(arguments!["evaluate", &model, &frames, "--json"]).json();
    assert_eq!(evaluation["examples"], 1);
    let measures = &evaluation["measures"];
    assert_close(&measures["picture PSNR"], printed["picture_psnr"].as_f64().unwrap() as f32);
    assert_close(&measures["sound PSNR"], printed["sound_psnr"].as_f64().unwrap() as f32);
    assert!(evaluation["mean_frame_and_silence"]["picture PSNR"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_classes_of_a_recipes_videos_are_measured() {
    let folder = tempdir().unwrap();
    let Reference { model, frames, .. } = reference(folder.path());
    fs::copy(frames.join("12.png"), frames.join("13.png")).unwrap();
    let path = folder.path().join("recipe.toml");
    // Half of the six frames are held out: one clip.
    let evaluate = |label: usize| {
        let data = format!(
            "kind = \"videos\"\nfiles = [\"frames\"]\nlabels = [{label}]\nstride = 3\n\
             held_out_seconds = 0.12\npixels = 1\nsound_patches = 1"
        );
        recipe(&path, "PerceiverForMultimodalAutoencoding", &data);
        run(arguments!["evaluate", &model, &path, "--data", folder.path(), "--json"])
    };
    let right = |label| evaluate(label).json()["measures"]["accuracy"].as_f64().unwrap();
    assert_close(&json!((0..5).map(right).sum::<f64>()), 100.0);
    let refused = evaluate(5);
    let expected = "recipe.toml: `data.labels` holds 5, the model has 5 classes";
    assert!(refused.code == 2 && refused.stderr.contains(expected), "{refused:?}");
}

#[test]
fn whole_clips_are_those_that_the_reference_decodes_part_by_part() {
    let folder = tempdir().unwrap();
    let Reference { model, frames, sound, outputs } = reference(folder.path());
    let output = folder.path().join("out");
    let more = ["--audio", sound.to_str().unwrap(), "--json"];
    let answer = autoencode(&model, &frames, &output, &more).json();

    assert_eq!([&answer["frames"], &answer["seconds"]], [&json!(5), &json!(0.2)]);
    assert_close(&answer["picture_psnr"], outputs["image_psnr"].values[0]);
    assert_close(&answer["sound_psnr"], outputs["audio_psnr"].values[0]);
    let probabilities: Vec<&[f32]> = outputs["label"].values.chunks(5).collect();
    assert_eq!(answer["clips"].as_array().unwrap().len(), 2);
    for (clip, probabilities) in answer["clips"].as_array().unwrap().iter().zip(&probabilities) {
        for label in clip.as_array().unwrap() {
            assert_close(&label["score"], probabilities[label["index"].as_u64().unwrap() as usize]);
        }
    }
    let mut last = f64::INFINITY;
    for label in answer["labels"].as_array().unwrap() {
        let index = label["index"].as_u64().unwrap() as usize;
        assert_eq!(label["label"], format!("LABEL_{index}"));
        assert_close(&label["score"], (probabilities[0][index] + probabilities[1][index]) / 2.0);
        assert!(label["score"].as_f64().unwrap() <= last);
        last = label["score"].as_f64().unwrap();
    }

    let found = read_frames(&output).unwrap();
    let levels: Vec<u8> = found.flat_map(|frame| frame.unwrap().into_raw()).collect();
    assert_eq!(levels.len(), outputs["image"].values.len());
    for (level, colour) in levels.iter().zip(&outputs["image"].values) {
        let distance = (f32::from(*level) - 255.0 * colour).abs();
        assert!(distance < 0.5 + 255.0 * 1e-4, "{level} is not 255 times {colour}");
    }
    let found = read_sound(output.join("sound.wav")).unwrap();
    assert_eq!((found.samples.len(), found.rate), (200, SAMPLE_RATE));
    for (sample, expected) in found.samples.iter().zip(&outputs["audio"].values) {
        assert!((sample - expected.clamp(-1.0, 1.0)).abs() < 1e-4, "{sample} is not {expected}");
    }
}

#[test]
fn endings_choose_what_is_written() {
    let folder = tempdir().unwrap();
    let Reference { model, frames, sound, .. } = reference(folder.path());
    let (gif, wav) = (folder.path().join("out.gif"), folder.path().join("out.wav"));
    let more = ["--audio", sound.to_str().unwrap()];
    let run = autoencode(&model, &frames, &gif, &more);
    assert!(run.stderr.contains("this format does not support sound"), "{}", run.stderr);
    assert!(run.stdout.contains("out.gif: 5 frames in 2 clips, 0.20 s"), "{}", run.stdout);
    assert!(run.stdout.contains("dB  PSNR of the sound"), "{}", run.stdout);
    assert_eq!(read_frames(&gif).unwrap().count(), 5);
    assert_eq!(autoencode(&model, &frames, &wav, &more).code, 0);
    assert_eq!(read_sound(&wav).unwrap().samples.len(), 200);
}

#[test]
fn a_video_without_sound_is_given_silence_and_says_so() {
    let folder = tempdir().unwrap();
    let Reference { model, frames, .. } = reference(folder.path());
    let output = folder.path().join("out");
    let run = autoencode(&model, &frames, &output, &["--json"]);
    assert!(run.stderr.contains("no sound: the model heard silence"), "{}", run.stderr);
    assert_eq!(run.json()["sound_psnr"], Value::Null);
    assert!(!output.join("sound.wav").exists());
}

#[test]
fn sound_of_another_rate_or_length_is_fitted_and_that_is_said() {
    let folder = tempdir().unwrap();
    let Reference { model, frames, .. } = reference(folder.path());
    let sound = folder.path().join("long.wav");
    Sound { samples: vec![0.1; 4000], rate: 2000 }.write_wav(&sound).unwrap();
    let output = folder.path().join("out.wav");
    let run = autoencode(&model, &frames, &output, &["--audio", sound.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{run:?}");
    let resampled = "sound resampled from 2000 to 1000 Hz";
    assert!(run.stderr.contains(resampled), "{}", run.stderr);
    let cut = "2.00 s of sound for 0.20 s of pictures: it was cut";
    assert!(run.stderr.contains(cut), "{}", run.stderr);
    assert_eq!(read_sound(&output).unwrap().samples.len(), 200);
}

#[test]
fn videos_of_another_rate_are_shown_by_time() {
    let folder = tempdir().unwrap();
    let Reference { model, .. } = reference(folder.path());
    let gif = folder.path().join("slow.gif");
    let mut writer = VideoWriter::create(&gif, VideoFormat::Gif, 10.0).unwrap();
    (0..2).for_each(|_| writer.write(&RgbImage::new(9, 5)).unwrap());
    writer.finish(None).unwrap();
    let run = autoencode(&model, &gif, &folder.path().join("out"), &["--json"]);
    let note = "10.00 frames per second resampled to 25";
    assert!(run.stderr.contains(note), "{}", run.stderr);
    assert_eq!(run.json()["frames"], 5);
}

#[test]
fn a_video_file_goes_in_and_comes_out_with_its_sound() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempdir().unwrap();
    let Reference { model, .. } = reference(folder.path());
    let (video, output) = (folder.path().join("-in.mp4"), folder.path().join("out.mp4"));
    let mut writer = VideoWriter::create(&video, VideoFormat::Mp4, 25.0).unwrap();
    (0..7).for_each(|_| writer.write(&RgbImage::new(40, 30)).unwrap());
    writer.finish(Some(&Sound { samples: vec![0.0; 13_440], rate: 48_000 })).unwrap();
    let run = autoencode(&model, &video, &output, &["--json"]);
    assert_eq!(run.json()["frames"], 7);
    assert!(run.json()["sound_psnr"].is_f64());
    let frames = read_frames(&output).unwrap();
    assert_eq!((frames.info().width, frames.info().height), (24, 24));
    assert_eq!(frames.count(), 7);
    assert!(read_video_sound(&output).unwrap().seconds() > 0.25);
}

#[cfg(unix)]
#[test]
fn an_interrupted_video_leaves_nothing() {
    let folder = tempdir().unwrap();
    let Reference { model, .. } = reference(folder.path());
    // So many frames that the interruption comes long before their end.
    let video = folder.path().join("long");
    fs::create_dir(&video).unwrap();
    RgbImage::new(1, 1).save(video.join("0.png")).unwrap();
    for index in 1..2000 {
        fs::hard_link(video.join("0.png"), video.join(format!("{index}.png"))).unwrap();
    }
    let ending = if has_ffmpeg() { "mp4" } else { "gif" };
    let output = folder.path().join("out");
    fs::create_dir(&output).unwrap();
    let mut child = program()
        .args(arguments!["autoencode", "--model", model, video, "-o"])
        .arg(output.join(format!("video.{ending}")))
        .spawn()
        .unwrap();
    while listing(&output).is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // Left alone, ffmpeg would finish what it began.
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(listing(&output), [""; 0]);
}

#[test]
fn without_ffmpeg_the_message_says_how_to_install_it() {
    let folder = tempdir().unwrap();
    let Reference { model, frames, .. } = reference(folder.path());
    let video = folder.path().join("clip.mp4");
    fs::write(&video, "any bytes").unwrap();
    let before = listing(folder.path());
    for (input, output, named) in [(&video, "out", "clip.mp4"), (&frames, "out.mp4", "out.mp4")] {
        let output = folder.path().join(output);
        let run: Run = program()
            .args(arguments!["autoencode", "--model", &model, input, "-o", output])
            .env("PATH", folder.path())
            .output()
            .unwrap()
            .into();
        assert_eq!(run.code, 2, "{run:?}");
        let start = format!("perceiver: error: {}", folder.path().join(named).display());
        let error = run.stderr.lines().last().unwrap();
        assert!(error.starts_with(&start), "{error}");
        assert!(error.contains("apt install ffmpeg, brew install ffmpeg"), "{error}");
    }
    assert_eq!(listing(folder.path()), before);
}

#[test]
fn what_cannot_be_reconstructed_is_refused_and_leaves_nothing() {
    let folder = tempdir().unwrap();
    let Reference { model, frames, sound, .. } = reference(folder.path());
    let uneven = folder.path().join("uneven");
    fs::create_dir(&uneven).unwrap();
    for (name, side) in [("1.png", 9), ("2.png", 9), ("3.png", 9), ("4.png", 8)] {
        RgbImage::new(side, 9).save(uneven.join(name)).unwrap();
    }
    let other_shape = copy("optical_flow", folder.path());
    let shapes = copy("multimodal", &folder.path().join("other"));
    let before = listing(folder.path());
    let output = folder.path().join("out.gif");
    for (model, video, expected) in [
        (&model, &uneven, "frame 3 has 8x9 pixels, expected the first one's 9x9"),
        (&model, &sound, "in.wav: cannot read the video: this is sound without pictures"),
        (&model, &model, "cannot read the video: it holds no image"),
        (&other_shape, &frames, "expected a PerceiverForMultimodalAutoencoding"),
        (&shapes, &frames, "`output_shape` ends in [3, 24, 16], expected the [3, 24, 24]"),
    ] {
        let run = autoencode(model, video, &output, &[]);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
        assert!(run.stderr.lines().last().unwrap().contains(expected), "{}", run.stderr);
    }
    let run = autoencode(&model, &frames, &folder.path().join("out.avi"), &[]);
    assert!(run.stderr.contains("unknown ending .avi"), "{}", run.stderr);
    let crowd = uneven.join("65535-channels.wav");
    let mut bytes = fs::read(&sound).unwrap();
    bytes[22..24].fill(255);
    fs::write(&crowd, bytes).unwrap();
    for audio in [uneven.join("1.png"), crowd] {
        let more = ["--audio", audio.to_str().unwrap()];
        let run = autoencode(&model, &frames, &output, &more);
        let start = format!("perceiver: error: {}: cannot read the sound: ", audio.display());
        assert!(run.stderr.starts_with(&start), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
    assert_eq!(listing(folder.path()), before);

    fs::write(&output, "mine").unwrap();
    let run = autoencode(&model, &frames, &output, &[]);
    assert!(run.stderr.contains("out.gif: exists; --force replaces it"), "{}", run.stderr);
    assert_eq!(fs::read_to_string(&output).unwrap(), "mine");
    assert_eq!(autoencode(&model, &frames, &output, &["--force"]).code, 0);
}

#[test]
fn an_autoencoder_gives_the_latents_of_every_clip() {
    let folder = tempdir().unwrap();
    let Reference { model, frames, sound, .. } = reference(folder.path());
    let (loud, nowhere) = (folder.path().join("loud"), folder.path().join("nowhere"));
    fs::create_dir(&loud).unwrap();
    for name in listing(&frames) {
        fs::copy(frames.join(&name), loud.join(&name)).unwrap();
    }
    fs::copy(&sound, loud.join("sound.wav")).unwrap();

    let output = folder.path().join("latents.safetensors");
    let videos = arguments![&frames, &nowhere, &frames, &loud];
    let command = arguments!["features", "--model", &model, "--pool", "none", "-o", &output];
    let run = run(command.into_iter().chain(videos).chain(arguments!["--json"]));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("nowhere"), "{}", run.stderr);
    let count = listing(&frames).len();
    let names = run.documents()[0]["inputs"].clone();
    let latents = read(&output).remove("features").unwrap();
    // Two clips each, the second of which is shorter.
    assert_eq!(latents.shape[0], 6);
    let names: Vec<_> = names.as_array().unwrap().iter().map(|name| name.as_str()).collect();
    let last = format!("{} frames 4 to {count}", loud.display());
    assert_eq!(names[5], Some(last.as_str()), "{names:?}");
    let videos: Vec<_> = latents.values.chunks(latents.values.len() / 3).collect();
    assert_eq!(videos[0], videos[1]);
    assert_ne!(videos[0], videos[2], "sound is heard");
}
