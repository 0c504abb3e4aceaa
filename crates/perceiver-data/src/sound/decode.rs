//! From compressed sound to samples.

use std::fs::File;
use std::panic::catch_unwind;
use std::path::Path;

use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::{MAX_SAMPLES, Sound, too_long};
use crate::error::{Error, Result};

pub(super) fn decode(path: &Path) -> Result<Sound> {
    let file = File::open(path).map_err(Error::io(path, "read"))?;
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if !is_file {
        return Err(Error::sound(path, "read", "not a file"));
    }
    // A crafted file may make a decoder panic.
    catch_unwind(|| first_channel(file))
        .unwrap_or_else(|_| Err("the decoder does not support this file".to_owned()))
        .map_err(|reason| Error::sound(path, "read", reason))
}

fn first_channel(file: File) -> Result<Sound, String> {
    let stream = MediaSourceStream::new(Box::new(file), Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(|_| "not a WAV, FLAC, Ogg Vorbis or MP3 file")?;
    let track = format.default_track(TrackType::Audio).ok_or("it has no sound")?;
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
    let id = track.id;
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(
            parameters.ok_or("its codec is unknown")?,
            &AudioDecoderOptions::default(),
        )
        .map_err(text)?;

    let (mut samples, mut rate) = (Vec::new(), None);
    let mut interleaved: Vec<f32> = Vec::new();
    while let Some(packet) = format.next_packet().map_err(text)? {
        if packet.track_id != id {
            continue;
        }
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
    Ok(Sound { samples, rate: rate.ok_or("it has no samples")? })
}

fn text(error: SymphoniaError) -> String {
    match error {
        SymphoniaError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "it ends early".to_owned()
        }
        error => error.to_string(),
    }
}
