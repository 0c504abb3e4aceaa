//! `torch.save` files, read as data.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use burn::tensor::{BoolStore, DType};
use pytorch_reader::{PickleValue, PytorchError, PytorchReader, Tensor};

use super::{Place, Stored, TensorInfo};
use crate::Error;

pub(super) fn open(path: &Path) -> Result<BTreeMap<String, Stored<'static>>, Error> {
    let value =
        PytorchReader::read_pickle_data(path, None).map_err(|error| refused(path, error))?;
    match value {
        PickleValue::Dict(_) => only_tensors(path, &value)?,
        PickleValue::Unsupported(class) => return Err(foreign(path, &class)),
        _ => {
            return Err(Error::checkpoint(path, "is a pickle, but not of a state dict"));
        }
    }
    let reader = PytorchReader::new(path).map_err(|error| refused(path, error))?;
    let tensors = reader.into_tensors().into_iter().map(|(key, tensor)| {
        let info = TensorInfo { dtype: dtype(&tensor), shape: tensor.shape().to_vec() };
        (key, Stored { info, file: path.to_path_buf(), place: Place::Pickle(tensor) })
    });
    Ok(tensors.collect())
}

pub(super) fn read(path: &Path, tensor: &Tensor) -> Result<Vec<u8>, Error> {
    tensor.read().map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Error::checkpoint(path, error.to_string())
        }
        _ => Error::io(path, "read")(error),
    })
}

/// Refuses what the reader left uninterpreted. It ran nothing, but PyTorch would not load such a
/// file with `weights_only` either.
fn only_tensors(path: &Path, value: &PickleValue) -> Result<(), Error> {
    match value {
        PickleValue::Unsupported(class) if class != "torch.Tensor" => Err(foreign(path, class)),
        PickleValue::Dict(fields) => {
            fields.values().try_for_each(|value| only_tensors(path, value))
        }
        PickleValue::List(items) => items.iter().try_for_each(|value| only_tensors(path, value)),
        _ => Ok(()),
    }
}

fn foreign(path: &Path, class: &str) -> Error {
    let class: String = class.chars().take(100).collect();
    let message = format!("is a pickle that names the class {class}, expected tensors only");
    Error::checkpoint(path, message)
}

fn refused(path: &Path, error: PytorchError) -> Error {
    match error {
        PytorchError::Io(source)
            if !matches!(
                source.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            Error::io(path, "read")(source)
        }
        error => {
            let message = error.to_string();
            let line = message.lines().next().unwrap_or_default();
            Error::checkpoint(path, format!("is not a PyTorch checkpoint: {line}"))
        }
    }
}

fn dtype(tensor: &Tensor) -> DType {
    match tensor.dtype() {
        pytorch_reader::DType::F64 => DType::F64,
        pytorch_reader::DType::F32 => DType::F32,
        pytorch_reader::DType::F16 => DType::F16,
        pytorch_reader::DType::BF16 => DType::BF16,
        pytorch_reader::DType::I64 => DType::I64,
        pytorch_reader::DType::I32 => DType::I32,
        pytorch_reader::DType::I16 => DType::I16,
        pytorch_reader::DType::I8 => DType::I8,
        pytorch_reader::DType::U64 => DType::U64,
        pytorch_reader::DType::U32 => DType::U32,
        pytorch_reader::DType::U16 => DType::U16,
        pytorch_reader::DType::U8 => DType::U8,
        pytorch_reader::DType::Bool => DType::Bool(BoolStore::Native),
    }
}
