use faer::MatRef;
use rayon::prelude::*;

use super::matrix::{product, strided};

/// Rows per task, whatever the number of cores, so that sums do not depend on it.
const TASK_ROWS: usize = 64;

/// `output_gradient weightᵀ`.
pub(super) fn input_backward(
    weight: MatRef<'_, f32>,
    output_gradient: MatRef<'_, f32>,
) -> Vec<f32> {
    product(output_gradient, weight.transpose(), &vec![0.0; weight.nrows()])
}

/// `xᵀ output_gradient`, and the sums of the columns of `output_gradient`.
pub(super) fn parameters_backward(
    x: MatRef<'_, f32>,
    output_gradient: &[f32],
    channels_out: usize,
) -> (Vec<f32>, Vec<f32>) {
    let gradient_rows = strided(output_gradient, [x.nrows(), channels_out], [channels_out, 1]);
    let weight = product(x.transpose(), gradient_rows, &vec![0.0; channels_out]);

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

/// The sum of rows of equal length, in their order.
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
