use std::io::Cursor;

use image::{DynamicImage, ImageBuffer, ImageFormat, ImageReader, Limits, Rgb};
use ndarray::ArrayView3;

use super::file::FlowFile;
use super::sides;

/// Steps per pixel.
const STEPS: f64 = 64.0;
/// The value of no motion.
const ZERO: f64 = 32_768.0;
/// Most memory for decoding, in bytes.
const MAX_MEMORY: u64 = 3 << 29;

/// Encodes flow as KITTI's 16-bit PNG: motion in steps of 1/64 pixel starting at -512, and a third
/// channel that marks known pixels.
///
/// # Shapes
/// - `flow`: `[height, width, 2]`
///
/// # Panics
/// If the last axis is not 2 or there are no pixels.
///
/// # Source
/// `writeFlowField` in `io_flow.h` of KITTI's development kit.
///
/// # Differences
/// Numbers are rounded to the nearest 64th; the kit truncates. Motion outside `[-512, 512)` is
/// written as unknown; the kit clamps it to the range.
#[must_use]
pub fn encode_kitti(flow: ArrayView3<'_, f32>) -> Vec<u8> {
    let [height, width] = sides(&flow).map(|side| u32::try_from(side).unwrap_or(u32::MAX));
    let picture = ImageBuffer::from_fn(width, height, |x, y| {
        let samples = [0, 1].map(|direction| sample(flow[[y as usize, x as usize, direction]]));
        match samples {
            [Some(right), Some(down)] => Rgb([right, down, 1]),
            _ => Rgb([0_u16; 3]),
        }
    });
    let mut bytes = Cursor::new(Vec::new());
    let written = DynamicImage::ImageRgb16(picture).write_to(&mut bytes, ImageFormat::Png);
    written.expect("flow has pixels");
    bytes.into_inner()
}

fn sample(motion: f32) -> Option<u16> {
    let sample = (f64::from(motion) * STEPS + ZERO).round();
    (0.0..=f64::from(u16::MAX)).contains(&sample).then_some(sample as u16)
}

pub(super) fn decode(bytes: &[u8]) -> Result<FlowFile, String> {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_MEMORY);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    reader.limits(limits);
    let picture = reader.decode().map_err(|error| {
        let reason = error.to_string();
        format!("cannot read the PNG: {}", reason.split_whitespace().collect::<Vec<_>>().join(" "))
    })?;
    let DynamicImage::ImageRgb16(picture) = picture else {
        return Err(format!("is a PNG of {:?} pixels, expected KITTI's Rgb16", picture.color()));
    };
    Ok(FlowFile::new([picture.height() as usize, picture.width() as usize], |y, x| {
        let [right, down, known] = picture.get_pixel(x as u32, y as u32).0;
        // Exact: 16 bits, divided by a power of two.
        let motion = |sample: u16| ((f64::from(sample) - ZERO) / STEPS) as f32;
        (known > 0).then_some([motion(right), motion(down)])
    }))
}
