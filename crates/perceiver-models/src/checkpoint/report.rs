//! The result of loading a checkpoint.

use std::fmt;
use std::path::PathBuf;

use crate::Error;
use crate::error::shortened;

/// The result of loading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// The checkpoint.
    pub path: PathBuf,
    /// Number of loaded tensors.
    pub tensors: usize,
    /// Number of weights stored in 8 bits, which are computed in floating point.
    pub dequantised: usize,
    /// Tensors with NaN or infinite values, which will spread to the model's outputs.
    pub non_finite: Vec<NonFinite>,
    /// Keys of the checkpoint that were skipped, because the module does not have them.
    pub ignored: Vec<String>,
    /// Keys of the module that the checkpoint lacks: these parameters keep their fresh values.
    pub fresh: Vec<String>,
    /// Parameters that keep their fresh values because the checkpoint's have another shape.
    pub mismatched: Vec<MismatchedSize>,
    /// The prefix that a wrapper of the model put before its keys, which loading leaves off; empty if
    /// there is none.
    pub prefix: String,
}

/// A parameter whose shape differs from the checkpoint's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MismatchedSize {
    /// Its key.
    pub key: String,
    /// The shape in the checkpoint.
    pub stored: Vec<usize>,
    /// The shape in the model.
    pub expected: Vec<usize>,
}

impl fmt::Display for MismatchedSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (is {:?}, expected {:?})", self.key, self.stored, self.expected)
    }
}

/// A tensor with NaN or infinite values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NonFinite {
    /// The tensor's key.
    pub key: String,
    /// Number of NaN or infinite values, after any cast.
    pub count: usize,
}

impl LoadReport {
    /// Warnings for the user, one line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let path = self.path.display();
        let fresh = |tensor: &MismatchedSize| format!("fresh, since its shape differs: {tensor}");
        let prefix = shortened(&self.prefix);
        let wrapper = (!prefix.is_empty())
            .then(|| format!("{path}: keys begin with `{prefix}`, which is left off"));
        let dequantised = (self.dequantised > 0).then(|| {
            format!("{path}: {} weights of 8 bits are computed in floating point", self.dequantised)
        });
        let non_finite = self.non_finite.first().map(|NonFinite { key, count }| {
            let others = match self.non_finite.len() - 1 {
                0 => String::new(),
                others => format!(", and {others} others have some"),
            };
            let key = shortened(key);
            format!("{path}: tensor {key} has {count} NaN or infinite values{others}")
        });
        let mismatched = self.mismatched.iter().map(fresh);
        wrapper.into_iter().chain(dequantised).chain(non_finite).chain(mismatched).collect()
    }

    /// Checks numbers that the loaded model computed.
    ///
    /// # Errors
    /// [`Error::NotFinite`] naming the checkpoint and its first tensor with NaN or infinite values, if
    /// one of the numbers is NaN or infinite.
    pub fn check_outputs(&self, outputs: impl IntoIterator<Item = f32>) -> Result<(), Error> {
        match outputs.into_iter().all(f32::is_finite) {
            true => Ok(()),
            false => Err(self.not_finite()),
        }
    }

    /// The error about outputs that are not finite.
    #[must_use]
    pub fn not_finite(&self) -> Error {
        let tensor = self.non_finite.first().map(|tensor| tensor.key.clone());
        Error::NotFinite { path: self.path.clone(), tensor }
    }
}
