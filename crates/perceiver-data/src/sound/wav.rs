//! The header of a WAV file, read so that wrong sizes in it do no harm.

use std::io::{self, Read, Seek, SeekFrom};

/// Declared sizes from here on mean "unknown" if the file is shorter: programs that write to a pipe
/// put 0x7ffff000, 0x7fffffff, 0x80000000, 0xffffffff or values near them.
const UNKNOWN: u64 = 0x7fff_0000;

/// Most chunks before the samples: a file of empty chunks is not a sound.
const MAX_CHUNKS: usize = 4096;

/// Bytes of a format that are read; the longest known one has 50.
const MAX_FORMAT: u64 = 1024;

/// The position of the samples in a WAV file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wav {
    /// The format in the form that decoders expect.
    format: Vec<u8>,
    /// Offset of the first sample, in bytes.
    pub(super) start: u64,
    /// Length of the samples, in bytes: at most 4 GiB.
    pub(super) length: u32,
}

impl Wav {
    /// Finds the samples of a RIFF, RF64 or BW64 file of `size` bytes; `None` if it has another form.
    ///
    /// Samples of size 0 or of an unknown size extend to the end of the file, unless a chunk follows
    /// those of size 0.
    pub(super) fn find(file: &mut (impl Read + Seek), size: u64) -> io::Result<Option<Self>> {
        let mut start = [0; 12];
        file.seek(SeekFrom::Start(0))?;
        if size < 12 {
            return Ok(None);
        }
        file.read_exact(&mut start)?;
        if !matches!(&start[..4], b"RIFF" | b"RF64" | b"BW64") || &start[8..] != b"WAVE" {
            return Ok(None);
        }
        let (mut place, mut format, mut long) = (12, None, None);
        for _ in 0..MAX_CHUNKS {
            let Some((name, declared)) = chunk(file, place, size)? else { return Ok(None) };
            let (body, declared) = (place + 8, u64::from(declared));
            let left = size - body;
            match &name {
                b"fmt " => format = Some(bytes(file, declared.min(MAX_FORMAT).min(left))?),
                b"ds64" => {
                    let sizes = bytes(file, declared.min(24).min(left))?;
                    let second = sizes.get(8..16).and_then(|size| size.try_into().ok());
                    long = second.map(u64::from_le_bytes);
                }
                b"data" => {
                    let declared = long.filter(|_| declared == 0xffff_ffff).unwrap_or(declared);
                    let is_unknown = match declared {
                        0 => !begins_chunk(file, body, size)?,
                        declared => declared > left && declared >= UNKNOWN,
                    };
                    let length = if is_unknown { left } else { declared };
                    return Ok(format.zip(u32::try_from(length).ok()).map(|(format, length)| {
                        Self { format: plain(format), start: body, length }
                    }));
                }
                _ => {}
            }
            place = body + declared.min(left);
            // Chunks begin at even offsets, but some programs forget to fill up odd ones.
            if declared % 2 == 1 && !begins_chunk(file, place, size)? {
                place += 1;
            }
        }
        Ok(None)
    }

    /// A header with true sizes and nothing but what decoding needs.
    pub(super) fn header(&self) -> Vec<u8> {
        let format_size = (self.format.len() as u32).to_le_bytes();
        let length = self.length.to_le_bytes();
        [b"RIFF\xff\xff\xff\xffWAVEfmt ", &format_size[..], &self.format, b"data", &length].concat()
    }
}

/// The name and declared size of the chunk at an offset, if there is one.
fn chunk(file: &mut (impl Read + Seek), at: u64, size: u64) -> io::Result<Option<([u8; 4], u32)>> {
    if at.saturating_add(8) > size {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(at))?;
    let (mut name, mut declared) = ([0; 4], [0; 4]);
    file.read_exact(&mut name)?;
    file.read_exact(&mut declared)?;
    Ok(Some((name, u32::from_le_bytes(declared))))
}

/// Returns true if a chunk that WAV files have begins at an offset.
fn begins_chunk(file: &mut (impl Read + Seek), at: u64, size: u64) -> io::Result<bool> {
    let known = [*b"data", *b"fmt ", *b"LIST", *b"fact", *b"bext", *b"JUNK", *b"id3 ", *b"ds64"];
    Ok(chunk(file, at, size)?.is_some_and(|(name, _)| known.contains(&name)))
}

fn bytes(file: &mut impl Read, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count as usize];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A format with an extension of the length that the standard gives it.
fn plain(mut format: Vec<u8>) -> Vec<u8> {
    const BASIC: usize = 16;
    const EXTENSION: usize = 22;
    match format.get(..2) {
        // Integers, floating point, and logarithms by A-law and µ-law.
        Some([1 | 3 | 6 | 7, 0]) if format.len() > BASIC => {
            format.truncate(BASIC);
            format.extend([0, 0]);
        }
        Some([0xfe, 0xff]) if format.len() >= BASIC + 2 + EXTENSION => {
            format.truncate(BASIC + 2 + EXTENSION);
            format[16..18].copy_from_slice(&(EXTENSION as u16).to_le_bytes());
            // Some programs do not say how many of the bits are valid: all.
            if format[18..20] == [0, 0] {
                format.copy_within(14..16, 18);
            }
        }
        _ => {}
    }
    format
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    const STARTS: &[&[u8]] = &[b"RIFF\0\0\0\0WAVE", b"RF64\0\0\0\0WAVE", b""];
    const NAMES: &[[u8; 4]] = &[*b"fmt ", *b"data", *b"ds64", *b"LIST"];

    proptest! {
        #[test]
        fn no_header_leads_out_of_the_file(
            start in prop::sample::select(STARTS),
            chunks in prop::collection::vec(
                (prop::sample::select(NAMES), any::<u32>(), 0_u32..40, any::<bool>()),
                0..6,
            ),
            cut in 0_usize..50,
        ) {
            let mut bytes = start.to_vec();
            for (name, size, length, is_true) in chunks {
                bytes.extend(name);
                bytes.extend(if is_true { length } else { size }.to_le_bytes());
                bytes.extend(vec![0xfe; length as usize]);
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            let size = bytes.len() as u64;
            if let Ok(Some(wav)) = Wav::find(&mut Cursor::new(bytes), size) {
                prop_assert!(wav.start <= size);
                prop_assert!(wav.header().len() as u64 <= 12 + 8 + MAX_FORMAT + 8);
            }
        }
    }
}
