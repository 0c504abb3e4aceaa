//! Videos written and read again. What needs ffmpeg is tried where it is installed, and always in
//! CI.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::fs;
use std::path::Path;
use std::process::Command;

use image::{Rgb, RgbImage};
use perceiver_data::{
    Error, Sound, VideoFormat, VideoWriter, read_frames, read_sound, read_video_sound,
};

const RATE: f64 = 25.0;

/// Frames of one grey each, lighter and lighter.
fn greys(count: u8, (width, height): (u32, u32)) -> Vec<RgbImage> {
    (0..count).map(|at| RgbImage::from_pixel(width, height, Rgb([20 * at; 3]))).collect()
}

fn write(path: &Path, frames: &[RgbImage], sound: Option<&Sound>) -> Result<(), Error> {
    let mut writer = VideoWriter::create(path, VideoFormat::of(path)?, RATE)?;
    frames.iter().try_for_each(|frame| writer.write(frame))?;
    writer.finish(sound)
}

fn read(path: &Path) -> Vec<RgbImage> {
    read_frames(path).unwrap().collect::<Result<_, _>>().unwrap()
}

fn beep() -> Sound {
    let sample = |at: i32| (f64::from(at) * 0.05).sin() as f32 * 0.5;
    Sound { samples: (0..19_200).map(sample).collect(), rate: 48_000 }
}

/// Returns true if tests of ffmpeg should run.
fn has_ffmpeg() -> bool {
    let is_installed = Command::new("ffmpeg").arg("-version").output().is_ok();
    assert!(is_installed || std::env::var_os("CI").is_none(), "CI is to have ffmpeg");
    is_installed
}

#[track_caller]
fn assert_greys(found: &[RgbImage], expected: &[RgbImage], levels: u8) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.dimensions(), expected.dimensions());
        let is_close = |(one, other): (&u8, &u8)| one.abs_diff(*other) <= levels;
        assert!(found.iter().zip(expected.iter()).all(is_close), "{found:?}");
    }
}

#[test]
fn a_folder_of_frames_comes_back_with_its_sound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames");
    let frames: Vec<_> =
        (0..12).map(|at| RgbImage::from_fn(5, 3, |x, y| Rgb([at, x as u8, y as u8]))).collect();
    write(&path, &frames, Some(&beep())).unwrap();
    assert_eq!(read(&path), frames);
    let info = read_frames(&path).unwrap().info().clone();
    assert_eq!((info.frames, info.frames_per_second, info.has_sound), (Some(12), None, true));
    let found = read_video_sound(&path).unwrap();
    assert_eq!((found.samples.len(), found.rate), (19_200, 48_000));
}

#[test]
fn an_animated_gif_comes_back_with_its_rate() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.gif");
    let frames = greys(3, (8, 6));
    write(&path, &frames, None).unwrap();
    assert_eq!(read(&path), frames);
    assert_eq!(read_frames(&path).unwrap().info().frames_per_second, Some(RATE));
}

#[test]
fn frames_of_another_size_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, side) in [("1.png", 4), ("2.png", 4), ("10.png", 5)] {
        RgbImage::new(side, 4).save(folder.path().join(name)).unwrap();
    }
    let mut frames = read_frames(folder.path()).unwrap();
    assert!(frames.next().unwrap().is_ok() && frames.next().unwrap().is_ok());
    let message = frames.next().unwrap().unwrap_err().to_string();
    assert!(message.contains("frame 2 has 5x4 pixels, expected the first one's 4x4"), "{message}");
    assert!(frames.next().is_none());

    let gif = folder.path().join("clip.gif");
    let mut writer = VideoWriter::create(&gif, VideoFormat::Gif, RATE).unwrap();
    writer.write(&RgbImage::new(4, 4)).unwrap();
    assert!(matches!(writer.write(&RgbImage::new(4, 5)), Err(Error::FrameSize { index: 1, .. })));
}

#[test]
fn a_damaged_frame_is_named_and_the_last() {
    let folder = tempfile::tempdir().unwrap();
    RgbImage::new(4, 4).save(folder.path().join("1.png")).unwrap();
    fs::write(folder.path().join("2.png"), "no image").unwrap();
    RgbImage::new(4, 4).save(folder.path().join("3.png")).unwrap();
    let found: Vec<_> = read_frames(folder.path()).unwrap().collect();
    assert_eq!(found.len(), 2);
    assert!(found[1].as_ref().unwrap_err().to_string().contains("2.png: cannot read the image"));
}

