//! Fixtures, devices and comparison for the parity tests.
#![allow(clippy::missing_panics_doc, clippy::expect_used, reason = "a failed test panics")]

#[cfg(feature = "autodiff")]
mod gradients;

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Shape, TensorData};
use perceiver_models::NamedTensors;
use safetensors::{Dtype, SafeTensors};

#[cfg(feature = "autodiff")]
pub use self::gradients::Gradients;

/// The largest difference from the reference, relative to the largest number of an output.
pub const TOLERANCE: f64 = 1e-5;

/// A folder under `tests/fixtures`.
#[must_use]
pub fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder)
}

/// All tensors of a safetensors file.
#[must_use]
pub fn read_tensors(path: &Path) -> NamedTensors {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        let dtype = match view.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::I64 => DType::I64,
            Dtype::I16 => DType::I16,
            Dtype::U8 => DType::U8,
            other => panic!("{}: {name} is {other:?}", path.display()),
        };
        let data =
            TensorData::from_bytes_vec(view.data().to_vec(), Shape::from(view.shape()), dtype);
        (name, data)
    });
    tensors.collect()
}

/// The compiled backends.
const BACKENDS: &[&str] = &[
    #[cfg(feature = "flex")]
    "flex",
    #[cfg(feature = "ndarray")]
    "ndarray",
    #[cfg(feature = "wgpu")]
    "wgpu",
    #[cfg(feature = "vulkan")]
    "vulkan",
    #[cfg(feature = "cuda")]
    "cuda",
];

/// Names of the backends to test: all compiled ones, or the one that the variable
/// `PERCEIVER_TEST_BACKEND` names.
#[must_use]
pub fn backends() -> Vec<&'static str> {
    let wanted = std::env::var("PERCEIVER_TEST_BACKEND").ok();
    let is_wanted = |name: &&str| wanted.as_ref().is_none_or(|wanted| wanted == *name);
    let backends: Vec<_> = BACKENDS.iter().copied().filter(is_wanted).collect();
    assert!(!backends.is_empty(), "this build has no backend {wanted:?}");
    backends
}

/// Devices of the backends to test, with their names.
#[must_use]
pub fn devices() -> Vec<(&'static str, Device)> {
    let open = |name| (name, device(name).expect("it was compiled in"));
    backends().into_iter().map(open).collect()
}

/// The first device of a backend; `None` if the backend was not compiled in.
#[must_use]
pub fn device(backend: &str) -> Option<Device> {
    match backend {
        #[cfg(feature = "flex")]
        "flex" => Some(Device::flex()),
        #[cfg(feature = "ndarray")]
        #[allow(deprecated, reason = "tested as long as burn 0.22 has it")]
        "ndarray" => Some(Device::ndarray()),
        #[cfg(feature = "wgpu")]
        "wgpu" => Some(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "vulkan")]
        "vulkan" => Some(Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "cuda")]
        "cuda" => Some(Device::cuda(0)),
        _ => None,
    }
}

/// How far `found` is from `expected`, relative to the largest number expected.
///
/// # Errors
/// The reason why the two cannot be compared.
pub fn difference(found: &TensorData, expected: &TensorData) -> Result<f64, String> {
    if found.shape() != expected.shape() {
        return Err(format!("has shape {:?}, expected {:?}", found.shape(), expected.shape()));
    }
    let largest = expected.iter::<f64>().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let mut furthest: f64 = 0.0;
    for (found, expected) in found.iter::<f64>().zip(expected.iter::<f64>()) {
        if !found.is_finite() && found.to_bits() != expected.to_bits() {
            return Err(format!("holds {found}, expected {expected}"));
        }
        furthest = furthest.max((found - expected).abs());
    }
    Ok(if largest > 0.0 { furthest / largest } else { furthest })
}

/// Lists what differs between two sets of named tensors by more than `tolerance`, and returns the
/// largest difference.
#[must_use]
pub fn compare(
    found: &NamedTensors,
    expected: &NamedTensors,
    tolerance: f64,
) -> (Vec<String>, f64) {
    let mut failures = Vec::new();
    let mut largest: f64 = 0.0;
    for (name, expected) in expected {
        match found.get(name).map(|found| difference(found, expected)) {
            None => failures.push(format!("{name} is missing")),
            Some(Err(message)) => failures.push(format!("{name} {message}")),
            Some(Ok(difference)) => {
                largest = largest.max(difference);
                if difference > tolerance {
                    failures.push(format!("{name} differs by {difference:.1e}"));
                }
            }
        }
    }
    let unexpected = found.keys().filter(|name| !expected.contains_key(*name));
    failures.extend(unexpected.map(|name| format!("{name} is not the reference's")));
    (failures, largest)
}

/// The page's program, compiled.
#[cfg(all(doctest, feature = "flex"))]
#[doc = include_str!("../../docs/any-data.md")]
struct AnyData;

/// The page's programs, compiled and run.
#[cfg(all(doctest, feature = "flex"))]
#[doc = include_str!("../../docs/adding-a-head.md")]
struct AddingAHead;
