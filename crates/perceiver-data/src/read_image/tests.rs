#![allow(clippy::unwrap_used, reason = "a test may panic")]

use image::{DynamicImage, Rgb};
use libjpeg_turbo_rs::{Subsampling, compress};
use proptest::prelude::*;

use super::*;

fn picture() -> RgbImage {
    RgbImage::from_fn(19, 21, |x, y| Rgb([(x * 13) as u8, (y * 12) as u8, (x * y) as u8]))
}

fn encode(format: ImageFormat) -> Vec<u8> {
    if format == ImageFormat::Jpeg {
        let (image, pixels) = (picture(), PixelFormat::Rgb);
        return compress(image.as_raw(), 19, 21, pixels, 80, Subsampling::S420).unwrap();
    }
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(picture()).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn lossless_files_give_back_their_pixels() {
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Tiff, ImageFormat::Bmp] {
        assert_eq!(decode(&encode(format)).unwrap(), picture(), "{format:?}");
    }
}

#[test]
fn files_that_are_no_image_are_named_on_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.jpg");
    let message = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let message = read_image(&path).unwrap_err().to_string();
        assert_eq!(message.lines().count(), 1);
        message.split_once("photo.jpg: ").unwrap().1.to_owned()
    };
    assert_eq!(message(b""), "cannot read the image: the file is empty");
    assert_eq!(
        message(b"some text"),
        "cannot read the image: not a PNG, JPEG, WebP, TIFF, BMP or GIF file"
    );
    let missing = read_image(folder.path().join("none.png")).unwrap_err();
    assert!(missing.to_string().contains("none.png: cannot read: "));
}

#[test]
fn an_image_in_memory_is_decoded_as_one_on_disk_and_named_in_errors() {
    assert_eq!(decode_image(&encode(ImageFormat::Png), "cat.png").unwrap(), picture());
    let message = decode_image(b"some text", "cat.png").unwrap_err().to_string();
    let expected = "cat.png: cannot read the image: not a PNG, JPEG, WebP, TIFF, BMP or GIF file";
    assert_eq!(message, expected);
}

#[test]
fn images_without_pixels_or_with_far_too_many_are_refused_from_their_header() {
    let sized = |width: u32, height: u32| {
        // A bitmap's header: sizes are little-endian from byte 18 on.
        let mut bytes = encode(ImageFormat::Bmp);
        bytes[18..22].copy_from_slice(&width.to_le_bytes());
        bytes[22..26].copy_from_slice(&height.to_le_bytes());
        decode(&bytes).unwrap_err()
    };
    assert!(sized(0, 21).contains("0x21"));
    assert_eq!(sized(60_000, 60_000), "60000x60000 pixels, expected at most 178956970");

    let mut jpeg = encode(ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    assert!(decode(&jpeg).unwrap_err().contains("exceeds limit"));
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0; 4]);
    assert!(decode(&jpeg).is_err());
}

#[test]
fn a_jpeg_file_that_stops_early_is_refused() {
    let jpeg = encode(ImageFormat::Jpeg);
    assert!(decode(&jpeg).is_ok());
    assert!(decode(&jpeg[..jpeg.len() - 12]).is_err());
}

#[test]
fn exif_data_decides_the_orientation_and_xmp_data_where_it_is_silent() {
    // One entry: tag 0x0112, a short, one of it, the value.
    let exif = |value: u8| {
        let entry = [0x12, 1, 3, 0, 1, 0, 0, 0, value, 0, 0, 0];
        [b"II*\0\x08\0\0\0\x01\0".as_slice(), &entry, &[0; 4]].concat()
    };
    let prefixed = [b"Exif\0\0".as_slice(), &exif(3)].concat();
    let attribute = br#"<x tiff:OrientationX tiff:Orientation="6"/>"#.as_slice();
    let element = b"<tiff:Orientation>8</tiff:Orientation>".as_slice();
    for (exif, xmp, expected) in [
        (None, None, Orientation::NoTransforms),
        (Some(exif(6)), None, Orientation::Rotate90),
        (Some(exif(1)), Some(attribute), Orientation::NoTransforms),
        (Some(prefixed), None, Orientation::Rotate180),
        (None, Some(attribute), Orientation::Rotate90),
        (Some(b"junk".to_vec()), Some(element), Orientation::Rotate270),
        (None, Some(b"tiff:Orientation"), Orientation::NoTransforms),
    ] {
        assert_eq!(orientation(exif.as_deref(), xmp), expected);
    }
}

