use multiversion::multiversion;
use rayon::prelude::*;

use super::affine::total;
use super::lanes;
use super::matrix::changed;

/// Rows per task, whatever the number of cores, so that sums do not depend on it.
const TASK_ROWS: usize = 16;

/// Layer normalisation of rows as long as `gamma`.
pub(super) fn normalise(x: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32) -> Vec<f32> {
    #[multiversion(targets = "simd")]
    fn task(rows: &mut [f32], gamma: &[f32], beta: &[f32], epsilon: f32) {
        for row in rows.chunks_exact_mut(gamma.len()) {
            let (mean, inverse) = statistics(row, epsilon);
            for ((x, gamma), beta) in row.iter_mut().zip(gamma).zip(beta) {
                *x = lanes::multiply_add((*x - mean) * inverse, *gamma, *beta);
            }
        }
    }
    changed(x, TASK_ROWS * gamma.len(), |rows| task(rows, gamma, beta, epsilon))
}

/// Gradients of `x`, gamma and beta; see [`generic_backward`](super::super::normalise::generic_backward).
pub(super) fn normalise_backward(
    x: &[f32],
    gamma: &[f32],
    output_gradient: &[f32],
    epsilon: f32,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let channels = gamma.len();
    let task = TASK_ROWS * channels;
    let mut x_gradient = output_gradient.to_vec();
    let parameters: Vec<(Vec<f32>, Vec<f32>)> = x_gradient
        .par_chunks_mut(task)
        .zip(x.par_chunks(task))
        .map(|(gradients, rows)| {
            let (mut gamma_gradient, mut beta_gradient) =
                (vec![0.0; channels], vec![0.0; channels]);
            backward_of_task(
                rows,
                gradients,
                gamma,
                epsilon,
                &mut gamma_gradient,
                &mut beta_gradient,
            );
            (gamma_gradient, beta_gradient)
        })
        .collect();
    let (gamma_gradient, beta_gradient): (Vec<_>, Vec<_>) = parameters.into_iter().unzip();
    (x_gradient, total(&gamma_gradient, channels), total(&beta_gradient, channels))
}

/// Replaces the gradients of the output by those of `rows`, and adds to those of the parameters.
#[multiversion(targets = "simd")]
fn backward_of_task(
    rows: &[f32],
    gradients: &mut [f32],
    gamma: &[f32],
    epsilon: f32,
    gamma_gradient: &mut [f32],
    beta_gradient: &mut [f32],
) {
    let channels = gamma.len();
    let share = 1.0 / channels as f32;
    let mut normal = vec![0.0; channels];
    for (row, gradient) in rows.chunks_exact(channels).zip(gradients.chunks_exact_mut(channels)) {
        let (mean, inverse) = statistics(row, epsilon);
        for (normal, x) in normal.iter_mut().zip(row) {
            *normal = (x - mean) * inverse;
        }
        let parameters = gamma_gradient.iter_mut().zip(beta_gradient.iter_mut()).zip(gamma);
        let received = gradient.iter_mut().zip(&normal);
        for (((gamma_gradient, beta_gradient), gamma), (gradient, normal)) in
            parameters.zip(received)
        {
            *gamma_gradient += *gradient * normal;
            *beta_gradient += *gradient;
            *gradient *= gamma;
        }
        let mean = lanes::sum(gradient, |x| x) * share;
        let along = lanes::dot(gradient, &normal) * share;
        for (gradient, normal) in gradient.iter_mut().zip(&normal) {
            *gradient = (*gradient - mean - normal * along) * inverse;
        }
    }
}

/// Mean and inverse standard deviation.
#[inline(always)]
fn statistics(row: &[f32], epsilon: f32) -> (f32, f32) {
    let share = 1.0 / row.len() as f32;
    let mean = lanes::sum(row, |x| x) * share;
    let variance = lanes::sum(row, |x| (x - mean) * (x - mean)) * share;
    (mean, 1.0 / (variance + epsilon).sqrt())
}
