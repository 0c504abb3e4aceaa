use multiversion::multiversion;
use rayon::prelude::*;

use super::matrix::{Matrix, MatrixMut, multiply_in_parallel};

/// Rows whose gradients one task sums, whatever the number of cores, so that sums do not depend on
/// it.
const TASK_ROWS: usize = 64;

/// Rows from which on a product by a transposed weight is worth a transposed copy: `gemm` packs
/// a right side whose rows lie in one piece faster than one whose columns do.
const ROWS_WORTH_A_COPY: usize = 128;

/// Side of the squares in which a matrix is transposed: a row of one is an AVX-512 register.
const SQUARE: usize = 16;

/// `x weight + bias`.
pub(super) fn affine(x: Matrix<'_>, weight: Matrix<'_>, bias: &[f32]) -> Vec<f32> {
    let mut output = bias.repeat(x.row_count());
    let mut product = MatrixMut { elements: &mut output, row_stride: bias.len() };
    multiply_in_parallel(x, weight, &mut product, true);
    output
}

/// `output_gradient weightᵀ`.
pub(super) fn input_backward(
    weight: &[f32],
    channels_out: usize,
    output_gradient: Matrix<'_>,
) -> Vec<f32> {
    let rows = output_gradient.row_count();
    let channels_in = weight.len() / channels_out;
    let mut gradient = vec![0.0; rows * channels_in];
    let mut product = MatrixMut { elements: &mut gradient, row_stride: channels_in };
    let view = |elements, strides| Matrix::new(elements, [channels_out, channels_in], strides);
    if rows < ROWS_WORTH_A_COPY {
        let right = view(weight, [1, channels_out]);
        multiply_in_parallel(output_gradient, right, &mut product, false);
    } else {
        let copy = transposed(weight, channels_out);
        let right = view(&copy, [channels_in, 1]);
        multiply_in_parallel(output_gradient, right, &mut product, false);
    }
    gradient
}

/// `xᵀ output_gradient`, and the columns' sums of `output_gradient`.
pub(super) fn parameters_backward(
    x: Matrix<'_>,
    channels_in: usize,
    output_gradient: &[f32],
    channels_out: usize,
) -> (Vec<f32>, Vec<f32>) {
    let rows = output_gradient.len() / channels_out;
    let mut weight = vec![0.0; channels_in * channels_out];
    let mut product = MatrixMut { elements: &mut weight, row_stride: channels_out };
    let right = Matrix::new(output_gradient, [rows, channels_out], [channels_out, 1]);
    multiply_in_parallel(x.transposed(), right, &mut product, false);

    let sums = |rows: &[f32]| {
        let mut sum = vec![0.0; channels_out];
        for row in rows.chunks_exact(channels_out) {
            add_to(&mut sum, row);
        }
        sum
    };
    let tasks = output_gradient.par_chunks(TASK_ROWS * channels_out).map(sums);
    (weight, total(&tasks.collect::<Vec<_>>(), channels_out))
}

/// The sum of equally long rows, in their order.
pub(super) fn total(parts: &[Vec<f32>], length: usize) -> Vec<f32> {
    let mut total = vec![0.0; length];
    for part in parts {
        add_to(&mut total, part);
    }
    total
}

fn add_to(sum: &mut [f32], terms: &[f32]) {
    for (sum, term) in sum.iter_mut().zip(terms) {
        *sum += term;
    }
}

/// The transpose of a matrix of `columns`, whose rows follow each other.
fn transposed(elements: &[f32], columns: usize) -> Vec<f32> {
    let rows = elements.len() / columns;
    let mut copy = vec![0.0; elements.len()];
    let bands = copy.par_chunks_mut(SQUARE * rows).enumerate();
    bands.for_each(|(band, copy)| transpose_band(elements, columns, band * SQUARE, copy));
    copy
}

/// Writes the columns from `first` on as rows.
#[multiversion(targets = "simd")]
fn transpose_band(elements: &[f32], columns: usize, first: usize, copy: &mut [f32]) {
    let rows = elements.len() / columns;
    let width = copy.len() / rows;
    let squares = if width == SQUARE { rows / SQUARE } else { 0 };
    for start in (0..squares).map(|square| square * SQUARE) {
        // Of constant size, it is turned in vector registers.
        let mut square = [[0.0; SQUARE]; SQUARE];
        for (i, line) in square.iter_mut().enumerate() {
            line.copy_from_slice(&elements[(start + i) * columns + first..][..SQUARE]);
        }
        for column in 0..SQUARE {
            let copied = &mut copy[column * rows + start..][..SQUARE];
            for (copied, line) in copied.iter_mut().zip(&square) {
                *copied = line[column];
            }
        }
    }
    for row in squares * SQUARE..rows {
        for column in 0..width {
            copy[column * rows + row] = elements[row * columns + first + column];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_matrix_swaps_rows_and_columns() {
        let (rows, columns) = (SQUARE + 1, 2 * SQUARE + 3);
        let elements: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
        let copy = transposed(&elements, columns);
        for row in 0..rows {
            for column in 0..columns {
                assert_eq!(copy[column * rows + row], elements[row * columns + column]);
            }
        }
    }
}
