//! From image files to pixels, as Pillow reads them.

mod bmp;
mod gif;
mod png;

use std::io::Cursor;
use std::panic::catch_unwind;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};
use libjpeg_turbo_rs::{DecodeLimits, DecodeWarning, Decoder, JpegError, PixelFormat};

pub(crate) use self::gif::GifFrames;
use crate::error::{Error, Result};
use crate::json::{check_size, read_bounded};

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 29;

/// Most pixels of an image: where Pillow suspects a decompression bomb.
pub(crate) const MAX_PIXELS: u64 = 178_956_970;

/// Most memory that a decoder may allocate, in bytes, including its output.
pub(crate) const MAX_MEMORY: u64 = 3 << 29;

/// Most scans of a JPEG file: a crafted file can make each of them slow.
const MAX_SCANS: usize = 256;

const FEWER_PIXELS: &str = "it has fewer pixels than its header says";

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
/// The content decides the format. An animation gives its first frame. The image is rotated and
/// flipped as its Exif or XMP orientation says. Pixels equal those of Pillow's `exif_transpose`
/// and `convert("RGB")`: transparency is dropped, and the colour under it shows; grey values and
/// palettes become three channels; 16-bit colours lose their low byte, but **16-bit grey values
/// are clipped at 255**; CMYK is converted without a colour profile.
///
/// Files may have up to 512 MiB, images up to 178,956,970 pixels. Decoding may take 1.5 GiB.
///
/// # Errors
/// Returns an error if the file cannot be read, has another format, is truncated, damaged or too
/// large, or has no pixels.
///
/// # Source
/// `load_image` of transformers 5.23 with Pillow 13.
///
/// # Differences
/// - JPEG files with damaged data are refused; Pillow fills in the missing parts. Files that lack
///   only the end marker are read, and so are PNG and GIF files that lack only what follows their
///   last pixel, as Pillow reads them.
/// - An orientation stored only in ImageMagick's own form is ignored.
/// - TIFF files with palettes, floating-point or signed samples, 2 or 4 bits, YCbCr or CIELab are
///   refused; CMYK values and JPEG-compressed pixels can be up to two levels off, and
///   premultiplied colours stay premultiplied.
/// - Bitmaps of 16 and 32 bits may have any masks, and run-length encoded ones may end before their
///   last row.
pub fn read_image(path: impl AsRef<Path>) -> Result<RgbImage> {
    let path = path.as_ref();
    let bytes = read_bounded(path, MAX_FILE)?;
    decode(&bytes).map_err(|reason| Error::image(path, reason))
}

/// Decodes an image file in memory as [`read_image`] decodes one on disk; errors call it `name`.
///
/// # Errors
/// As [`read_image`].
pub fn decode_image(bytes: &[u8], name: impl AsRef<Path>) -> Result<RgbImage> {
    let name = name.as_ref();
    check_size(name, bytes.len() as u64, MAX_FILE)?;
    decode(bytes).map_err(|reason| Error::image(name, reason))
}

pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    // The decoder reads TIFF files with 64-bit offsets, but the guess does not recognise them.
    let big_tiff = bytes.starts_with(b"II\x2b\0") || bytes.starts_with(b"MM\0\x2b");
    let format = big_tiff
        .then_some(ImageFormat::Tiff)
        .or_else(|| bmp::is_bitmap(bytes).then_some(ImageFormat::Bmp))
        .or_else(|| image::guess_format(bytes).ok())
        .filter(|format| FORMATS.contains(format))
        .ok_or("not a PNG, JPEG, WebP, TIFF, BMP or GIF file")?;
    if format == ImageFormat::Bmp {
        return bmp::decode(bytes);
    }
    let decoded = catch_unwind(|| match format {
        ImageFormat::Jpeg => decode_jpeg(bytes),
        ImageFormat::Gif => decode_gif(bytes),
        ImageFormat::Png => decode_other(bytes, format).or_else(|error| {
            let whole = png::completed(bytes).ok_or(error.clone())?;
            decode_other(&whole, format).map_err(|_| error)
        }),
        format => decode_other(bytes, format),
    });
    // Some valid files, such as TIFF tiles of a single colour, make a decoder panic.
    let (image, orientation) = decoded.map_err(|_| "the decoder does not support this file")??;
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

/// Pillow decodes with libjpeg-turbo, which rounds unlike every decoder of the `image` crate.
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
        .ok_or_else(|| FEWER_PIXELS.to_owned())
}

fn decode_gif(bytes: &[u8]) -> Result<(RgbImage, Orientation), String> {
    let first = GifFrames::new(bytes)?.next().ok_or("it has no frames")?;
    Ok((first?, Orientation::NoTransforms))
}

fn decode_other(bytes: &[u8], format: ImageFormat) -> Result<(RgbImage, Orientation), String> {
    decode_by_format(bytes, format).map_err(|error| match error {
        ImageError::Unsupported(_) if format == ImageFormat::Tiff => {
            "a TIFF file with a palette, floats or another form of pixels that is not read; save it as \
             PNG or as an RGB TIFF"
                .to_owned()
        }
        error => error.to_string(),
    })?
}

fn decode_by_format(
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
    let is_grey = format == ImageFormat::Png && bytes.get(24..26) == Some(&[16, 0]);
    let mut image = DynamicImage::from_decoder(decoder)?;
    if is_grey {
        // One grey value may be marked transparent; Pillow keeps it as a grey value.
        image = DynamicImage::ImageLuma16(image.into_luma16());
    }
    Ok(into_rgb(image).map(|image| (image, orientation)))
}

/// The orientation in Exif data or, without one, in XMP data, searched as Pillow searches it.
fn orientation(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    const FIELD: &[u8] = b"tiff:Orientation";
    let from_exif = exif.and_then(|exif| {
        // Some programs write the prefix of JPEG files into other formats too.
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

pub(crate) fn check_sides(width: u32, height: u32) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err(format!("it has no pixels: {width}x{height}"));
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!("{width}x{height} pixels, expected at most {MAX_PIXELS}"));
    }
    Ok(())
}

/// Reduces to eight bits as Pillow does: it does not round, and treats grey unlike colours.
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
        other => return Err(format!("pixels of type {:?} are not supported", other.color())),
    };
    RgbImage::from_raw(width, height, pixels).ok_or_else(|| FEWER_PIXELS.to_owned())
}

#[cfg(test)]
mod tests;
