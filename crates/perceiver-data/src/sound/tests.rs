#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::f64::consts::TAU;
use std::fs;

use super::*;

fn wav(path: &Path, channels: u16, rate: u32, samples: &[i16]) {
    let spec = WavSpec {
        channels,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut writer = WavWriter::create(path, spec).unwrap();
    samples.iter().for_each(|&sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
}

#[test]
fn of_six_channels_the_first_is_read_as_parts_of_full_scale() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sound.wav");
    wav(&path, 6, 48_000, &[i16::MIN, 1, 2, 3, 4, 5, 16_384, 6, 7, 8, 9, 10, -1, 1, 1, 1, 1, 1]);
    let sound = read_sound(&path).unwrap();
    assert_eq!(sound, Sound { samples: vec![-1.0, 0.5, -1.0 / 32_768.0], rate: 48_000 });
}

#[test]
fn written_samples_are_read_again_and_loud_ones_clipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sound.wav");
    let samples = vec![0.25, -1.0, 2.0, -3.0, f32::NAN, 1.0 / 32_768.0];
    Sound { samples, rate: 16_000 }.write_wav(&path).unwrap();
    let loudest = 32_767.0 / 32_768.0;
    let samples = vec![0.25, -1.0, loudest, -1.0, 0.0, 1.0 / 32_768.0];
    assert_eq!(read_sound(&path).unwrap(), Sound { samples, rate: 16_000 });
}

/// `seconds` of a tone.
fn tone(hertz: f64, rate: u32, seconds: f64) -> Sound {
    let count = (f64::from(rate) * seconds) as usize;
    let sample = |at: usize| (0.5 * (TAU * hertz * at as f64 / f64::from(rate)).sin()) as f32;
    Sound { samples: (0..count).map(sample).collect(), rate }
}

#[test]
fn a_tone_keeps_its_pitch_its_place_and_its_loudness_at_another_rate() {
    for (from, to) in [(44_100, 48_000), (22_050, 48_000), (16_000, 48_000), (96_000, 48_000)] {
        let resampled = tone(440.0, from, 0.5).at_rate(to).unwrap();
        let expected = tone(440.0, to, 0.5);
        assert_eq!((resampled.samples.len(), resampled.rate), (expected.samples.len(), to));
        // The silence before and after the tone is heard at its ends.
        let margin = to as usize / 20;
        let middle = margin..expected.samples.len() - margin;
        for (found, expected) in
            resampled.samples[middle.clone()].iter().zip(&expected.samples[middle])
        {
            assert!((found - expected).abs() < 1e-3, "{from} to {to}: {found} is not {expected}");
        }
    }
}

#[test]
fn pitches_that_the_new_rate_cannot_hold_are_silent() {
    let resampled = tone(15_000.0, 48_000, 0.5).at_rate(16_000).unwrap();
    let middle = &resampled.samples[1000..resampled.samples.len() - 1000];
    assert!(middle.iter().all(|sample| sample.abs() < 1e-3));
}

#[test]
fn a_sound_at_its_own_rate_is_untouched() {
    let sound = tone(440.0, 48_000, 0.01);
    assert_eq!(sound.clone().at_rate(48_000).unwrap(), sound);
}

#[test]
fn an_absurd_rate_allocates_nothing() {
    let sound = |rate| Sound { samples: vec![0.0; 1000], rate };
    let message = |sound: Sound, rate| sound.at_rate(rate).unwrap_err().to_string();
    let expected = "cannot resample a sound from 4294967291 Hz to 48000 Hz: \
                    expected 1000 to 768000";
    assert_eq!(message(sound(4_294_967_291), 48_000), expected);
    assert!(sound(1).at_rate(48_000).is_err());
    assert!(sound(48_000).at_rate(0).is_err());
    let long = Sound { samples: vec![0.0; 2_000_000], rate: 1000 };
    assert!(message(long, 768_000).ends_with("more than 268435456 samples"));
}

#[track_caller]
fn refused(name: &str, bytes: &[u8], expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let message = read_sound(&path).unwrap_err().to_string();
    assert!(message.starts_with(&path.display().to_string()), "{message}");
    assert!(message.contains(expected) && !message.contains('\n'), "{message}");
}

#[test]
fn what_is_no_sound_is_refused_by_name() {
    let expected = "not a WAV, FLAC, Ogg Vorbis or MP3 file";
    refused("empty.wav", b"", expected);
    refused("text.wav", b"RIFF is what this file begins with, no more", expected);
    refused("photo.wav", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", expected);
}

#[test]
fn damaged_and_empty_sounds_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sound.wav");
    wav(&path, 1, 48_000, &[7; 10_000]);
    let whole = fs::read(&path).unwrap();
    refused("cut.wav", &whole[..5000], "early");
    refused("still.wav", &whole[..44], "");
    let mut fast = whole;
    fast[24..28].copy_from_slice(&3_000_000_000_u32.to_le_bytes());
    refused("fast.wav", &fast, "3000000000 samples per second");
}

