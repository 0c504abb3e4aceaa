//! Conversions between Flex's tensors and plain memory.

use burn::backend::Flex;
use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};
use faer::MatRef;

use super::array::{Array, Hidden};
use super::matrix::strided;
use crate::ops::{GridPoints, HiddenKeys};

/// A contiguous tensor of `numbers`.
pub(super) fn tensor(numbers: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(numbers), Layout::contiguous(shape), DType::F32)
}

/// A view of `[rows, columns]`.
pub(super) fn matrix(tensor: &FlexTensor) -> MatRef<'_, f32> {
    let (elements, strides) = memory(tensor);
    strided(elements, tensor.layout().shape().dims(), strides)
}

/// A tensor whose storage holds exactly its numbers, in order.
pub(super) fn numbers(tensor: FlexTensor) -> FlexTensor {
    let tensor = tensor.to_contiguous();
    let layout = tensor.layout();
    let count = layout.num_elements();
    if layout.start_offset() == 0 && tensor.storage::<f32>().len() == count {
        return tensor;
    }
    let numbers = tensor.storage::<f32>()[layout.start_offset()..][..count].to_vec();
    let layout = Layout::contiguous(layout.shape().clone());
    FlexTensor::new(Bytes::from_elems(numbers), layout, DType::F32)
}

/// A tensor with contiguous rows.
pub(super) fn with_contiguous_rows(tensor: FlexTensor) -> FlexTensor {
    let tensor = with_contiguous_lines(tensor);
    let strides = tensor.layout().strides();
    if strides[strides.len() - 1] == 1 { tensor } else { tensor.to_contiguous() }
}

/// A tensor with contiguous rows or columns and without negative strides.
pub(super) fn with_contiguous_lines(tensor: FlexTensor) -> FlexTensor {
    let strides = tensor.layout().strides();
    let forward = strides.iter().all(|&stride| stride >= 0);
    let in_pieces = strides[strides.len() - 2..].contains(&1);
    if forward && in_pieces { tensor } else { tensor.to_contiguous() }
}

/// A view of `[batch, heads, rows, columns]`.
pub(super) fn whole(tensor: &FlexTensor) -> Array<'_> {
    let (elements, strides) = memory(tensor);
    Array { elements, shape: tensor.layout().shape().dims(), strides }
}

/// A view of `[batch, rows, columns]` that repeats for every head.
pub(super) fn for_heads(tensor: &FlexTensor, heads: usize) -> Array<'_> {
    let (elements, [batch_stride, row_stride, column_stride]) = memory(tensor);
    let [batch, rows, columns] = tensor.layout().shape().dims();
    Array {
        elements,
        shape: [batch, heads, rows, columns],
        strides: [batch_stride, 0, row_stride, column_stride],
    }
}

/// Elements from the first of the tensor on, and its strides, none of which is negative.
pub(super) fn memory<const D: usize>(tensor: &FlexTensor) -> (&[f32], [usize; D]) {
    let layout = tensor.layout();
    let strides = layout.strides();
    let elements = &tensor.storage()[layout.start_offset()..];
    (elements, std::array::from_fn(|dim| strides[dim] as usize))
}

/// `[.., columns]` as `[.., 1, columns]`.
pub(super) fn as_rows(tensor: FlexTensor) -> FlexTensor {
    let mut shape = tensor.layout().shape().to_vec();
    shape.insert(shape.len() - 1, 1);
    tensor.to_contiguous().reshape(Shape::from(shape))
}

pub(super) fn flags(hidden: HiddenKeys<Flex>) -> Option<FlexTensor> {
    match hidden {
        HiddenKeys::None => None,
        HiddenKeys::Some(hidden) => Some(hidden.to_contiguous()),
    }
}

pub(super) fn view(flags: Option<&FlexTensor>, heads: usize) -> Option<Hidden<'_>> {
    flags.map(|flags| {
        let layout = flags.layout();
        let [_, keys] = layout.shape().dims();
        Hidden { flags: &flags.storage()[layout.start_offset()..], heads, keys }
    })
}

/// Flat indices of cells; none if every cell is meant.
///
/// # Panics
/// If an index is negative.
pub(super) fn cells(points: GridPoints<Flex>) -> Option<Vec<usize>> {
    let cell = |point: i64| usize::try_from(point).expect("points are not negative");
    match points {
        GridPoints::All => None,
        GridPoints::Some(points) => Some(points.into_data().iter::<i64>().map(cell).collect()),
    }
}
