//! The one reader of text files: unpacked, in UTF-8, without a byte order mark.

use std::io::Read;
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};
use crate::json::{check_size, read_bounded};

/// Largest text that is read, packed or unpacked, in bytes.
const MAX_TEXT: u64 = 1 << 30;

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Reads a text file of at most 1 GiB, plain or gzipped.
///
/// The text is UTF-8 or UTF-16. UTF-16 is recognised by its byte order mark or, without one, by a zero in
/// every second byte of its beginning. The mark is left out, and lines end in `\n` whatever system wrote
/// them.
///
/// # Errors
/// Returns an error if the file cannot be read, is larger than 1 GiB before or after unpacking, or is
/// neither UTF-8 nor UTF-16: [`Error::Utf8`] and [`Error::Utf16`] name the first invalid byte.
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    decode_text(read_bounded(path, MAX_TEXT)?, path)
}

/// Decodes a text in memory as [`read_text`] decodes one on disk; errors call it `name`.
///
/// # Errors
/// As [`read_text`].
pub fn decode_text(bytes: Vec<u8>, name: impl AsRef<Path>) -> Result<String> {
    let name = name.as_ref();
    let text = String::from_utf8(to_utf8(bytes, name)?).map_err(|error| Error::Utf8 {
        path: name.to_owned(),
        position: error.utf8_error().valid_up_to(),
    })?;
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    };
    // As Python's universal newlines.
    Ok(if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text })
}

/// A line of a text and its number, from 1.
pub type NumberedLine = (usize, Result<String>);

/// The lines of a text in memory that are not blank, decoded as [`decode_text`] does. A line that is
/// not UTF-8 leaves the others readable.
///
/// # Errors
/// As [`read_text`], except for invalid UTF-8, which is the error of its line.
pub fn decode_lines(bytes: Vec<u8>, name: impl AsRef<Path>) -> Result<Vec<NumberedLine>> {
    let name = name.as_ref();
    let bytes = to_utf8(bytes, name)?;
    let start = if bytes.starts_with(MARK) { MARK.len() } else { 0 };
    let (mut lines, mut place) = (Vec::new(), start);
    let mut add = |number: usize, place: usize, line: &[u8]| {
        if !line.trim_ascii().is_empty() {
            let invalid = |error: std::str::Utf8Error| Error::Utf8 {
                path: name.to_owned(),
                position: place + error.valid_up_to(),
            };
            let line = std::str::from_utf8(line).map(str::to_owned).map_err(invalid);
            let is_blank = line.as_ref().is_ok_and(|line| line.trim().is_empty());
            lines.extend((!is_blank).then_some((number, line)));
        }
    };
    let mut number = 0;
    let mut rest = &bytes[start..];
    while !rest.is_empty() {
        number += 1;
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        add(number, place, &rest[..end]);
        let length = match &rest[end..] {
            [b'\r', b'\n', ..] => end + 2,
            [] => end,
            _ => end + 1,
        };
        place += length;
        rest = &rest[length..];
    }
    Ok(lines)
}

/// Reads the lines of a text file that are not blank, as [`decode_lines`].
///
/// # Errors
/// As [`decode_lines`], or if the file cannot be read.
pub fn read_lines(path: impl AsRef<Path>) -> Result<Vec<NumberedLine>> {
    let path = path.as_ref();
    decode_lines(read_bounded(path, MAX_TEXT)?, path)
}

/// The byte order mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a table: as [`read_text`], except that lines keep their ends and invalid UTF-8 is left to
/// the record that it is in.
pub(crate) fn read_table(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = to_utf8(read_bounded(path, MAX_TEXT)?, path)?;
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
    Ok(bytes)
}

/// Unpacks a text, and turns UTF-16 into UTF-8.
fn to_utf8(bytes: Vec<u8>, path: &Path) -> Result<Vec<u8>> {
    check_size(path, bytes.len() as u64, MAX_TEXT)?;
    let bytes = if bytes.starts_with(&GZIP) { unpacked(&bytes, MAX_TEXT, path)? } else { bytes };
    match bytes.as_slice() {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            Err(Error::data(path, "is UTF-32, expected UTF-8 or UTF-16"))
        }
        [0xff, 0xfe, rest @ ..] => utf16(rest, 2, u16::from_le_bytes, path),
        [0xfe, 0xff, rest @ ..] => utf16(rest, 2, u16::from_be_bytes, path),
        _ if begins_with_zero_every_second(&bytes, 1) => utf16(&bytes, 0, u16::from_le_bytes, path),
        _ if begins_with_zero_every_second(&bytes, 0) => utf16(&bytes, 0, u16::from_be_bytes, path),
        _ => Ok(bytes),
    }
}

fn unpacked(bytes: &[u8], limit: u64, path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = MultiGzDecoder::new(bytes).take(limit + 1).read_to_end(&mut text);
    read.map_err(|error| Error::data(path, format!("cannot unpack: {error}")))?;
    if text.len() as u64 > limit {
        let reason = format!("unpacks to more than {limit} bytes, expected at most that many");
        return Err(Error::data(path, reason));
    }
    Ok(text)
}

