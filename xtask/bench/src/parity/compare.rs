//! Compares two files of outputs.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// The largest difference of any output, relative to the largest element of that output.
///
/// Both files must have the same names and shapes; integers must be equal.
pub(super) fn largest_error(actual: &Path, expected: &Path) -> Result<f64> {
    let (ours, theirs) = (read(actual)?, read(expected)?);
    let ours = SafeTensors::deserialize(&ours)?;
    let theirs = SafeTensors::deserialize(&theirs)?;
    let names = |tensors: &SafeTensors<'_>| {
        let mut names: Vec<String> = tensors.names().into_iter().map(ToString::to_string).collect();
        names.sort();
        names
    };
    ensure!(names(&ours) == names(&theirs), "{:?}, not {:?}", names(&ours), names(&theirs));
    let mut largest = 0.0_f64;
    for (name, theirs) in theirs.iter() {
        let error = error(&ours.tensor(name)?, &theirs)
            .with_context(|| format!("{}: {name}", actual.display()))?;
        largest = largest.max(error);
    }
    Ok(largest)
}

fn error(actual: &TensorView<'_>, expected: &TensorView<'_>) -> Result<f64> {
    ensure!(
        actual.shape() == expected.shape() && actual.dtype() == expected.dtype(),
        "{:?} {:?}, not {:?} {:?}",
        actual.dtype(),
        actual.shape(),
        expected.dtype(),
        expected.shape()
    );
    if expected.dtype() != Dtype::F32 {
        bail!("cannot compare {:?}", expected.dtype());
    }
    let mut scale = 0.0_f64;
    let mut largest = 0.0_f64;
    for (actual, expected) in floats(actual.data()).zip(floats(expected.data())) {
        let difference = (actual - expected).abs();
        ensure!(difference.is_finite(), "{actual}, not {expected}");
        largest = largest.max(difference);
        scale = scale.max(expected.abs());
    }
    Ok(if largest == 0.0 { 0.0 } else { largest / scale })
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f64> {
    let (chunks, _) = bytes.as_chunks::<4>();
    chunks.iter().map(|chunk| f32::from_le_bytes(*chunk).into())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn error_of(actual: [f32; 2], expected: [f32; 2]) -> Result<f64> {
        let bytes = |values: [f32; 2]| values.map(f32::to_le_bytes).concat();
        let (actual, expected) = (bytes(actual), bytes(expected));
        let view = |bytes| TensorView::new(Dtype::F32, vec![2], bytes).unwrap();
        error(&view(&actual), &view(&expected))
    }

    #[test]
    fn the_error_is_relative_to_the_largest_element() {
        assert_eq!(error_of([1.0, -8.0], [2.0, -8.0]).unwrap(), 0.125);
        assert_eq!(error_of([0.0, 0.0], [0.0, 0.0]).unwrap(), 0.0);
    }

    #[test]
    fn numbers_that_are_not_finite_are_never_equal() {
        assert!(error_of([f32::NAN, 0.0], [f32::NAN, 0.0]).is_err());
        assert!(error_of([f32::INFINITY, 0.0], [1.0, 0.0]).is_err());
    }
}