#[test]
fn a_folder_is_no_sound() {
    let folder = tempfile::tempdir().unwrap();
    assert!(read_sound(folder.path()).is_err());
}

/// A WAV file of these chunks.
fn riff(kind: &[u8; 4], size: u32, chunks: &[&[u8]]) -> Vec<u8> {
    [kind, &size.to_le_bytes()[..], b"WAVE", &chunks.concat()].concat()
}

fn chunk(name: &[u8; 4], size: u32, body: &[u8]) -> Vec<u8> {
    [name, &size.to_le_bytes()[..], body].concat()
}

/// One channel of 16 bits at 8 kHz, with an extension.
fn format(kind: u16, extension: &[u8]) -> Vec<u8> {
    let mut body = kind.to_le_bytes().to_vec();
    body.extend([1, 0, 0x40, 0x1f, 0, 0, 0x80, 0x3e, 0, 0, 2, 0, 16, 0]);
    body.extend(extension);
    chunk(b"fmt ", body.len() as u32, &body)
}

const SAMPLES: [f32; 3] = [0.25, -0.5, 1.0 / 32_768.0];

fn samples() -> Vec<u8> {
    [8_192_i16, -16_384, 1].into_iter().flat_map(i16::to_le_bytes).collect()
}

#[track_caller]
fn reads(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sound.wav");
    fs::write(&path, bytes).unwrap();
    let expected = Sound { samples: SAMPLES.to_vec(), rate: 8000 };
    assert_eq!(read_sound(&path).unwrap(), expected);
}

#[test]
fn samples_of_unknown_size_extend_to_the_end_of_the_file() {
    let format = format(1, &[]);
    for size in [0, 0x7fff_f000, 0x7fff_ffff, 0x8000_0000, 0xffff_ff00, u32::MAX] {
        reads(&riff(b"RIFF", size, &[&format, &chunk(b"data", size, &samples())]));
        reads(&riff(b"RIFF", size, &[&format, &chunk(b"data", 6, &samples())]));
    }
}

#[test]
fn an_empty_recording_before_other_chunks_has_no_samples() {
    let parts = [format(1, &[]), chunk(b"data", 0, &[]), chunk(b"LIST", 4, b"INFO")];
    refused("empty.wav", &riff(b"RIFF", 100, &[&parts.concat()]), "it has no samples");
}

#[test]
fn long_sizes_of_rf64_are_read_and_may_be_missing_too() {
    let format = format(1, &[]);
    for kind in [b"RF64", b"BW64"] {
        for length in [6, 0, u64::MAX] {
            let sizes = [100_u64, length, 3].map(u64::to_le_bytes).concat();
            let sizes = chunk(b"ds64", 28, &[&sizes[..], &[0; 4]].concat());
            let data = chunk(b"data", u32::MAX, &samples());
            reads(&riff(kind, u32::MAX, &[&sizes, &format, &data]));
        }
    }
    // With the true length, what follows the samples is not sound.
    let sizes = [100_u64, 6, 3].map(u64::to_le_bytes).concat();
    let sizes = chunk(b"ds64", 28, &[&sizes[..], &[0; 4]].concat());
    let data = chunk(b"data", u32::MAX, &samples());
    let after = chunk(b"LIST", 4, b"INFO");
    reads(&riff(b"RF64", u32::MAX, &[&sizes, &format, &data, &after]));
}

#[test]
fn extensions_of_any_length_and_chunks_of_odd_length_are_passed_over() {
    let data = chunk(b"data", 6, &samples());
    let integers = b"\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71";
    for (length, rest) in [(22_u16, 0), (30, 8), (0, 2)] {
        let start = [&length.to_le_bytes()[..], &[16, 0, 4, 0, 0, 0]].concat();
        let extension = [&start[..], integers, &vec![0xee; rest]].concat();
        reads(&riff(b"RIFF", 100, &[&format(0xfffe, &extension), &data]));
    }
    for extension in [&[0, 0][..], &[4, 0, 1, 2, 3, 4], &[7]] {
        let odd = if extension.len() % 2 == 1 { &[0][..] } else { &[] };
        reads(&riff(b"RIFF", 100, &[&format(1, extension), odd, &data]));
        // Some programs do not fill up.
        reads(&riff(b"RIFF", 100, &[&format(1, extension), &data]));
    }
    let note = chunk(b"LIST", 7, b"INFOxyz\0");
    let fact = chunk(b"fact", 12, &[0xff; 12]);
    reads(&riff(b"RIFF", 0, &[&note, &fact, &format(1, &[]), &chunk(b"abcd", 3, b"abc"), &data]));
}

#[test]
fn a_file_of_endless_chunks_is_refused() {
    let empty = chunk(b"none", 0, &[]).repeat(10_000);
    let expected = "not a WAV, FLAC, Ogg Vorbis or MP3 file";
    refused("endless.wav", &riff(b"RIFF", 100_000, &[&empty]), expected);
}
