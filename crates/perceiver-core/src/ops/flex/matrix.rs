#![allow(unsafe_code, reason = "threads write to memory that is not initialised first")]

use std::mem::MaybeUninit;

use faer::linalg::matmul::matmul;
use faer::prelude::ReborrowMut as _;
use faer::{Accum, MatMut, MatRef, Par, RowRef};
use rayon::prelude::*;

/// Multiplications from which a product is worth sharing among threads.
const WORTH_SHARING: usize = 1 << 19;

/// Rows or columns of the narrowest share: a few vector registers.
const NARROWEST: usize = 64;

/// A view of a slice as a matrix.
///
/// # Panics
/// If neither rows nor columns are contiguous, or an element lies beyond the slice.
pub(super) fn strided(
    elements: &[f32],
    [rows, columns]: [usize; 2],
    [row_stride, column_stride]: [usize; 2],
) -> MatRef<'_, f32> {
    if column_stride == 1 {
        return MatRef::from_row_major_slice_with_stride(elements, rows, columns, row_stride);
    }
    assert_eq!(row_stride, 1, "neither rows nor columns are contiguous");
    MatRef::from_column_major_slice_with_stride(elements, rows, columns, column_stride)
}

/// A mutable view of a slice as a row-major matrix.
///
/// # Panics
/// If rows overlap, or an element lies beyond the slice.
pub(super) fn strided_mut<T>(
    elements: &mut [T],
    [rows, columns]: [usize; 2],
    row_stride: usize,
) -> MatMut<'_, T> {
    // Built as a transpose, because the row-major constructor of faer 0.24 mixes up the strides.
    MatMut::from_column_major_slice_with_stride_mut(elements, columns, rows, row_stride)
        .transpose_mut()
}

/// Sets `product` to `scale · left · right`, or adds that to it, on one thread.
///
/// # Panics
/// If the shapes disagree.
pub(super) fn multiply(
    product: MatMut<'_, f32>,
    accumulate: Accum,
    scale: f32,
    left: MatRef<'_, f32>,
    right: MatRef<'_, f32>,
) {
    matmul(product, accumulate, left, right, scale, Par::Seq);
}

/// `left · right` plus the row `added` in each row, on every core.
///
/// # Panics
/// If the shapes disagree.
pub(super) fn product(left: MatRef<'_, f32>, right: MatRef<'_, f32>, added: &[f32]) -> Vec<f32> {
    let [rows, columns] = [left.nrows(), right.ncols()];
    let worth_sharing = rows * columns * left.ncols() >= WORTH_SHARING;
    let threads = if worth_sharing { rayon::current_num_threads() } else { 1 };
    let added = MatRef::from_repeated_row(RowRef::from_slice(added), rows);
    // SAFETY: the shares cover the whole product, and each is written completely.
    unsafe {
        fresh(rows * columns, |memory| {
            share(threads, strided_mut(memory, [rows, columns], columns), added, left, right);
        })
    }
}

/// Splits a product among threads: between columns while there are enough, because the right factor, a
/// weight, is then packed only once.
///
/// faer's own threads form another pool than rayon's, and wait for each other at barriers.
fn share(
    threads: usize,
    product: MatMut<'_, MaybeUninit<f32>>,
    added: MatRef<'_, f32>,
    left: MatRef<'_, f32>,
    right: MatRef<'_, f32>,
) {
    let (rows, columns) = (product.nrows(), product.ncols());
    if threads < 2 || rows.max(columns) < 2 * NARROWEST {
        return multiply(written(product, added), Accum::Add, 1.0, left, right);
    }
    if columns < rows.min(threads * NARROWEST) {
        // Split between rows, the columns of the transpose.
        let (product, added) = (product.transpose_mut(), added.transpose());
        return share(threads, product, added, right.transpose(), left.transpose());
    }
    let half = threads / 2;
    let middle = (columns * half / threads).next_multiple_of(NARROWEST / 4);
    let (first, last) = product.split_at_col_mut(middle);
    let (added_to_first, added_to_last) = added.split_at_col(middle);
    let (right_of_first, right_of_last) = right.split_at_col(middle);
    rayon::join(
        || share(half, first, added_to_first, left, right_of_first),
        || share(threads - half, last, added_to_last, left, right_of_last),
    );
}

