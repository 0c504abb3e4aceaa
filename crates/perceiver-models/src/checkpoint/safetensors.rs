//! safetensors: a length, a JSON header, then the bytes of all tensors without gaps.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use burn::tensor::{BoolStore, DType};
use safetensors::tensor::{Dtype, Metadata};
use serde::Deserializer as _;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};

use super::{Place, Stored, TensorInfo};
use crate::Error;
use crate::files::open_regular;

/// Size of the header's length, at the start of the file.
pub(super) const LENGTH_BYTES: u64 = 8;
/// Longest header the format allows.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Each element type with its name in the header.
const DTYPES: [(Dtype, DType); 13] = [
    (Dtype::F64, DType::F64),
    (Dtype::F32, DType::F32),
    (Dtype::F16, DType::F16),
    (Dtype::BF16, DType::BF16),
    (Dtype::I64, DType::I64),
    (Dtype::I32, DType::I32),
    (Dtype::I16, DType::I16),
    (Dtype::I8, DType::I8),
    (Dtype::U64, DType::U64),
    (Dtype::U32, DType::U32),
    (Dtype::U16, DType::U16),
    (Dtype::U8, DType::U8),
    (Dtype::BOOL, DType::Bool(BoolStore::Native)),
];

/// The format's name of an element type.
pub(super) fn dtype_name(dtype: DType) -> Option<String> {
    DTYPES.iter().find(|(_, known)| *known == dtype).map(|(name, _)| name.to_string())
}

pub(super) fn open(path: &Path) -> Result<BTreeMap<String, Stored<'static>>, Error> {
    let mut file = open_regular(path)?;
    let length = file.metadata().map_err(Error::io(path, "read"))?.len();
    let header = header(path, &mut file, length)?;
    tensors(path, &header, length, |range| Place::Offset(range.start as u64))
}

/// The tensors of a file in memory, which errors call `name`.
pub(super) fn parse<'a>(
    name: &Path,
    bytes: &'a [u8],
) -> Result<BTreeMap<String, Stored<'a>>, Error> {
    let length = bytes.len() as u64;
    let header = header(name, &mut &*bytes, length)?;
    tensors(name, &header, length, |range| Place::Memory(&bytes[range]))
}

/// The tensors that a header describes, each at the place of its range of the file.
fn tensors<'a>(
    path: &Path,
    header: &[u8],
    file_length: u64,
    place: impl Fn(Range<usize>) -> Place<'a>,
) -> Result<BTreeMap<String, Stored<'a>>, Error> {
    if let Err(error) = unique_keys(header) {
        return Err(Error::checkpoint(path, format!("damaged header: {error}")));
    }
    let metadata: Metadata = serde_json::from_slice(header)
        .map_err(|error| Error::checkpoint(path, format!("damaged header: {error}")))?;
    let start = LENGTH_BYTES as usize + header.len();
    let expected = (start + metadata.data_len()) as u64;
    if expected != file_length {
        let message = format!("is {file_length} bytes long, its header describes {expected}");
        return Err(Error::checkpoint(path, message));
    }
    let tensors = metadata.tensors().into_iter().map(|(key, tensor)| {
        let known = DTYPES.iter().find(|(stored, _)| *stored == tensor.dtype);
        let &(_, dtype) = known.ok_or_else(|| {
            let message = format!("tensor {key} is of the unsupported type {}", tensor.dtype);
            Error::checkpoint(path, message)
        })?;
        let stored = Stored {
            info: TensorInfo { dtype, shape: tensor.shape.clone() },
            file: path.to_path_buf(),
            place: place(start + tensor.data_offsets.0..start + tensor.data_offsets.1),
        };
        Ok((key, stored))
    });
    tensors.collect()
}

pub(super) fn read(path: &Path, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
    let mut file = open_regular(path)?;
    file.seek(SeekFrom::Start(offset)).map_err(Error::io(path, "read"))?;
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes).map_err(Error::io(path, "read"))?;
    Ok(bytes)
}

/// The header's bytes. Allocates only once the header is known to lie within the file.
fn header(path: &Path, file: &mut impl Read, file_length: u64) -> Result<Vec<u8>, Error> {
    let mut length = [0; LENGTH_BYTES as usize];
    if file_length < LENGTH_BYTES {
        let message = format!("is {file_length} bytes long, expected a safetensors header");
        return Err(Error::checkpoint(path, message));
    }
    file.read_exact(&mut length).map_err(Error::io(path, "read"))?;
    let length = u64::from_le_bytes(length);
    let available = (file_length - LENGTH_BYTES).min(MAX_HEADER_BYTES);
    if length > available {
        let message = format!("claims a header of {length} bytes, expected at most {available}");
        return Err(Error::checkpoint(path, message));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(Error::io(path, "read"))?;
    Ok(header)
}

/// Refuses a header that names a tensor twice; JSON parsers keep the last one.
fn unique_keys(header: &[u8]) -> Result<(), serde_json::Error> {
    struct Keys;
    impl<'de> Visitor<'de> for Keys {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of tensors")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            let mut seen = HashSet::new();
            while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                if let Some(key) = seen.replace(key) {
                    return Err(A::Error::custom(format!("tensor {key} occurs twice")));
                }
            }
            Ok(())
        }
    }
    serde_json::Deserializer::from_slice(header).deserialize_map(Keys)
}
