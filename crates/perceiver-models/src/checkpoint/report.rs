//! The result of loading a checkpoint.

use std::fmt;

/// The result of loading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
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
        let line = |tensor: &NonFinite| {
            format!("tensor {} has {} NaN or infinite values", tensor.key, tensor.count)
        };
        let fresh = |tensor: &MismatchedSize| format!("fresh, since its shape differs: {tensor}");
        let prefix = &self.prefix;
        let wrapper = (!prefix.is_empty())
            .then(|| format!("keys of the checkpoint begin with `{prefix}`, which is left off"));
        let dequantised = (self.dequantised > 0).then(|| {
            format!("{} weights of 8 bits are computed in floating point", self.dequantised)
        });
        let non_finite = self.non_finite.iter().map(line);
        wrapper
            .into_iter()
            .chain(dequantised)
            .chain(non_finite)
            .chain(self.mismatched.iter().map(fresh))
            .collect()
    }
}