#[test]
fn files_that_are_no_video_say_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    beep().write_wav(path("sound.wav")).unwrap();
    RgbImage::new(4, 4).save(path("photo.png")).unwrap();
    fs::write(path("empty.mp4"), "").unwrap();
    for (name, expected) in [
        ("sound.wav", "this is sound without pictures"),
        ("photo.png", "this is a single image"),
        ("empty.mp4", "this is an empty file"),
        ("absent.mp4", "cannot read"),
    ] {
        let message = read_frames(path(name)).unwrap_err().to_string();
        let start = path(name).display().to_string();
        assert!(message.starts_with(&start) && message.contains(expected), "{message}");
    }
}

/// A GIF of two white frames of one pixel, each shown for so many hundredths of a second.
fn gif(hundredths: [u16; 2]) -> Vec<u8> {
    let mut file = b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\0\0\0".to_vec();
    for time in hundredths {
        file.extend([b'!', 0xf9, 4, 0]);
        file.extend(time.to_le_bytes());
        file.extend(b"\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0");
    }
    file.push(b';');
    file
}

#[test]
fn frames_of_over_a_minute_are_refused_where_time_matters() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.gif");
    let count = || {
        let frames: Result<Vec<_>, _> = read_frames(&path).unwrap().at_rate(25.0).collect();
        frames.map(|frames| frames.len()).map_err(|error| error.to_string())
    };
    fs::write(&path, gif([6_000, 8])).unwrap();
    assert_eq!(count(), Ok(1_502));
    fs::write(&path, gif([4, u16::MAX])).unwrap();
    let expected = "cannot use the video: frame 1 lasts 655.4 s, expected at most 60";
    assert_eq!(count(), Err(format!("{}: {expected}", path.display())));
    assert_eq!(read(&path), vec![RgbImage::from_pixel(1, 1, Rgb([255; 3])); 2]);
}

#[test]
fn an_animation_of_more_than_an_hour_is_refused_where_time_matters() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.gif");
    let frames: Vec<u8> = (0..31)
        .flat_map(|_| gif([6_000, 6_000])[19..].strip_suffix(b";").unwrap().to_vec())
        .collect();
    fs::write(&path, [&gif([1, 1])[..19], &frames, b";"].concat()).unwrap();
    let message =
        read_frames(&path).unwrap().at_rate(25.0).next().unwrap().unwrap_err().to_string();
    let expected = "its frames last 3720 s in all, expected at most 3600";
    assert!(message.ends_with(expected), "{message}");
}

/// One byte is damaged between two frames, or the file ends inside of what introduces a frame.
#[test]
fn damage_after_some_frames_is_an_error_at_any_rate() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.gif");
    let whole = [&gif([4, 4])[..], &gif([4, 4])[19..]].concat();
    // The trailer in the middle goes away.
    let end = gif([4, 4]).len() - 1;
    let whole = [&whole[..end], &whole[end + 1..]].concat();
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let frames: Result<Vec<_>, _> = read_frames(&path).unwrap().at_rate(25.0).collect();
        frames.map(|frames| frames.len())
    };
    assert_eq!(read(&whole).unwrap(), 4);
    let third = end;
    assert_eq!(whole[third], b'!');
    let mut damaged = whole.clone();
    damaged[third] = 1;
    assert!(read(&damaged).is_err());
    assert!(read(&whole[..third + 14]).is_err());
    // Without what only ends the file, nothing is missing.
    assert_eq!(read(&whole[..third]).unwrap(), 2);
}

#[test]
fn files_of_a_folder_that_are_not_frames_are_said_to_be_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["2.JPE", "1.jfif"] {
        RgbImage::new(4, 4).save_with_format(path(name), image::ImageFormat::Png).unwrap();
    }
    beep().write_wav(path("sound.wav")).unwrap();
    let video = read_frames(folder.path()).unwrap();
    assert_eq!(video.note(), None);
    assert_eq!(video.count(), 2);
    fs::write(path("3.heic"), "").unwrap();
    let video = read_frames(folder.path()).unwrap();
    let note = video.note().unwrap();
    assert!(note.ends_with("passed over, without the ending of an image: 3.heic"), "{note}");
}

