//! Reads the novels of an R package.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::bufread::ZlibDecoder;

use perceiver_workspace::replace;

/// Where the package keeps its novels, each a vector of lines.
const DATABASE: &str = "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb";

/// Tag of a vector of strings in R's serialisation.
const STRINGS: u32 = 16;

/// One text of all novels.
pub(crate) fn write(package: &Path, text: &Path) -> Result<()> {
    replace(text, &read(package)?.join("\n\n"))
}

/// The novels of the unpacked package. Each begins with its title.
pub(crate) fn read(package: &Path) -> Result<Vec<String>> {
    let path = package.join(DATABASE);
    let database = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    novels(&database).with_context(|| path.display().to_string())
}

/// The database is compressed values, each after its length when unpacked.
fn novels(mut database: &[u8]) -> Result<Vec<String>> {
    let mut novels = Vec::new();
    while !database.is_empty() {
        let length = u64::from(number(&mut database)?);
        let mut value = Vec::new();
        let mut unpack = ZlibDecoder::new(database);
        unpack.by_ref().take(length).read_to_end(&mut value)?;
        ensure!(value.len() as u64 == length, "expected {length} bytes, found {}", value.len());
        // The check sum behind the data is read with the end.
        ensure!(unpack.read(&mut [0])? == 0, "expected {length} bytes, found more");
        database = unpack.into_inner();
        novels.push(lines(&value)?.join("\n"));
    }
    Ok(novels)
}

/// A vector of strings as R writes it: its mark, versions, from version 3 the encoding, then
/// strings with their lengths, all numbers with the highest byte first.
fn lines(mut value: &[u8]) -> Result<Vec<String>> {
    bytes(&mut value, 2)?;
    let version = number(&mut value)?;
    bytes(&mut value, 8)?;
    if version == 3 {
        string(&mut value)?;
    }
    let tag = number(&mut value)? & 0xFF;
    ensure!(tag == STRINGS, "expected a vector of strings, found tag {tag}");
    let count = number(&mut value)?;
    (0..count)
        .map(|_| {
            bytes(&mut value, 4)?;
            string(&mut value)
        })
        .collect()
}

fn string(value: &mut &[u8]) -> Result<String> {
    let length = number(value)?;
    Ok(String::from_utf8(bytes(value, length as usize)?.to_vec())?)
}

fn number(value: &mut &[u8]) -> Result<u32> {
    Ok(u32::from_be_bytes(bytes(value, 4)?.try_into()?))
}

fn bytes<'a>(value: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    value.split_off(..count).context("ends too early")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    /// A vector of lines as R's documentation of `serialize` describes version 2.
    fn compressed(lines: &[&str]) -> Vec<u8> {
        let mut value = b"X\n".to_vec();
        for number in [2, 0, 0, STRINGS, lines.len() as u32] {
            value.extend(number.to_be_bytes());
        }
        for line in lines {
            value.extend(9_u32.to_be_bytes());
            value.extend((line.len() as u32).to_be_bytes());
            value.extend(line.as_bytes());
        }
        let mut packed = (value.len() as u32).to_be_bytes().to_vec();
        let mut encoder = ZlibEncoder::new(&mut packed, Compression::fast());
        encoder.write_all(&value).unwrap();
        encoder.finish().unwrap();
        packed
    }

    #[test]
    fn values_follow_each_other() {
        let database = [compressed(&["EMMA", "by Jane"]), compressed(&["PERSUASION"])].concat();
        assert_eq!(novels(&database).unwrap(), ["EMMA\nby Jane", "PERSUASION"]);
    }

    #[test]
    fn a_cut_database_is_an_error() {
        let database = compressed(&["EMMA"]);
        assert!(novels(&database[..database.len() - 1]).is_err());
        assert!(novels(&database[..3]).is_err());
    }
}
