//! Animated GIF and WebP files.

use std::fs::File;
use std::io::BufReader;
use std::iter::Peekable;
use std::path::Path;

use image::codecs::gif::GifDecoder;
use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, DynamicImage, Frames, ImageDecoder, ImageFormat, ImageResult};
use image::{Limits, RgbImage};

use crate::error::{Error, Result};
use crate::read_image::{MAX_MEMORY, MAX_PIXELS};

/// The format of a file that may be an animation.
pub(super) fn format(start: &[u8]) -> Option<ImageFormat> {
    let format = image::guess_format(start).ok();
    format.filter(|format| matches!(format, ImageFormat::Gif | ImageFormat::WebP))
}

/// The frames of an animation; a still image has one.
pub(super) type Animation = Peekable<Frames<'static>>;

/// An animation and its frames per second, judging by the duration of the first frame.
pub(super) fn open(path: &Path, format: ImageFormat) -> Result<(Animation, Option<f64>)> {
    // Browsers show a frame without a duration for a tenth of a second.
    const DEFAULT_RATE: f64 = 10.0;
    let mut frames = frames(path, format)?.peekable();
    let first = frames.peek().and_then(|frame| frame.as_ref().ok());
    let rate = first.map(|frame| match frame.delay().numer_denom_ms() {
        (0, _) => DEFAULT_RATE,
        (numerator, denominator) => 1000.0 * f64::from(denominator) / f64::from(numerator),
    });
    Ok((frames, rate))
}

pub(super) fn next(frames: &mut Animation, path: &Path) -> Option<Result<RgbImage>> {
    let frame = frames.next()?.map_err(|error| Error::image(path, error));
    Some(frame.map(|frame| DynamicImage::ImageRgba8(frame.into_buffer()).into_rgb8()))
}

fn frames(path: &Path, format: ImageFormat) -> Result<Frames<'static>> {
    let file = File::open(path).map_err(Error::io(path, "read"))?;
    decoder(BufReader::new(file), format).map_err(|error| Error::image(path, error))?.map_err(
        |(width, height)| {
            let reason = format!("{width}x{height} pixels, expected at most {MAX_PIXELS}");
            Error::image(path, reason)
        },
    )
}

/// The frames, or the sides of an image that is too large.
fn decoder(
    file: BufReader<File>,
    format: ImageFormat,
) -> ImageResult<Result<Frames<'static>, (u32, u32)>> {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_MEMORY);
    let fits = |(width, height): (u32, u32)| {
        let pixels = u64::from(width) * u64::from(height);
        if pixels > MAX_PIXELS { Err((width, height)) } else { Ok(()) }
    };
    if format == ImageFormat::Gif {
        let mut decoder = GifDecoder::new(file)?;
        decoder.set_limits(limits)?;
        return Ok(fits(decoder.dimensions()).map(|()| decoder.into_frames()));
    }
    let mut decoder = WebPDecoder::new(file)?;
    decoder.set_limits(limits)?;
    if let Err(sides) = fits(decoder.dimensions()) {
        return Ok(Err(sides));
    }
    if decoder.has_animation() {
        return Ok(Ok(decoder.into_frames()));
    }
    let still = DynamicImage::from_decoder(decoder)?.into_rgba8();
    Ok(Ok(Frames::new(Box::new(std::iter::once(Ok(image::Frame::new(still)))))))
}