#[test]
fn other_sounds_are_read_through_ffmpeg() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    beep().write_wav(path("beep.wav")).unwrap();
    for name in ["beep.aiff", "beep.au", "beep.m4a", "beep.opus", "beep.mka", "beep.wma"] {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-i"]).arg(path("beep.wav"));
        assert!(ffmpeg.arg(path(name)).status().unwrap().success());
        let found = read_sound(path(name)).unwrap();
        let seconds = found.seconds();
        assert!(found.rate == 48_000 && (0.38..0.47).contains(&seconds), "{name}: {seconds} s");
    }
    fs::write(path("text.wma"), "no sound").unwrap();
    let message = read_sound(path("text.wma")).unwrap_err().to_string();
    let expected = "not a WAV, FLAC, Ogg Vorbis or MP3 file (ffprobe: ";
    assert!(message.contains(expected) && !message.contains('\n'), "{message}");
}

/// Files that were cut or joined keep the number of frames of the first part.
#[test]
fn an_mp3_is_read_to_its_end_whatever_length_it_declares() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let long = Sound { samples: beep().samples.repeat(3), rate: 48_000 };
    long.write_wav(path("beep.wav")).unwrap();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(path("beep.wav")).arg(path("beep.mp3"));
    assert!(ffmpeg.status().unwrap().success());
    let whole = read_sound(path("beep.mp3")).unwrap();
    assert_eq!(whole.samples.len(), long.samples.len());
    let mut bytes = fs::read(path("beep.mp3")).unwrap();
    let tag = |name: &[u8]| bytes.windows(4).position(|window| window == name);
    let frames = tag(b"Xing").or(tag(b"Info")).unwrap() + 8;
    for count in [0_u32, 5, 1_000_000] {
        bytes[frames..frames + 4].copy_from_slice(&count.to_be_bytes());
        fs::write(path("other.mp3"), &bytes).unwrap();
        let found = read_sound(path("other.mp3")).unwrap().samples;
        // The padding shows, because nothing says where it begins.
        assert!((whole.samples.len()..whole.samples.len() + 4 * 1152).contains(&found.len()));
        assert_eq!(found[..whole.samples.len()], whole.samples);
    }
}

/// ffmpeg cannot go back to write sizes into a pipe.
#[test]
fn sounds_that_ffmpeg_wrote_to_a_pipe_are_read_to_their_end() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    beep().write_wav(path("beep.wav")).unwrap();
    let expected = read_sound(path("beep.wav")).unwrap();
    for (name, options) in [
        ("piped.wav", &["-f", "wav"][..]),
        ("long.wav", &["-f", "wav", "-rf64", "always"]),
        ("piped.flac", &["-f", "flac"]),
    ] {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-i"]).arg(path("beep.wav")).args(options).arg("-");
        let output = ffmpeg.output().unwrap();
        assert!(output.status.success());
        fs::write(path(name), output.stdout).unwrap();
        assert_eq!(read_sound(path(name)).unwrap(), expected, "{name}");
    }
}

#[test]
fn endings_choose_the_format() {
    assert_eq!(VideoFormat::of("a.b/clip").unwrap(), VideoFormat::Folder);
    assert_eq!(VideoFormat::of("clip.MP4").unwrap(), VideoFormat::Mp4);
    let message = VideoFormat::of("clip.avi").unwrap_err().to_string();
    assert!(message.contains(".avi, expected .mp4, .webp, .gif or a folder's name"), "{message}");
}

#[test]
fn nothing_is_written_that_cannot_be_played() {
    let folder = tempfile::tempdir().unwrap();
    let gif = folder.path().join("clip.gif");
    assert!(write(&gif, &[], None).unwrap_err().to_string().contains("no frames"));
    let frames = greys(1, (2, 2));
    let message = write(&gif, &frames, Some(&beep())).unwrap_err().to_string();
    assert!(message.contains("does not support sound"), "{message}");
    assert!(VideoWriter::create(&gif, VideoFormat::Gif, f64::NAN).is_err());
}

#[test]
fn an_mp4_comes_back_with_its_sound() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Neither an option nor a number of a series of files, and of a size that has to be filled up.
    let path = folder.path().join("-y 100% %03d 'ü'.mp4");
    let frames = greys(10, (33, 16));
    write(&path, &frames, Some(&beep())).unwrap();

    let found = read(&path);
    assert_eq!(found[0].dimensions(), (34, 16));
    let found: Vec<_> = found
        .iter()
        .map(|frame| image::imageops::crop_imm(frame, 0, 0, 32, 16).to_image())
        .collect();
    assert_greys(&found, &greys(10, (32, 16)), 3);
    let info = read_frames(&path).unwrap().info().clone();
    assert_eq!((info.frames_per_second, info.frames), (Some(RATE), Some(10)));
    assert!(info.has_sound);

    let sound = read_video_sound(&path).unwrap();
    assert_eq!(sound.rate, 48_000);
    let expected = beep().samples;
    // AAC fills up its last block.
    assert!((19_200..=21_248).contains(&sound.samples.len()), "{}", sound.samples.len());
    let error = |at: usize| (sound.samples[at] - expected[at]).abs();
    let mean = (2000..17_000).map(error).sum::<f32>() / 15_000.0;
    assert!(mean < 0.02, "{mean}");
}

