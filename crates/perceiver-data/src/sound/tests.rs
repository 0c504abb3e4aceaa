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