/// A copy of `numbers` to which `change` is applied, `task` numbers at a time, on every core.
pub(super) fn changed(
    numbers: &[f32],
    task: usize,
    change: impl Fn(&mut [f32]) + Sync,
) -> Vec<f32> {
    // SAFETY: the tasks cover all numbers, and each begins by copying its own.
    unsafe {
        fresh(numbers.len(), |memory| {
            let tasks = memory.par_chunks_mut(task).zip(numbers.par_chunks(task));
            tasks.for_each(|(memory, numbers)| change(memory.write_copy_of_slice(numbers)));
        })
    }
}

/// `count` numbers written by `write`, in memory that is not cleared first: a single thread would clear
/// it while the others wait.
///
/// # Safety
/// `write` initialises all of them.
pub(super) unsafe fn fresh(count: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(count);
    write(&mut numbers.spare_capacity_mut()[..count]);
    // SAFETY: promised by the caller.
    unsafe { numbers.set_len(count) };
    numbers
}

/// Copies `numbers` to memory that may be uninitialised.
///
/// # Panics
/// If the shapes disagree.
pub(super) fn written<'a>(
    mut memory: MatMut<'a, MaybeUninit<f32>>,
    numbers: MatRef<'_, f32>,
) -> MatMut<'a, f32> {
    let (rows, columns) = (memory.nrows(), memory.ncols());
    assert_eq!(
        (rows, columns),
        (numbers.nrows(), numbers.ncols()),
        "memory and numbers have the same shape"
    );
    if numbers.col_stride() != 1 {
        return written(memory.transpose_mut(), numbers.transpose()).transpose_mut();
    }
    for (row, numbers) in memory.rb_mut().row_iter_mut().zip(numbers.row_iter()) {
        let row = row.try_as_row_major_mut().expect("columns of the memory are contiguous");
        let numbers = numbers.try_as_row_major().expect("columns of the numbers are contiguous");
        row.as_slice_mut().write_copy_of_slice(numbers.as_slice());
    }
    let (row_stride, column_stride) = (memory.row_stride(), memory.col_stride());
    // SAFETY: the same memory with the same lifetime, all of it written above.
    unsafe {
        MatMut::from_raw_parts_mut(
            memory.as_ptr_mut().cast(),
            rows,
            columns,
            row_stride,
            column_stride,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers, whose sums are exact in any order.
    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7 + seed) % 11) as f32 - 5.0).collect()
    }

    #[test]
    fn shares_of_a_product_are_the_product() {
        for [rows, inner, columns] in [[3, 5, 700], [700, 5, 3], [700, 5, 1], [130, 4, 129]] {
            let (left, right) = (numbers(rows * inner, 0), numbers(inner * columns, 1));
            let left = strided(&left, [rows, inner], [inner, 1]);
            let right = strided(&right, [inner, columns], [columns, 1]);
            let added = numbers(columns, 2);
            for threads in [1, 2, 3, 7] {
                let mut memory = vec![MaybeUninit::new(f32::NAN); rows * columns];
                let product = strided_mut(&mut memory, [rows, columns], columns);
                let added_rows = MatRef::from_repeated_row(RowRef::from_slice(&added), rows);
                share(threads, product, added_rows, left, right);
                for (i, found) in memory.iter().enumerate() {
                    let (row, column) = (i / columns, i % columns);
                    let terms = (0..inner).map(|k| left[(row, k)] * right[(k, column)]);
                    // SAFETY: initialised above.
                    let found = unsafe { found.assume_init() };
                    assert_eq!(found, added[column] + terms.sum::<f32>(), "({row}, {column})");
                }
            }
        }
    }

    #[test]
    fn a_product_has_a_row_added() {
        let (left, right) = ([1.0, 2.0], [3.0, 4.0, 5.0, 6.0]);
        let (left, right) = (strided(&left, [1, 2], [2, 1]), strided(&right, [2, 2], [2, 1]));
        assert_eq!(product(left, right, &[0.5, 1.5]), [13.5, 17.5]);
        assert_eq!(product(left.subcols(0, 0), right.subrows(0, 0), &[0.5, 1.5]), [0.5, 1.5]);
    }
}
