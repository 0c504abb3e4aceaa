//! PNG files that lack their end.

use std::io::{self, Read};

use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

use super::{MAX_MEMORY, check_sides};

const SIGNATURE: usize = 8;

/// The last chunk.
const END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";

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
    let start = whole.len();
    whole.extend(b"\0\0\0\0IDAT");
    // What could be unpacked before an error counts; decoding tells if it is too little.
    let mut encoder = ZlibEncoder::new(whole, Compression::none());
    let _ = io::copy(&mut ZlibDecoder::new(&packed[..]).take(most_bytes(bytes)?), &mut encoder);
    if encoder.total_in() == 0 {
        return None;
    }
    let mut whole = encoder.finish().ok()?;
    let size = u32::try_from(whole.len() - start - START).ok()?;
    whole[start..start + 4].copy_from_slice(&size.to_be_bytes());
    let mut checksum = Crc::new();
    checksum.update(&whole[start + 4..]);
    whole.extend(checksum.sum().to_be_bytes());
    whole.extend(END);
    Some(whole)
}

/// Most bytes of the pixels that the header promises; `None` if unpacking them beside the decoder's
/// own copies would take too much memory.
fn most_bytes(bytes: &[u8]) -> Option<u64> {
    /// The packed pixels while they grow, and what the decoder makes of them.
    const COPIES: u64 = 4;
    let side = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let (width, height) = (side(16)?, side(20)?);
    check_sides(width, height).ok()?;
    let channels = match bytes.get(25)? {
        2 => 3,
        4 => 2,
        6 => 4,
        _ => 1,
    };
    let bits = u64::from(width) * channels * u64::from(*bytes.get(24)?);
    // Interlacing makes at most two rows of one, each with a byte for its filter and one of bits.
    let most = (bits.div_ceil(8) + 4) * u64::from(height);
    (most * COPIES <= MAX_MEMORY).then_some(most)
}