#[test]
fn sixteen_bits_of_colour_lose_the_low_byte_and_of_grey_are_cut_off() {
    let colour = image::ImageBuffer::from_pixel(1, 1, Rgb([0x12ff_u16, 0x0080, 0xffff]));
    let image = into_rgb(DynamicImage::ImageRgb16(colour)).unwrap();
    assert_eq!(image.as_raw(), &[0x12, 0, 0xff]);
    let grey = image::ImageBuffer::from_pixel(1, 1, image::Luma([300_u16]));
    let image = into_rgb(DynamicImage::ImageLuma16(grey)).unwrap();
    assert_eq!(image.as_raw(), &[255, 255, 255]);
}

#[test]
fn a_bitmap_of_indices_has_no_masks() {
    // A header of 40 bytes, one pixel of one bit, masks of one bit each.
    let header = [40_u32, 1, 1, 1 | 1 << 16, 3, 0, 0, 0, 0, 0, 1, 2, 4, 0];
    let bytes: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
    let reason = bmp::decode(&bytes).unwrap_err();
    assert_eq!(reason, "bitmaps of 1 bits with compression 3 are not supported");
}

/// Bytes in place of some of a file's, and the place where it ends.
fn damage() -> impl Strategy<Value = (Vec<(prop::sample::Index, u8)>, prop::sample::Index)> {
    (
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        any::<prop::sample::Index>(),
    )
}

fn damaged(
    mut bytes: Vec<u8>,
    (changes, end): (Vec<(prop::sample::Index, u8)>, prop::sample::Index),
) -> Vec<u8> {
    for (place, value) in changes {
        let place = place.index(bytes.len());
        bytes[place] = value;
    }
    bytes.truncate(end.index(bytes.len() + 1));
    bytes
}

proptest! {
    /// Without what catches the panics of other crates' decoders.
    #[test]
    fn damage_makes_none_of_our_own_decoders_panic(
        damage in damage(),
        bits in prop::sample::select(&[1_u16, 4, 8, 16, 24, 32][..]),
        compression in 0_u8..4,
    ) {
        let mut bitmap = encode(ImageFormat::Bmp);
        bitmap[28..30].copy_from_slice(&bits.to_le_bytes());
        bitmap[30] = compression;
        let _ = bmp::decode(&damaged(bitmap, damage.clone()));
        let without_start = encode(ImageFormat::Bmp)[14..].to_vec();
        let _ = bmp::decode(&damaged(without_start, damage.clone()));
        let gif = damaged(encode(ImageFormat::Gif), damage.clone());
        if let Ok(frames) = GifFrames::new(&gif[..]) {
            let _ = frames.take(3).count();
        }
        let _ = png::completed(&damaged(encode(ImageFormat::Png), damage));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        format in prop::sample::select(FORMATS.as_slice()),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = decode(&bytes);
        // The same behind a signature, so that a decoder sees them.
        let signature = &encode(format)[..12];
        let _ = decode(&[signature, &bytes].concat());
    }

    #[test]
    fn damaged_files_never_panic(
        format in prop::sample::select(FORMATS.as_slice()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        kept in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode(format);
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let _ = decode(&bytes);
        bytes.truncate(kept.index(bytes.len()));
        let _ = decode(&bytes);
    }
}

/// Pixels that a file leaves out have the first colour.
#[test]
fn a_run_length_encoded_bitmap_has_pixels_for_its_size() {
    let bitmap = |side: u32| {
        let header = [40, side, side, 1 | 8 << 16, 1, 0, 0, 0, 1, 0].map(u32::to_le_bytes);
        let start = [&b"BM"[..], &[0; 8], &58_u32.to_le_bytes(), &header.concat(), &[9; 4]];
        // Nothing but the end of the bitmap.
        [start.concat(), vec![0, 1]].concat()
    };
    assert_eq!(decode(&bitmap(3)).unwrap(), RgbImage::from_pixel(3, 3, Rgb([9; 3])));
    let expected = "5000x5000 run-length encoded pixels in 2 bytes";
    assert_eq!(decode(&bitmap(5000)).unwrap_err(), expected);
}
