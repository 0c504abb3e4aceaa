//! burn's packs, opened whole: burn ignores bytes after the last tensor, and waits for a pipe.

use std::fs;
use std::io;
use std::path::Path;

use burn_pack::{HEADER_SIZE, Header, Reader, TENSOR_ALIGNMENT, aligned_data_section_start};

use crate::{Error, Result};

/// Opens a pack. Its file has to end where its last tensor does.
pub(crate) fn open_pack(path: &Path) -> Result<Reader> {
    let size = regular_file_size(path)?;
    let damaged = |reason: String| Error::SavedState { path: path.to_path_buf(), reason };
    let reader = || Reader::from_file_exact(path).map_err(|error| damaged(error.to_string()));
    let mut header = [0; HEADER_SIZE];
    let read =
        fs::File::open(path).and_then(|mut file| io::Read::read_exact(&mut file, &mut header));
    read.map_err(|error| damaged(error.to_string()))?;
    let header = Header::from_bytes(&header).map_err(|error| damaged(error.to_string()))?;
    let tensors = reader()?.into_tensors().map_err(|error| damaged(error.to_string()))?;
    let lengths = tensors.iter().map(|tensor| tensor.byte_len() as u64);
    let start = aligned_data_section_start(header.metadata_size as usize) as u64;
    if !is_whole(size, start, lengths) {
        return Err(damaged(format!("has {size} bytes, which is not where its last tensor ends")));
    }
    reader()
}

/// Returns true if tensors that begin at `start`, each at a multiple of the alignment, can end at
/// `size`. Any of them may be the last.
fn is_whole(size: u64, start: u64, lengths: impl Iterator<Item = u64>) -> bool {
    let lengths: Vec<u64> = lengths.collect();
    let padding = |length: u64| length.next_multiple_of(TENSOR_ALIGNMENT) - length;
    let padded: u64 = lengths.iter().map(|length| length + padding(*length)).sum();
    match lengths.is_empty() {
        true => size == start,
        false => lengths.into_iter().any(|length| size + padding(length) == start + padded),
    }
}

/// The size of a file that is not a pipe, a device or a folder.
pub(crate) fn regular_file_size(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).map_err(Error::io(path, "read"))?;
    if !metadata.is_file() {
        return Err(Error::io(path, "read")(io::Error::other("not a regular file")));
    }
    Ok(metadata.len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use burn_pack::{Bytes, DType, Scalar, Tensor, Writer};

    use super::*;

    #[test]
    fn a_pack_ends_where_its_last_tensor_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bpk");
        let tensor = |name: &str, elements: usize| {
            let bytes = Bytes::from_bytes_vec(vec![0; 4 * elements]);
            Tensor::new(name.to_owned(), DType::F32, [elements], None, bytes)
        };
        for tensors in [
            vec![],
            vec![tensor("a", 3)],
            vec![tensor("b", 3), tensor("a", 64), tensor("c", 100)],
            vec![tensor("a", 64)],
        ] {
            let writer = Writer::new(tensors).with_scalar("step", Scalar::UInt(3));
            writer.write_to_file(&path).unwrap();
            assert!(open_pack(&path).is_ok());
            let whole = fs::read(&path).unwrap();
            for damaged in [[&whole[..], &[0; 100]].concat(), whole[..whole.len() - 1].to_vec()] {
                fs::write(&path, damaged).unwrap();
                let message = open_pack(&path).err().unwrap().to_string();
                assert!(message.contains("a.bpk: damaged: "), "{message}");
            }
        }
        let message = open_pack(folder.path()).err().unwrap().to_string();
        assert!(message.ends_with("cannot read: not a regular file"), "{message}");
    }
}
