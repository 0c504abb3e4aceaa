//! Checkpoints: tensors are found, listed, and read one at a time.

mod elements;
mod index;
mod int8;
mod keys;
mod load;
mod pickle;
mod prefix;
mod report;
mod safetensors;
mod save;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};

use crate::Error;
use crate::{files, foreign};

#[cfg(feature = "hub")]
pub(crate) use index::shards;
pub use int8::quantisation;
pub use keys::KeyMap;
pub(crate) use load::parameters;
pub use load::{LoadOptions, load_module};
pub use report::{LoadReport, MismatchedSize, NonFinite};
pub use save::{SaveOptions, save_pretrained, write_tensors};

const SINGLE_NAME: &str = "model.safetensors";
const INDEX_NAME: &str = "model.safetensors.index.json";

/// Weight files of a model folder, in the order in which transformers looks for them.
pub(crate) const FILE_NAMES: &[&str] =
    &[SINGLE_NAME, INDEX_NAME, "pytorch_model.bin", "pytorch_model.bin.index.json"];

/// A checkpoint whose tensors can be listed and read.
///
/// Opening reads names, types and shapes only. Values are read one tensor at a time with plain file
/// reads, so that no more than one is in memory.
#[derive(Debug)]
pub struct Checkpoint<'a> {
    path: PathBuf,
    tensors: BTreeMap<String, Stored<'a>>,
}

/// Type and shape of a tensor in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Type of the elements.
    pub dtype: DType,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().fold(1, |product: usize, &extent| product.saturating_mul(extent))
    }

    /// Size of the elements in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.elements().saturating_mul(self.dtype.size())
    }
}

#[derive(Debug)]
struct Stored<'a> {
    info: TensorInfo,
    file: PathBuf,
    place: Place<'a>,
}

#[derive(Debug)]
enum Place<'a> {
    /// Bytes from the start of the file.
    Offset(u64),
    Memory(&'a [u8]),
    Pickle(pytorch_reader::Tensor),
}

impl Checkpoint<'static> {
    /// Opens the checkpoint of a model folder: `model.safetensors`, else its shards, else
    /// `pytorch_model.bin`, else its shards. Given a file, opens that file: safetensors, a
    /// `.index.json` or a pickle.
    ///
    /// Pickles are read as data: no code in them runs. A whole model (`torch.save(model)`) is read as
    /// its state dict; a pickle that names any other class than those of tensors is refused.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`] if the folder has none of these; [`Error::Io`];
    /// [`Error::Checkpoint`] if a file is damaged, if a shard or tensor that the index names is
    /// missing, if a tensor occurs twice, or if burn lacks the type of its elements.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let path = if path.is_dir() {
            let found = FILE_NAMES.iter().map(|name| path.join(name)).find(|p| files::is_file(p));
            found.ok_or_else(|| Error::NoCheckpoint {
                path: path.to_path_buf(),
                expected: FILE_NAMES,
                hint: foreign::folder_of_weights(path),
            })?
        } else {
            path.to_path_buf()
        };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let tensors =
            if name.ends_with(".index.json") { index::open(&path)? } else { open_file(&path)? };
        Ok(Self { path, tensors })
    }
}

