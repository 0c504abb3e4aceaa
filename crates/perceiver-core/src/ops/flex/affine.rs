use faer::{Accum, MatRef};
use rayon::prelude::*;

use super::matrix::{multiply_in_parallel, strided, strided_mut};

/// Rows whose gradients one task sums, whatever the number of cores, so that sums do not depend on
/// it.
const TASK_ROWS: usize = 64;

/// `x weight + bias`.
pub(super) fn affine(x: MatRef<'_, f32>, weight: MatRef<'_, f32>, bias: &[f32]) -> Vec<f32> {
    let mut output = bias.repeat(x.nrows());
    let product = strided_mut(&mut output, [x.nrows(), bias.len()], bias.len());
    multiply_in_parallel(product, Accum::Add, x, weight);
    output
}

/// `output_gradient weightᵀ`.
pub(super) fn input_backward(
    weight: MatRef<'_, f32>,
    output_gradient: MatRef<'_, f32>,
) -> Vec<f32> {
    let [rows, channels_in] = [output_gradient.nrows(), weight.nrows()];
    let mut gradient = vec![0.0; rows * channels_in];
    let product = strided_mut(&mut gradient, [rows, channels_in], channels_in);
    multiply_in_parallel(product, Accum::Replace, output_gradient, weight.transpose());
    gradient
}

/// `xᵀ output_gradient`, and the columns' sums of `output_gradient`.
pub(super) fn parameters_backward(
    x: MatRef<'_, f32>,
    output_gradient: &[f32],
    channels_out: usize,
) -> (Vec<f32>, Vec<f32>) {
    let [rows, channels_in] = [x.nrows(), x.ncols()];
    let mut weight = vec![0.0; channels_in * channels_out];
    let product = strided_mut(&mut weight, [channels_in, channels_out], channels_out);
    let right = strided(output_gradient, [rows, channels_out], [channels_out, 1]);
    multiply_in_parallel(product, Accum::Replace, x.transpose(), right);

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
