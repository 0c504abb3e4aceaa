use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

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
pub(super) fn strided_mut(
    elements: &mut [f32],
    [rows, columns]: [usize; 2],
    row_stride: usize,
) -> MatMut<'_, f32> {
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

/// Replaces the product by `left · right`, or adds that to it, on every core.
///
/// # Panics
/// If the shapes disagree.
pub(super) fn multiply_in_parallel(
    product: MatMut<'_, f32>,
    accumulate: Accum,
    left: MatRef<'_, f32>,
    right: MatRef<'_, f32>,
) {
    let multiplications = product.nrows() * product.ncols() * left.ncols();
    let threads = if multiplications < WORTH_SHARING { 1 } else { rayon::current_num_threads() };
    share(threads, product, accumulate, left, right);
}

/// Cuts a product for so many threads: between columns while there are enough, as what is right
/// of the product, a weight, is then packed only once.
///
/// faer's own threads are another pool than rayon's and wait for each other at barriers.
fn share(
    threads: usize,
    product: MatMut<'_, f32>,
    accumulate: Accum,
    left: MatRef<'_, f32>,
    right: MatRef<'_, f32>,
) {
    let (rows, columns) = (product.nrows(), product.ncols());
    if threads < 2 || rows.max(columns) < 2 * NARROWEST {
        return multiply(product, accumulate, 1.0, left, right);
    }
    if columns < rows.min(threads * NARROWEST) {
        // Between rows, which are the columns of the transpose.
        let product = product.transpose_mut();
        return share(threads, product, accumulate, right.transpose(), left.transpose());
    }
    let half = threads / 2;
    let middle = (columns * half / threads).next_multiple_of(NARROWEST / 4);
    let (first, last) = product.split_at_col_mut(middle);
    let (of_first, of_last) = right.split_at_col(middle);
    rayon::join(
        || share(half, first, accumulate, left, of_first),
        || share(threads - half, last, accumulate, left, of_last),
    );
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
        for [rows, inner, columns] in [[3, 5, 700], [700, 5, 3], [130, 4, 129], [1, 2, 1]] {
            let (left, right) = (numbers(rows * inner, 0), numbers(inner * columns, 1));
            let left = strided(&left, [rows, inner], [inner, 1]);
            let right = strided(&right, [inner, columns], [columns, 1]);
            for threads in [1, 2, 3, 7] {
                let mut product = vec![1.0; rows * columns];
                let of_product = strided_mut(&mut product, [rows, columns], columns);
                share(threads, of_product, Accum::Add, left, right);
                for (i, found) in product.iter().enumerate() {
                    let (row, column) = (i / columns, i % columns);
                    let terms = (0..inner).map(|k| left[(row, k)] * right[(k, column)]);
                    assert_eq!(*found, 1.0 + terms.sum::<f32>(), "({row}, {column})");
                }
            }
        }
    }
}
