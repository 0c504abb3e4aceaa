//! PNG files that lack their end.

use std::io::{self, Read};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::{MAX_MEMORY, check_sides};

const SIGNATURE: usize = 8;

/// Bytes of a chunk's size and name.
const START: usize = 8;

/// The same image as a PNG file with checksums and an end, made of all pixels that the file still
/// has; `None` if it has none.
///
/// Pillow needs neither what follows the last pixel nor the checksums of pixels.
pub(super) fn completed(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut rest, mut packed) = (bytes.get(SIGNATURE..)?, Vec::new());
    let mut whole = bytes[..SIGNATURE].to_vec();
    while let Some((start, body)) = rest.split_at_checked(START) {
        let (size, name) = start.split_at(4);
        let size = u32::from_be_bytes(size.try_into().ok()?) as usize;
        let body = &body[..size.min(body.len())];
        match name {
            b"IDAT" => packed.extend_from_slice(body),
            // Chunks after the pixels change nothing.
            _ if !packed.is_empty() => break,
            _ => whole.extend_from_slice(rest.get(..START + size + 4)?),
        }
        rest = rest.get(START + size + 4..).unwrap_or_default();
    }
    // What could be unpacked before an error counts; decoding tells if it is too little.
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::none());
    let _ = io::copy(&mut ZlibDecoder::new(&packed[..]).take(most_bytes(bytes)?), &mut encoder);
    if encoder.total_in() == 0 {
        return None;
    }
    for (name, body) in [(b"IDAT", encoder.finish().ok()?), (b"IEND", Vec::new())] {
        let checked = [name, &body[..]].concat();
        whole.extend(u32::try_from(body.len()).ok()?.to_be_bytes());
        let mut checksum = flate2::Crc::new();
        checksum.update(&checked);
        whole.extend_from_slice(&checked);
        whole.extend(checksum.sum().to_be_bytes());
    }
    Some(whole)
}

/// Most bytes of the pixels that the header promises.
fn most_bytes(bytes: &[u8]) -> Option<u64> {
    /// Four channels of 16 bits.
    const LARGEST_PIXEL: u64 = 8;
    /// Bytes of each row besides its pixels, in the two rows that interlacing makes of it at most.
    const ROW: u64 = 2 * (1 + LARGEST_PIXEL);
    let side = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let (width, height) = (side(16)?, side(20)?);
    check_sides(width, height).ok()?;
    let (width, height) = (u64::from(width), u64::from(height));
    Some((width * height * LARGEST_PIXEL + 2 * height * ROW).min(MAX_MEMORY))
}