#[test]
fn flac_ogg_and_mp3_are_read_without_ffmpeg() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    beep().write_wav(path("beep.wav")).unwrap();
    let expected = read_sound(path("beep.wav")).unwrap().samples;
    for (name, codec, largest) in [
        ("beep.flac", "flac", 0.0),
        ("beep.ogg", "libvorbis", 0.02),
        ("beep.mp3", "libmp3lame", 0.02),
    ] {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-i"]).arg(path("beep.wav"));
        assert!(ffmpeg.args(["-c:a", codec]).arg(path(name)).status().unwrap().success());
        let found = read_sound(path(name)).unwrap();
        assert_eq!((found.samples.len(), found.rate), (expected.len(), 48_000), "{name}");
        // Their ends are where lossy codecs are furthest off. One sample too late would be 0.016.
        let pairs = found.samples.iter().zip(&expected).skip(2000).take(15_000);
        let mean = pairs.map(|(one, other)| (one - other).abs()).sum::<f32>() / 15_000.0;
        assert!(mean <= largest, "{name}: {mean}");
    }
}

#[test]
fn colours_survive_an_mp4() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let colours = [[200, 40, 40], [40, 200, 40], [40, 40, 200], [200, 200, 40]];
    let frames = colours.map(|colour| RgbImage::from_pixel(32, 32, Rgb(colour)));
    write(&path, &frames, None).unwrap();
    assert_greys(&read(&path), &frames, 6);
    assert!(!read_frames(&path).unwrap().info().has_sound);
    let message = read_video_sound(&path).unwrap_err().to_string();
    assert!(message.contains("the video has no sound"), "{message}");
}

#[test]
fn an_animated_webp_comes_back_without_ffmpeg() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.webp");
    let frames = greys(4, (16, 16));
    write(&path, &frames, None).unwrap();
    assert_greys(&read(&path), &frames, 3);
    assert_eq!(read_frames(&path).unwrap().info().frames_per_second, Some(RATE));
}

/// A small animation is cut, and has a byte inverted, in every second place.
#[test]
fn a_damaged_animation_is_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let formats = if has_ffmpeg() { &["clip.gif", "clip.webp"][..] } else { &["clip.gif"] };
    for name in formats {
        let path = folder.path().join(name);
        write(&path, &greys(3, (6, 4)), None).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut changed = Vec::new();
        for at in (0..whole.len()).step_by(2) {
            changed.push(whole[..at].to_vec());
            let mut bytes = whole.clone();
            bytes[at] = !bytes[at];
            changed.push(bytes);
        }
        let (count, mut refused) = (changed.len(), 0);
        for bytes in changed {
            fs::write(&path, bytes).unwrap();
            let frames =
                read_frames(&path).and_then(|frames| frames.collect::<Result<Vec<_>, _>>());
            if let Err(error) = frames {
                assert!(error.to_string().contains(name), "{error}");
                refused += 1;
            }
        }
        assert!(refused > count / 4, "{name}: {refused} of {count} refused");
    }
}

#[test]
fn a_program_s_own_words_reach_the_user() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.mp4");
    fs::write(&path, "this is not a video, despite its name").unwrap();
    let message = read_frames(&path).unwrap_err().to_string();
    assert!(message.contains("cannot read the video: ffprobe: "), "{message}");
    assert!(!message.contains('\n'), "{message}");

    let path = folder.path().join("missing/clip.mp4");
    let frames = greys(2, (16, 16));
    let message = write(&path, &frames, None).unwrap_err().to_string();
    assert!(message.contains("cannot write the video: ffmpeg: "), "{message}");
}

#[test]
fn a_playlist_does_not_reach_the_network() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.m3u8");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let list = format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://{address}/a.ts\n#EXT-X-ENDLIST\n"
    );
    fs::write(&path, list).unwrap();
    assert!(read_frames(&path).is_err());
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
}

#[test]
fn a_video_can_be_left_in_the_middle() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    write(&path, &greys(10, (640, 480)), None).unwrap();
    // Far more than the pipe holds is still to come; dropping it must not wait for a reader.
    let mut frames = read_frames(&path).unwrap();
    assert!(frames.next().unwrap().is_ok());
}
