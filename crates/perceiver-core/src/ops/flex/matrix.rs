#![allow(unsafe_code, reason = "memory holds numbers from when the threads have written it")]

use std::mem::MaybeUninit;

use faer::linalg::matmul::matmul;
use faer::prelude::ReborrowMut as _;
use faer::{Accum, MatMut, MatRef, Par, RowRef};
use rayon::prelude::*;

/// Multiplications from which on a product is shared among the threads.
const WORTH_SHARING: usize = 1 << 19;

/// Rows or columns that make up the narrowest share: a few vector registers.
const NARROWEST: usize = 64;

/// A matrix somewhere in a slice.
///
/// # Panics
/// If neither its rows nor its columns lie in one piece each, or an element lies beyond the slice.
pub(super) fn strided(
    elements: &[f32],
    [rows, columns]: [usize; 2],
    [row_stride, column_stride]: [usize; 2],
) -> MatRef<'_, f32> {
    if column_stride == 1 {
        return MatRef::from_row_major_slice_with_stride(elements, rows, columns, row_stride);
    }
    assert_eq!(row_stride, 1, "neither rows nor columns lie in one piece");
    MatRef::from_column_major_slice_with_stride(elements, rows, columns, column_stride)
}

/// A matrix that is written, row by row.
///
/// # Panics
/// If rows overlap, or an element lies beyond the slice.
pub(super) fn strided_mut<T>(
    elements: &mut [T],
    [rows, columns]: [usize; 2],
    row_stride: usize,
) -> MatMut<'_, T> {
    // Of the transpose, as faer 0.24's constructor for rows mixes up the strides.
    MatMut::from_column_major_slice_with_stride_mut(elements, columns, rows, row_stride)
        .transpose_mut()
}

/// Replaces the product by `scale · left · right`, or adds that to it, on one thread.
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

/// `left · right`, and a row that is added to each of its rows, on every core.
///
/// # Panics
/// If the shapes disagree.
pub(super) fn product(left: MatRef<'_, f32>, right: MatRef<'_, f32>, added: &[f32]) -> Vec<f32> {
    let [rows, columns] = [left.nrows(), right.ncols()];
    let worth_sharing = rows * columns * left.ncols() >= WORTH_SHARING;
    let threads = if worth_sharing { rayon::current_num_threads() } else { 1 };
    let added = MatRef::from_repeated_row(RowRef::from_slice(added), rows);
    // SAFETY: the shares make up the whole product, and each writes all of its own.
    unsafe {
        fresh(rows * columns, |memory| {
            share(threads, strided_mut(memory, [rows, columns], columns), added, left, right);
        })
    }
}

/// Cuts a product for so many threads: between columns while there are enough, as what is right
/// of the product, a weight, is then packed only once.
///
/// faer's own threads are another pool than rayon's and wait for each other at barriers.
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
        // Between rows, which are the columns of the transpose.
        let (product, added) = (product.transpose_mut(), added.transpose());
        return share(threads, product, added, right.transpose(), left.transpose());
    }
    let half = threads / 2;
    let middle = (columns * half / threads).next_multiple_of(NARROWEST / 4);
    let (first, last) = product.split_at_col_mut(middle);
    let (added_to_first, added_to_last) = added.split_at_col(middle);
    let (of_first, of_last) = right.split_at_col(middle);
    rayon::join(
        || share(half, first, added_to_first, left, of_first),
        || share(threads - half, last, added_to_last, left, of_last),
    );
}

/// A copy of `numbers`, so many of which `change` is given at a time, on every core.
pub(super) fn changed(
    numbers: &[f32],
    task: usize,
    change: impl Fn(&mut [f32]) + Sync,
) -> Vec<f32> {
    // SAFETY: the tasks are all numbers, and each begins with a copy of its own.
    unsafe {
        fresh(numbers.len(), |memory| {
            let tasks = memory.par_chunks_mut(task).zip(numbers.par_chunks(task));
            tasks.for_each(|(memory, numbers)| change(memory.write_copy_of_slice(numbers)));
        })
    }
}

/// So many numbers that `write` writes, in memory that is not cleared first: a single thread would
/// do that while the others wait.
///
/// # Safety
/// `write` writes them all.
pub(super) unsafe fn fresh(count: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(count);
    write(&mut numbers.spare_capacity_mut()[..count]);
    // SAFETY: the caller's promise.
    unsafe { numbers.set_len(count) };
    numbers
}

/// A copy of `numbers` in memory that may hold none yet.
///
/// # Panics
/// If the shapes disagree.
pub(super) fn written<'a>(
    mut memory: MatMut<'a, MaybeUninit<f32>>,
    numbers: MatRef<'_, f32>,
) -> MatMut<'a, f32> {
    let (rows, columns) = (memory.nrows(), memory.ncols());
    assert_eq!((rows, columns), (numbers.nrows(), numbers.ncols()), "another shape");
    if numbers.col_stride() != 1 {
        return written(memory.transpose_mut(), numbers.transpose()).transpose_mut();
    }
    for (row, numbers) in memory.rb_mut().row_iter_mut().zip(numbers.row_iter()) {
        let row = row.try_as_row_major_mut().expect("its columns follow each other");
        let numbers = numbers.try_as_row_major().expect("and so do theirs");
        row.as_slice_mut().write_copy_of_slice(numbers.as_slice());
    }
    let (row_stride, column_stride) = (memory.row_stride(), memory.col_stride());
    // SAFETY: the same memory for as long, all of which has just been written.
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

    /// Small whole numbers, of which sums are exact in any order.
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
                let of_rows = MatRef::from_repeated_row(RowRef::from_slice(&added), rows);
                share(threads, product, of_rows, left, right);
                for (i, found) in memory.iter().enumerate() {
                    let (row, column) = (i / columns, i % columns);
                    let terms = (0..inner).map(|k| left[(row, k)] * right[(k, column)]);
                    // SAFETY: it held a number from the start.
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
