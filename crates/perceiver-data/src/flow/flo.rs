use ndarray::ArrayView3;

use super::file::FlowFile;
use super::sides;

/// 202021.25 as a little-endian float, which reads "PIEH".
pub(super) const MAGIC: &[u8] = b"PIEH";
/// Magic number, width and height.
const HEADER: usize = 12;
/// The longest side that Middlebury's own reader accepts, in pixels.
const MAX_SIDE: u32 = 99_999;
/// Numbers above this are unknown.
const THRESHOLD: f32 = 1e9;
/// The number written for unknown motion.
const UNKNOWN: f32 = 1e10;

/// Encodes flow as Middlebury's `.flo` file, without rounding.
///
/// Pixels with a non-finite number are written as unknown.
///
/// # Shapes
/// - `flow`: `[height, width, 2]`
///
/// # Panics
/// If the last axis is not 2, or a side exceeds the format's limit of 99,999 pixels.
///
/// # Source
/// `WriteFlowFile` in Middlebury's `flowIO.cpp`.
#[must_use]
pub fn encode_flo(flow: ArrayView3<'_, f32>) -> Vec<u8> {
    let [height, width] = sides(&flow).map(|side| {
        let short = u32::try_from(side).ok().filter(|&side| side <= MAX_SIDE);
        short.unwrap_or_else(|| panic!("a .flo file has at most {MAX_SIDE} pixels per side"))
    });
    let mut bytes = Vec::with_capacity(HEADER + flow.len() * 4);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&width.to_le_bytes());
    bytes.extend_from_slice(&height.to_le_bytes());
    for vector in flow.rows() {
        let known = vector.iter().all(|number| number.is_finite());
        for &number in vector {
            bytes.extend_from_slice(&(if known { number } else { UNKNOWN }).to_le_bytes());
        }
    }
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Result<FlowFile, String> {
    let length = bytes.len();
    let (words, _) = bytes.as_chunks::<4>();
    let [_, width, height, numbers @ ..] = words else {
        return Err(format!("is {length} bytes long, expected a header of {HEADER}"));
    };
    let [width, height] = [width, height].map(|word| u32::from_le_bytes(*word));
    if ![width, height].iter().all(|side| (1..=MAX_SIDE).contains(side)) {
        return Err(format!("{width}x{height} pixels, expected sides from 1 to {MAX_SIDE}"));
    }
    let expected = HEADER as u64 + u64::from(width) * u64::from(height) * 8;
    if length as u64 != expected {
        return Err(format!("is {length} bytes long, {width}x{height} pixels make {expected}"));
    }
    let [height, width] = [height, width].map(|side| side as usize);
    Ok(FlowFile::new([height, width], |y, x| {
        let first = (y * width + x) * 2;
        let vector = [numbers[first], numbers[first + 1]].map(f32::from_le_bytes);
        let known = |number: &f32| number.abs() <= THRESHOLD;
        vector.iter().all(known).then_some(vector)
    }))
}
