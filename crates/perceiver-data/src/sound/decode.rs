//! From compressed sound to samples.

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadOnlySource};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::units::Duration;

use super::wav::Wav;
use super::{MAX_SAMPLES, Sound, too_long};
use crate::error::{Error, Result};
use crate::video::through_ffmpeg;

/// Most samples that an encoder adds to fill its last blocks.
const MAX_PADDING: u64 = 8192;

/// Samples, or the reason why there are none.
enum Decoded {
    Sound(Sound),
    /// The file has a form that this program does not decode.
    Other(&'static str),
}

pub(super) fn decode(path: &Path) -> Result<Sound> {
    // A pipe would be waited for when it is opened.
    let metadata = fs::metadata(path).map_err(Error::io(path, "read"))?;
    if !metadata.is_file() {
        return Err(Error::sound(path, "read", "not a file"));
    }
    let file = File::open(path).map_err(Error::io(path, "read"))?;
    let source = source(file, metadata.len()).map_err(Error::io(path, "read"))?;
    // A crafted file may make a decoder panic.
    let decoded = catch_unwind(AssertUnwindSafe(|| first_channel(source)))
        .unwrap_or_else(|_| Err("the decoder does not support this file".to_owned()))
        .map_err(|reason| Error::sound(path, "read", reason))?;
    match decoded {
        Decoded::Sound(sound) => Ok(sound),
        Decoded::Other(reason) => through_ffmpeg(path).map_err(|error| match error {
            Error::ProgramMissing { program, .. } => {
                let reason = format!("{reason}; others need {program}, which is not installed");
                Error::sound(path, "read", reason)
            }
            Error::Video { reason: other, .. } | Error::Sound { reason: other, .. } => {
                Error::sound(path, "read", format!("{reason} ({other})"))
            }
            error => error,
        }),
    }
}

/// The bytes to decode: those of the file, with a correct header if it is a WAV file.
fn source(file: File, size: u64) -> io::Result<Box<dyn MediaSource>> {
    let mut file = BufReader::new(file);
    let wav = Wav::find(&mut file, size)?;
    let start = wav.as_ref().map_or(0, |wav| wav.start);
    file.seek(SeekFrom::Start(start))?;
    Ok(match wav {
        Some(wav) => {
            let samples = file.take(wav.length.into());
            Box::new(ReadOnlySource::new(Cursor::new(wav.header()).chain(samples)))
        }
        None => Box::new(file.into_inner()),
    })
}

fn first_channel(source: Box<dyn MediaSource>) -> Result<Decoded, String> {
    const OTHER: &str = "not a WAV, FLAC, Ogg Vorbis or MP3 file";
    let stream = MediaSourceStream::new(source, Default::default());
    let probed = symphonia::default::get_probe().probe(
        &Hint::new(),
        stream,
        FormatOptions::default(),
        MetadataOptions::default(),
    );
    let Ok(mut format) = probed else { return Ok(Decoded::Other(OTHER)) };
    let Some(track) = format.default_track(TrackType::Audio) else {
        return Ok(Decoded::Other("it has no sound"));
    };
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
    let id = track.id;
    let decoder = parameters.and_then(|parameters| {
        let options = AudioDecoderOptions::default();
        symphonia::default::get_codecs().make_audio_decoder(parameters, &options).ok()
    });
    let Some(mut decoder) = decoder else { return Ok(Decoded::Other("its codec is unknown")) };

    let (mut samples, mut rate) = (Vec::new(), None);
    let mut interleaved: Vec<f32> = Vec::new();
    let mut padding = 0;
    while let Some(mut packet) = format.next_packet().map_err(text)? {
        if packet.track_id != id {
            continue;
        }
        let trimmed = std::mem::replace(&mut packet.trim_end, Duration::ZERO);
        packet.dur = packet.dur.saturating_add(trimmed);
        padding = if trimmed.is_zero() { 0 } else { trimmed.get().saturating_add(padding) };
        let decoded = decoder.decode(&packet).map_err(text)?;
        let spec = decoded.spec();
        if *rate.get_or_insert(spec.rate()) != spec.rate() {
            return Err("its sample rate changes midway".to_owned());
        }
        decoded.copy_to_vec_interleaved(&mut interleaved);
        samples.extend(interleaved.iter().step_by(decoded.num_planes().max(1)));
        if samples.len() > MAX_SAMPLES {
            return Err(too_long());
        }
    }
    // What exceeds a declared length is padding only if an encoder can have added it.
    if padding <= MAX_PADDING {
        samples.truncate(samples.len().saturating_sub(padding as usize));
    }
    Ok(Decoded::Sound(Sound { samples, rate: rate.ok_or("it has no samples")? }))
}

fn text(error: SymphoniaError) -> String {
    match error {
        SymphoniaError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it ends early".to_owned()
        }
        error => error.to_string(),
    }
}
