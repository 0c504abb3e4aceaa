//! Image files to pixels, as Pillow reads them.

use std::io::Cursor;
use std::panic::catch_unwind;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use libjpeg_turbo_rs::{DecodeLimits, DecodeWarning, Decoder, JpegError, PixelFormat};

use crate::error::{Error, Result};
use crate::json::read_bounded;

/// Files are read up to this size, in bytes.
const MAX_FILE: u64 = 1 << 29;

/// Images have at most this many pixels, as Pillow allows before it suspects a trap.
pub(crate) const MAX_PIXELS: u64 = 178_956_970;

/// What a decoder may allocate, in bytes, its output included.
pub(crate) const MAX_MEMORY: u64 = 3 << 29;

/// JPEG files are refused beyond this many scans, each of which can be made to take long.
const MAX_SCANS: usize = 256;

const FORMATS: [ImageFormat; 6] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::WebP,
    ImageFormat::Tiff,
    ImageFormat::Bmp,
    ImageFormat::Gif,
];

/// Reads a PNG, JPEG, WebP, TIFF, BMP or GIF file as an upright RGB image.
///
/// The format is told from the content. Of an animation, the first picture is taken. Turns and
/// flips that the file's Exif or XMP orientation asks for are done. Pixels equal those of Pillow's
/// `exif_transpose` and `convert("RGB")`: transparency is dropped, what is under it shows; grey
/// values and palettes are spread to three channels; 16-bit colours lose their low byte, while
/// **16-bit grey values are cut off at 255**; CMYK is converted without a colour profile.
///
/// Files may have up to 512 MiB, images up to 178,956,970 pixels, and decoding may take 1.5 GiB.
///
/// # Errors
/// When the file cannot be read, has another format, is truncated, damaged or too large, or has no
/// pixels.
///
/// # Source
/// `load_image` of transformers 5.23 with Pillow 13.
///
/// # Differences
/// - JPEG files with damaged data are refused, where Pillow fills in what it can; those that lack
///   nothing but the end marker are read.
/// - An orientation that stands only in ImageMagick's own form is not seen.
/// - Of TIFF, palettes, floating point, signed numbers, 2 and 4 bits, YCbCr and CIELab are refused;
///   CMYK values and JPEG-compressed pixels can be up to two levels off, and colours that were
///   multiplied by their transparency stay so.
/// - 16-bit bitmaps can be one level off; where a run-length coded bitmap or the first picture of a
///   GIF animation leaves pixels out, those are black.
pub fn read_image(path: impl AsRef<Path>) -> Result<RgbImage> {
    let path = path.as_ref();
    let bytes = read_bounded(path, MAX_FILE)?;
    decode(&bytes).map_err(|reason| Error::image(path, reason))
}

pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    // Unlike the decoder behind it, the guess knows no TIFF files with 64-bit offsets.
    let big_tiff = bytes.starts_with(b"II\x2b\0") || bytes.starts_with(b"MM\0\x2b");
    let format = big_tiff
        .then_some(ImageFormat::Tiff)
        .or_else(|| image::guess_format(bytes).ok())
        .filter(|format| FORMATS.contains(format))
        .ok_or("not a PNG, JPEG, WebP, TIFF, BMP or GIF file")?;
    let decoded = catch_unwind(|| match format {
        ImageFormat::Jpeg => decode_jpeg(bytes),
        format => decode_other(bytes, format).map_err(|error| error.to_string())?,
    });
    // Tiles of single colours, for one, are a broken promise to the TIFF decoder.
    let (image, orientation) = decoded.map_err(|_| "the decoder gave up on its form")??;
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

