//! From sound files to samples and back.

mod decode;
mod wav;

use std::io::BufWriter;
use std::path::Path;

use hound::{SampleFormat, WavSpec, WavWriter};
use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{Fft, FixedSync, Resampler};

use crate::durable::write_file;
use crate::error::{Error, Result};

/// Most samples of a sound: a gigabyte, or 93 minutes at 48 kHz.
pub(crate) const MAX_SAMPLES: usize = 1 << 28;

/// Sample rates that are accepted, in samples per second.
pub(crate) const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// Integer steps of a 16-bit sample from 0 to full scale.
const FULL_SCALE: f32 = 32_768.0;

/// Approximate number of samples that are resampled at once.
const CHUNK: usize = 4096;

/// One channel of sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Sound {
    /// Samples from −1 to 1; 16-bit samples are divided by 2¹⁵.
    pub samples: Vec<f32>,
    /// Samples per second.
    pub rate: u32,
}

/// Reads the first channel of a WAV, FLAC, Ogg Vorbis or MP3 file, or of any other file that the
/// `ffmpeg` program reads, such as M4A, Opus or a video.
///
/// The content decides the format. In stereo and 5.1 sound, the first channel is the front left one.
/// A WAV file may be RF64, and its samples extend to the end of the file if their declared size is
/// unknown, as programs that write to a pipe leave it.
///
/// # Errors
/// Returns an error if the file cannot be read, has another format, is damaged or ends early, has
/// no samples, more than 2²⁸ or one that is not finite, or has a rate outside 1 to 768 kHz.
///
/// # Source
/// The multimodal notebook of Perceiver IO, which divides 16-bit samples by 2¹⁵ and takes the
/// first channel.
pub fn read_sound(path: impl AsRef<Path>) -> Result<Sound> {
    let path = path.as_ref();
    let sound = decode::decode(path)?;
    checked(sound, path)
}

/// Returns the sound if its length and rate are valid.
pub(crate) fn checked(sound: Sound, path: &Path) -> Result<Sound> {
    if sound.samples.is_empty() {
        return Err(Error::sound(path, "read", "it has no samples"));
    }
    if !RATES.contains(&sound.rate) {
        let (least, most) = RATES.into_inner();
        let reason = format!("{} samples per second, expected {least} to {most}", sound.rate);
        return Err(Error::sound(path, "read", reason));
    }
    // A single one would spread to everything that a model computes.
    if let Some(index) = sound.samples.iter().position(|sample| !sample.is_finite()) {
        let found = sound.samples[index];
        let reason = format!("sample {index} is {found}, expected a finite number");
        return Err(Error::sound(path, "read", reason));
    }
    Ok(sound)
}

/// The reason for refusing a sound with too many samples.
pub(crate) fn too_long() -> String {
    format!("more than {MAX_SAMPLES} samples, expected at most that many")
}

impl Sound {
    /// Duration in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate)
    }

    /// Resamples to another rate; returns the sound unchanged if it has that rate.
    ///
    /// Frequencies above half the new rate are filtered out. If the new rate is an odd multiple of
    /// a common divisor of both rates, the result can be half a sample late.
    ///
    /// # Errors
    /// [`Error::Resample`] if either rate is outside 1 to 768 kHz, or the result would have more
    /// than 2²⁸ samples.
    pub fn at_rate(self, rate: u32) -> Result<Self> {
        if rate == self.rate || self.samples.is_empty() {
            return Ok(Self { rate, ..self });
        }
        let from = self.rate;
        let refuse =
            |reason: &dyn ToString| Error::Resample { from, to: rate, reason: reason.to_string() };
        if !RATES.contains(&rate) || !RATES.contains(&from) {
            let (least, most) = RATES.into_inner();
            return Err(refuse(&format!("expected {least} to {most}")));
        }
        if self.seconds() * f64::from(rate) > MAX_SAMPLES as f64 {
            return Err(refuse(&format!("more than {MAX_SAMPLES} samples")));
        }
        let length = self.samples.len();
        let channels = [self.samples];
        let input = SequentialSliceOfVecs::new(&channels, 1, length);
        let input = input.map_err(|error| refuse(&error))?;
        let (from, to) = (from as usize, rate as usize);
        let mut resampler =
            Fft::<f32>::new(from, to, CHUNK, 1, FixedSync::Both).map_err(|error| refuse(&error))?;
        let output = resampler.process_all(&input, length, None).map_err(|error| refuse(&error))?;
        let mut samples = output.take_data();
        // The resampler rounds up a product that rounding may have put above a whole number.
        samples.truncate((length * to).div_ceil(from));
        Ok(Self { samples, rate })
    }

    /// Writes a WAV file with one channel of 16 bits; samples beyond full scale are clipped.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written or would exceed the format's 4 GiB.
    pub fn write_wav(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let spec = WavSpec {
            channels: 1,
            sample_rate: self.rate,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let written = write_file(path, |file| -> hound::Result<()> {
            let mut writer = WavWriter::new(BufWriter::new(file), spec)?;
            for &sample in &self.samples {
                writer.write_sample((sample * FULL_SCALE).round() as i16)?;
            }
            writer.finalize()
        });
        written.map_err(|error| match error {
            hound::Error::IoError(error) => Error::io(path, "write")(error),
            error => Error::sound(path, "write", error),
        })
    }
}

#[cfg(test)]
mod tests;