/// Returns true if the first or second byte of each pair is zero and the other is not, as in UTF-16
/// that begins with ASCII characters.
fn begins_with_zero_every_second(bytes: &[u8], zero: usize) -> bool {
    const PAIRS: usize = 32;
    let (pairs, rest) = bytes.as_chunks::<2>();
    let is_ascii = |pair: &[u8; 2]| pair[zero] == 0 && pair[1 - zero] != 0;
    pairs.len() > 1 && rest.is_empty() && pairs.iter().take(PAIRS).all(is_ascii)
}

/// UTF-8 from UTF-16 after a mark of this length.
fn utf16(bytes: &[u8], mark: usize, unit: fn([u8; 2]) -> u16, path: &Path) -> Result<Vec<u8>> {
    let invalid = |units: usize| Error::Utf16 { path: path.to_owned(), position: mark + 2 * units };
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(pairs.len());
    let mut units = 0;
    for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        let character = character.map_err(|_| invalid(units))?;
        units += character.len_utf16();
        text.push(character);
    }
    if rest.is_empty() { Ok(text.into_bytes()) } else { Err(invalid(units)) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(unit).collect()
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_text_is_the_same_in_every_form() {
        let text = "one, two, three, four, five, six and\nseven é 😀\n\neight";
        let windows = text.replace('\n', "\r\n");
        for bytes in [
            text.as_bytes().to_vec(),
            windows.clone().into_bytes(),
            text.replace('\n', "\r").into_bytes(),
            format!("\u{feff}{windows}").into_bytes(),
            utf16(text, u16::to_le_bytes),
            utf16(&windows, u16::to_be_bytes),
            utf16(text, u16::to_le_bytes)[2..].to_vec(),
            utf16(&windows, u16::to_be_bytes)[2..].to_vec(),
            packed(text.as_bytes()),
            packed(&utf16(&windows, u16::to_le_bytes)),
        ] {
            assert_eq!(decode_text(bytes, "a.txt").unwrap(), text);
        }
    }

    #[test]
    fn a_line_that_is_not_text_leaves_the_others_readable() {
        let read = |bytes: &[u8]| -> Vec<(usize, Result<String, String>)> {
            let lines = decode_lines(bytes.to_vec(), "a.txt").unwrap();
            lines.into_iter().map(|(at, line)| (at, line.map_err(|e| e.to_string()))).collect()
        };
        let text = |at, text: &str| (at, Ok(text.to_owned()));
        let bytes = b"\xef\xbb\xbfa\r\n\r  \ncaf\xe9\n\xc3\xa9";
        let invalid = Err("a.txt: invalid UTF-8 at byte 13".to_owned());
        assert_eq!(read(bytes), [text(1, "a"), (4, invalid), text(5, "é")]);
        assert_eq!(read(&utf16("b\r\n\r\nc", u16::to_le_bytes)), [text(1, "b"), text(3, "c")]);
        assert_eq!(read(&packed(b"\nd")), [text(2, "d")]);
        assert_eq!(read(b""), []);
    }

    #[test]
    fn a_table_keeps_line_ends_and_invalid_bytes_but_no_mark() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        for (written, expected) in [
            (b"\xef\xbb\xbfa\r\n\xff".to_vec(), b"a\r\n\xff".as_slice()),
            (utf16("a\r\né", u16::to_le_bytes), "a\r\né".as_bytes()),
            (packed(b"\xef\xbb\xbfa"), b"a"),
        ] {
            std::fs::write(&path, written).unwrap();
            assert_eq!(read_table(&path).unwrap(), expected);
        }
    }

    #[test]
    fn damaged_texts_are_refused_with_the_place() {
        let lone = [0xff, 0xfe, b'a', 0, 0x3d, 0xd8, b'b', 0];
        for (bytes, expected) in [
            (b"ab\xff".to_vec(), "a.txt: invalid UTF-8 at byte 2"),
            (b"\xef\xbb\xbfab\xff".to_vec(), "a.txt: invalid UTF-8 at byte 5"),
            (lone.to_vec(), "a.txt: invalid UTF-16 at byte 4"),
            (lone[..5].to_vec(), "a.txt: invalid UTF-16 at byte 4"),
            (vec![0xff, 0xfe, 0, 0, b'a', 0, 0, 0], "a.txt: is UTF-32, expected UTF-8 or UTF-16"),
        ] {
            assert_eq!(decode_text(bytes, "a.txt").unwrap_err().to_string(), expected);
        }
        let cut = &packed(b"some text")[..12];
        let message = decode_text(cut.to_vec(), "a.txt.gz").unwrap_err().to_string();
        assert!(message.starts_with("a.txt.gz: cannot unpack: "), "{message}");
    }

    #[test]
    fn a_text_that_grows_beyond_the_limit_is_refused() {
        let bytes = packed(&[b'a'; 1000]);
        assert!(bytes.len() < 100);
        assert_eq!(unpacked(&bytes, 1000, Path::new("a.gz")).unwrap(), [b'a'; 1000]);
        let message = unpacked(&bytes, 999, Path::new("a.gz")).unwrap_err().to_string();
        assert_eq!(message, "a.gz: unpacks to more than 999 bytes, expected at most that many");
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            start in 0_usize..4,
            rest in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60),
        ) {
            let start: &[u8] = [&b""[..], b"\xff\xfe", b"\xfe\xff", &GZIP][start];
            let _ = decode_text([start, &rest].concat(), "a.txt");
        }
    }
}