/// Pillow decodes with libjpeg-turbo, whose rounding no decoder of the `image` crate follows.
fn decode_jpeg(bytes: &[u8]) -> Result<(RgbImage, Orientation), String> {
    let limits = DecodeLimits {
        max_width: usize::from(u16::MAX),
        max_height: usize::from(u16::MAX),
        max_pixels: MAX_PIXELS,
        max_scans: MAX_SCANS,
        max_memory: Some(MAX_MEMORY),
    };
    let text = |error: JpegError| error.to_string();
    let mut decoder = Decoder::new_with_limits(bytes, limits).map_err(text)?;
    decoder.set_output_format(PixelFormat::Rgb);
    let decoded = decoder.decode_image().map_err(text)?;
    let damage = decoded
        .warnings
        .iter()
        .find(|warning| !matches!(warning, DecodeWarning::ExtraneousData { .. }));
    if let Some(damage) = damage {
        return Err(damage.to_string());
    }
    let orientation = orientation(decoded.exif_data.as_deref(), decoded.xmp_data.as_deref());
    let side = |side| u32::try_from(side).unwrap_or(u32::MAX);
    check_sides(side(decoded.width), side(decoded.height))?;
    RgbImage::from_raw(side(decoded.width), side(decoded.height), decoded.data)
        .map(|image| (image, orientation))
        .ok_or_else(|| "fewer pixels than its header says".to_owned())
}

fn decode_other(
    bytes: &[u8],
    format: ImageFormat,
) -> image::ImageResult<Result<(RgbImage, Orientation), String>> {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_MEMORY);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if let Err(reason) = check_sides(width, height) {
        return Ok(Err(reason));
    }
    let orientation = if format == ImageFormat::Tiff {
        decoder.orientation()?
    } else {
        let exif = decoder.exif_metadata()?;
        let xmp = decoder.xmp_metadata()?;
        orientation(exif.as_deref(), xmp.as_deref())
    };
    // One grey value may be named transparent; to Pillow it is a grey value still.
    let is_grey = format == ImageFormat::Png && bytes.get(24..26) == Some(&[16, 0]);
    let mut image = DynamicImage::from_decoder(decoder)?;
    if is_grey {
        // One of the grey values may be named transparent; to Pillow it is a grey value still.
        image = DynamicImage::ImageLuma16(image.into_luma16());
    }
    Ok(into_rgb(image).map(|image| (image, orientation)))
}

/// What Exif data says, or else XMP data, which is searched as Pillow does.
fn orientation(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    const FIELD: &[u8] = b"tiff:Orientation";
    let from_exif = exif.and_then(|exif| {
        // Some programs write the prefix that this data has in JPEG files into other ones as well.
        let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
        Orientation::from_exif_chunk(exif)
    });
    let from_xmp = || {
        let fields = xmp?.windows(FIELD.len() + 3);
        fields
            .filter_map(|window| match window.strip_prefix(FIELD)? {
                [b'>', digit, _] | [b'=', b'"', digit] if digit.is_ascii_digit() => {
                    Some(digit - b'0')
                }
                _ => None,
            })
            .next()
            .and_then(Orientation::from_exif)
    };
    from_exif.or_else(from_xmp).unwrap_or(Orientation::NoTransforms)
}

fn check_sides(width: u32, height: u32) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err("it has no pixels".to_owned());
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!("{width}x{height} pixels, at most {MAX_PIXELS} are read"));
    }
    Ok(())
}

/// Reduces to eight bits as Pillow does, which neither rounds nor treats grey as it does colours.
fn into_rgb(image: DynamicImage) -> Result<RgbImage, String> {
    let (width, height) = (image.width(), image.height());
    let high = |value: u16| (value >> 8) as u8;
    let pixels: Vec<u8> = match image {
        DynamicImage::ImageRgb8(image) => return Ok(image),
        DynamicImage::ImageLuma16(image) => {
            image.into_raw().into_iter().flat_map(|grey| [grey.min(255) as u8; 3]).collect()
        }
        DynamicImage::ImageLumaA16(image) => {
            image.pixels().flat_map(|pixel| [high(pixel.0[0]); 3]).collect()
        }
        DynamicImage::ImageRgb16(image) => image.into_raw().into_iter().map(high).collect(),
        DynamicImage::ImageRgba16(image) => image
            .pixels()
            .flat_map(|pixel| [0, 1, 2].map(|channel| high(pixel.0[channel])))
            .collect(),
        DynamicImage::ImageLuma8(_)
        | DynamicImage::ImageLumaA8(_)
        | DynamicImage::ImageRgba8(_) => return Ok(image.into_rgb8()),
        other => return Err(format!("pixels of type {:?} are not read", other.color())),
    };
    RgbImage::from_raw(width, height, pixels)
        .ok_or_else(|| "fewer pixels than its header says".to_owned())
}

#[cfg(test)]
mod tests;