impl<'a> Checkpoint<'a> {
    /// Opens the safetensors files of a model folder in memory, given by name: `model.safetensors`,
    /// else its shards.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if neither is given or a name is given twice, and as for
    /// [`open`](Self::open).
    pub fn from_files(files: &[(&str, &'a [u8])]) -> Result<Self, Error> {
        if let Some(bytes) = files::named(files, SINGLE_NAME)? {
            return Self::from_bytes(SINGLE_NAME, bytes);
        }
        let path = PathBuf::from(INDEX_NAME);
        let Some(index) = files::named(files, INDEX_NAME)? else {
            let message = format!("is not among the files, and neither is {INDEX_NAME}");
            return Err(Error::checkpoint(Path::new(SINGLE_NAME), message));
        };
        let shards = index::parse(&path, files::text(&path, index, index::MAX_BYTES)?)?;
        let tensors = index::join(&path, shards, |shard| {
            let parse = |bytes| parse_safetensors(Path::new(shard), bytes);
            files::named(files, shard)?.map(parse).transpose()
        })?;
        Ok(Self { path, tensors })
    }

    /// Opens a safetensors file in memory, which errors call `name`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if the file is damaged, if a tensor occurs twice, or if burn lacks the
    /// type of its elements.
    pub fn from_bytes(name: impl Into<PathBuf>, bytes: &'a [u8]) -> Result<Self, Error> {
        let path = name.into();
        let tensors = parse_safetensors(&path, bytes)?;
        Ok(Self { path, tensors })
    }

    /// The opened file, or the index of the shards.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Key, type and shape of every tensor, sorted by key.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.tensors.iter().map(|(key, stored)| (key.as_str(), &stored.info))
    }

    /// Type and shape of a tensor.
    #[must_use]
    pub fn info(&self, key: &str) -> Option<&TensorInfo> {
        self.tensors.get(key).map(|stored| &stored.info)
    }

    /// The values of a tensor, in the type in which they are stored.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if there is no such tensor, or the file has changed; [`Error::Io`].
    pub fn read(&self, key: &str) -> Result<TensorData, Error> {
        let bytes = self.bytes(key)?;
        let info = &self.stored(key)?.info;
        elements::data(&bytes, info)
            .ok_or_else(|| self.unreadable(key, "its values do not fit its type"))
    }

    /// The stored bytes of a tensor, as many as its type and shape require.
    fn bytes(&self, key: &str) -> Result<Cow<'_, [u8]>, Error> {
        let stored = self.stored(key)?;
        let expected = stored.info.bytes();
        let bytes = match &stored.place {
            Place::Offset(offset) => safetensors::read(&stored.file, *offset, expected)?.into(),
            Place::Memory(bytes) => Cow::Borrowed(*bytes),
            Place::Pickle(tensor) => pickle::read(&stored.file, tensor)?.into(),
        };
        if bytes.len() == expected {
            return Ok(bytes);
        }
        let message = format!("has {} bytes, expected {expected}", bytes.len());
        Err(self.unreadable(key, &message))
    }

    fn stored(&self, key: &str) -> Result<&Stored<'a>, Error> {
        self.tensors
            .get(key)
            .ok_or_else(|| Error::checkpoint(&self.path, format!("has no tensor {key}")))
    }

    fn unreadable(&self, key: &str, why: &str) -> Error {
        Error::checkpoint(&self.path, format!("tensor {key}: {why}"))
    }
}

/// The tensors of a file other than an index.
fn open_file(path: &Path) -> Result<BTreeMap<String, Stored<'static>>, Error> {
    let start =
        |kind: fn(&[u8]) -> Option<&'static str>| foreign::start(path).and_then(|s| kind(&s));
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        safetensors::open(path).map_err(|error| of_kind(error, || start(foreign::file_kind)))
    } else {
        pickle::open(path).map_err(|error| of_kind(error, || start(foreign::pickle_kind)))
    }
}

/// The tensors of a safetensors file in memory.
fn parse_safetensors<'a>(
    name: &Path,
    bytes: &'a [u8],
) -> Result<BTreeMap<String, Stored<'a>>, Error> {
    safetensors::parse(name, bytes).map_err(|error| of_kind(error, || foreign::file_kind(bytes)))
}

/// The error about a file that cannot be read as weights, which says what it is if that is known.
fn of_kind(error: Error, kind: impl FnOnce() -> Option<&'static str>) -> Error {
    match error {
        Error::Checkpoint { path, message } => {
            let message = kind().map_or(message, |kind| format!("is {kind}"));
            Error::Checkpoint { path, message }
        }
        error => error,
    }
}
