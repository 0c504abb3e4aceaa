//! Weights of any burn module, in one file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::store::ModuleRecord;
use burn::tensor::{Bool, Bytes, Int, Shape, Tensor};
use burn_pack::Reader;

use crate::pack::open_pack;
use crate::{Error, Result};

/// Name of the file of weights in a run's folder.
pub const WEIGHTS_NAME: &str = "weights.bpk";

/// Saves a module's weights in a folder, as [`WEIGHTS_NAME`].
///
/// The old file stays until the new one is complete.
///
/// # Errors
/// [`Error::Weights`] if the file cannot be written.
pub fn save_weights<M: Module>(module: &M, folder: impl AsRef<Path>) -> Result<()> {
    let path = folder.as_ref().join(WEIGHTS_NAME);
    let saved = module.clone().into_record().save(&path);
    saved.map_err(|error| Error::Weights { path, reason: error.to_string() })
}

/// Loads weights that [`save_weights`] saved into a module of the same shape.
///
/// ```no_run
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::Device;
/// use perceiver_train::load_weights;
///
/// # fn main() -> perceiver_train::Result<()> {
/// let fresh = LinearConfig::new(16, 4).init(&Device::default());
/// let trained: Linear = load_weights(fresh, "run")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Io`] or [`Error::Weights`] if the file cannot be read, and [`Error::OtherModel`] if its
/// parameters are not the module's.
pub fn load_weights<M: Module>(module: M, folder: impl AsRef<Path>) -> Result<M> {
    let path = folder.as_ref().join(WEIGHTS_NAME);
    open_pack(&path).map_err(|error| match error {
        Error::SavedState { path, reason } => Error::Weights { path, reason },
        error => error,
    })?;
    // burn would read tensors from the file when they are first used, and it may be replaced by then.
    let bytes = Bytes::from_bytes_vec(fs::read(&path).map_err(Error::io(&path, "read"))?);
    let bytes = bytes.shared();
    check_pack(&module, &path, Reader::from_bytes(bytes.clone()))?;
    let record = ModuleRecord::from_bytes(bytes);
    let loaded = record.and_then(|record| module.try_load_record(record));
    loaded.map_err(|error| Error::Weights { path, reason: error.to_string() })
}

/// Checks that a file holds exactly the parameters of a module.
pub(crate) fn check_parameters<M: Module>(module: &M, path: &Path) -> Result<()> {
    check_pack(module, path, Reader::from_file(path))
}

/// Checks what was read from a file.
fn check_pack<M: Module>(
    module: &M,
    path: &Path,
    pack: Result<Reader, burn_pack::Error>,
) -> Result<()> {
    let saved = pack.and_then(Reader::into_tensors);
    let saved = saved.map_err(|error| unreadable(path, &error))?;
    let mut found = BTreeMap::new();
    for tensor in saved {
        found.insert(tensor.name, tensor.shape);
    }
    let mut expected = Shapes::default();
    module.visit(&mut expected);
    let expected = expected.shapes;
    let reason = difference(&found, &expected);
    reason.map_or(Ok(()), |reason| Err(Error::OtherModel { path: PathBuf::from(path), reason }))
}

fn unreadable(path: &Path, error: &burn_pack::Error) -> Error {
    Error::Weights { path: PathBuf::from(path), reason: error.to_string() }
}

fn difference(
    found: &BTreeMap<String, Shape>,
    expected: &BTreeMap<String, Shape>,
) -> Option<String> {
    let counts =
        || format!("the file has {} parameters, the model has {}", found.len(), expected.len());
    for (name, shape) in expected {
        match found.get(name) {
            None => return Some(format!("`{name}` is missing; {}", counts())),
            Some(other) if other != shape => {
                return Some(format!(
                    "`{name}` has shape {:?}, expected {:?}",
                    other.as_slice(),
                    shape.as_slice()
                ));
            }
            Some(_) => {}
        }
    }
    let unknown = found.keys().find(|name| !expected.contains_key(*name))?;
    Some(format!("`{unknown}` is unknown; {}", counts()))
}

/// Shapes of a module's parameters by their paths, as burn's records name them.
#[derive(Debug, Default)]
struct Shapes {
    path: Vec<String>,
    shapes: BTreeMap<String, Shape>,
}

impl Shapes {
    fn add(&mut self, shape: Shape) {
        self.shapes.insert(self.path.join("."), shape);
    }
}

impl ModuleVisitor for Shapes {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.add(param.lazy_shape());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.add(param.lazy_shape());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.add(param.lazy_shape());
    }
}

#[cfg(all(test, feature = "flex"))]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use burn::nn::{Linear, LinearConfig, LinearLayout};
    use burn::tensor::Device;

    use super::*;

    fn layer(inputs: usize, outputs: usize, bias: bool) -> Linear {
        LinearConfig::new(inputs, outputs).with_bias(bias).init(&Device::flex())
    }

    fn loaded(saved: &Linear, into: Linear) -> Result<Linear, String> {
        let folder = tempfile::tempdir().unwrap();
        save_weights(saved, &folder).unwrap();
        let path = folder.path().join(WEIGHTS_NAME).display().to_string();
        load_weights(into, &folder).map_err(|error| error.to_string().replace(&path, "FILE"))
    }

    #[test]
    fn weights_are_loaded_as_they_were_saved() {
        let saved = layer(3, 2, true);
        let found = loaded(&saved, layer(3, 2, true)).unwrap();
        assert_eq!(found.weight.val().into_data(), saved.weight.val().into_data());
        // Fresh weights that burn stores transposed have the shape of its record.
        let transposed = LinearConfig::new(3, 2).with_layout(LinearLayout::Col);
        let transposed = || transposed.init(&Device::flex());
        let (saved, fresh): (Linear, Linear) = (transposed(), transposed());
        let found = loaded(&saved, fresh).unwrap();
        assert_eq!(found.weight.val().into_data(), saved.weight.val().into_data());
    }

    #[test]
    fn weights_of_another_model_are_refused_by_name_and_number() {
        let refused = |saved: &Linear, into: Linear| loaded(saved, into).unwrap_err();
        assert_eq!(
            refused(&layer(3, 2, true), layer(4, 2, true)),
            "FILE: weights of another model: `weight` has shape [3, 2], expected [4, 2]"
        );
        assert_eq!(
            refused(&layer(3, 2, false), layer(3, 2, true)),
            "FILE: weights of another model: `bias` is missing; the file has 1 parameters, the model has 2"
        );
        assert_eq!(
            refused(&layer(3, 2, true), layer(3, 2, false)),
            "FILE: weights of another model: `bias` is unknown; the file has 2 parameters, the model has 1"
        );
    }
}
