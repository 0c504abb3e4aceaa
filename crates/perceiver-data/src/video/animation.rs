//! Animated GIF, WebP and PNG files.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, DynamicImage, Frames, ImageDecoder, ImageFormat, ImageResult};
use image::{Limits, RgbImage};

use super::timeline::{Timeline, is_apng};
use crate::error::{Error, Result};
use crate::read_image::{GifFrames, MAX_MEMORY, check_sides};

/// The format of a file that may be an animation.
pub(super) fn format(file: &mut BufReader<File>, start: &[u8]) -> Option<ImageFormat> {
    match image::guess_format(start).ok()? {
        format @ (ImageFormat::Gif | ImageFormat::WebP) => Some(format),
        ImageFormat::Png if is_apng(file) => Some(ImageFormat::Png),
        _ => None,
    }
}

/// The frames of an animation; a still image has one.
pub(super) type Animation = Box<dyn Iterator<Item = Result<RgbImage, String>>>;

/// Opens an animation, and reads when each of its frames is shown.
pub(super) fn open(path: &Path, format: ImageFormat) -> Result<(Animation, Timeline)> {
    let file = File::open(path).map_err(Error::io(path, "read"))?;
    let mut file = BufReader::new(file);
    let timeline = Timeline::read(&mut file, format);
    let timeline = timeline.map_err(|reason| Error::image(path, reason))?;
    file.seek(SeekFrom::Start(0)).map_err(Error::io(path, "read"))?;
    let frames: Animation = match format {
        ImageFormat::Gif => {
            Box::new(GifFrames::new(file).map_err(|reason| Error::image(path, reason))?)
        }
        _ => {
            let frames = decoder(file, format).map_err(|error| Error::image(path, error))?;
            let mut frames = frames.map_err(|reason| Error::image(path, reason))?;
            // A crafted file may make the decoder panic.
            let mut next = move || match catch_unwind(AssertUnwindSafe(|| frames.next())) {
                Ok(frame) => frame.map(|frame| frame.map_err(|error| error.to_string())),
                Err(_) => Some(Err("the decoder does not support this file".to_owned())),
            };
            Box::new(std::iter::from_fn(move || {
                let frame = next()?;
                Some(frame.map(|frame| DynamicImage::ImageRgba8(frame.into_buffer()).into_rgb8()))
            }))
        }
    };
    Ok((frames, timeline))
}

/// The frames of a WebP or PNG file, or the reason for refusing an image that is too large.
fn decoder(
    file: BufReader<File>,
    format: ImageFormat,
) -> ImageResult<Result<Frames<'static>, String>> {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_MEMORY);
    let fits = |(width, height): (u32, u32)| check_sides(width, height);
    if format == ImageFormat::Png {
        let decoder = PngDecoder::with_limits(file, limits)?;
        if let Err(reason) = fits(decoder.dimensions()) {
            return Ok(Err(reason));
        }
        return Ok(Ok(decoder.apng()?.into_frames()));
    }
    let mut decoder = WebPDecoder::new(file)?;
    decoder.set_limits(limits)?;
    if let Err(reason) = fits(decoder.dimensions()) {
        return Ok(Err(reason));
    }
    if decoder.has_animation() {
        return Ok(Ok(decoder.into_frames()));
    }
    let still = DynamicImage::from_decoder(decoder)?.into_rgba8();
    Ok(Ok(Frames::new(Box::new(std::iter::once(Ok(image::Frame::new(still)))))))
}
