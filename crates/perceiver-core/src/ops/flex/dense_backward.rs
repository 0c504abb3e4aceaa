use faer::{Accum, MatMut, MatRef};
use multiversion::multiversion;
use rayon::prelude::*;

use super::array::{Array, Hidden};
use super::lanes;
use super::matrix::{multiply, strided_mut};
use super::stream::Tile;

/// Rows and keys of a tile: two tiles of scores stay in the second-level cache.
const TILE: usize = 256;

/// Gradients of dense attention. Rows are contiguous.
#[derive(Debug)]
pub(super) struct DenseBackward<'a> {
    /// `[batch, heads, queries, qk_channels]`.
    pub(super) queries: Array<'a>,
    /// `[batch, heads, keys, qk_channels]`.
    pub(super) keys: Array<'a>,
    /// `[batch, heads, keys, v_channels]`.
    pub(super) values: Array<'a>,
    /// `[batch, heads, queries, v_channels]`.
    pub(super) output: Array<'a>,
    /// `[batch, heads, queries, 1]`.
    pub(super) log_sum_exp: Array<'a>,
    /// `[batch, heads, queries, v_channels]`.
    pub(super) output_gradient: Array<'a>,
    pub(super) hidden: Option<Hidden<'a>>,
    pub(super) scale: f32,
}

/// Gradients of one problem, row by row.
struct Gradients<'a> {
    queries: &'a mut [f32],
    keys: &'a mut [f32],
    values: &'a mut [f32],
}

impl DenseBackward<'_> {
    /// Gradients of queries, keys and values, each contiguous. Problems run on all cores.
    pub(super) fn run(&self) -> [Vec<f32>; 3] {
        let numbers = |array: &Array<'_>| array.shape.iter().product();
        let mut found =
            [&self.queries, &self.keys, &self.values].map(|array| vec![0.0; numbers(array)]);
        let per_problem = |array: &Array<'_>| array.shape[2] * array.shape[3];
        let [queries, keys, values] = &mut found;
        queries
            .par_chunks_mut(per_problem(&self.queries))
            .zip(keys.par_chunks_mut(per_problem(&self.keys)))
            .zip(values.par_chunks_mut(per_problem(&self.values)))
            .enumerate()
            .for_each(|(problem, ((queries, keys), values))| {
                self.add_problem(problem, &mut Gradients { queries, keys, values });
            });
        found
    }

    fn add_problem(&self, problem: usize, found: &mut Gradients<'_>) {
        let [_, _, query_count, _] = self.queries.shape;
        let [_, _, key_count, _] = self.values.shape;
        let hides_all = |keys| self.hidden.is_some_and(|hidden| hidden.all(problem, keys));
        let all_hidden = hides_all(0..key_count);
        let mut probabilities = vec![0.0; TILE.min(query_count) * TILE.min(key_count)];
        let mut slopes = probabilities.clone();
        for first in (0..query_count).step_by(TILE) {
            let rows = first..(first + TILE).min(query_count);
            let balance: Vec<f32> = rows
                .clone()
                .map(|row| {
                    let gradient = self.output_gradient.row(problem, row);
                    balance(gradient, self.output.row(problem, row)) as f32
                })
                .collect();
            let log_sum_exp: Vec<f32> =
                rows.clone().map(|row| self.log_sum_exp.row(problem, row)[0]).collect();
            for start in (0..key_count).step_by(TILE) {
                let tile_keys = start..(start + TILE).min(key_count);
                if !all_hidden && hides_all(tile_keys.clone()) {
                    continue;
                }
                let hidden = self.hidden.map(|hidden| hidden.of(problem, tile_keys.clone()));
                let tile = Tile { problem, rows: rows.clone(), keys: tile_keys };
                let (queries, keys) = tile.of(&self.queries, &self.keys);
                let (gradient, values) = tile.of(&self.output_gradient, &self.values);
                let numbers = rows.len() * tile.keys.len();
                let (probabilities, slopes) =
                    (&mut probabilities[..numbers], &mut slopes[..numbers]);
                if all_hidden {
                    // Such rows attend to all keys equally, whatever the scores are.
                    probabilities.fill(1.0 / key_count as f32);
                    slopes.fill(0.0);
                } else {
                    let product = tile.product(probabilities);
                    multiply(product, Accum::Replace, self.scale, queries, keys.transpose());
                    let received = tile.product(slopes);
                    multiply(received, Accum::Replace, 1.0, gradient, values.transpose());
                    slope(probabilities, slopes, &log_sum_exp, &balance, hidden);
                }

                let (probabilities, slopes) = (tile.scores(probabilities), tile.scores(slopes));
                let values_gradient = rows_from(found.values, start, values);
                multiply(values_gradient, Accum::Add, 1.0, probabilities.transpose(), gradient);
                let keys_gradient = rows_from(found.keys, start, keys);
                multiply(keys_gradient, Accum::Add, self.scale, slopes.transpose(), queries);
                let queries_gradient = rows_from(found.queries, first, queries);
                multiply(queries_gradient, Accum::Add, self.scale, slopes, keys);
            }
        }
    }
}

/// The gradients of as many rows as `rows` has, starting at row `first` of a problem.
fn rows_from<'a>(gradients: &'a mut [f32], first: usize, rows: MatRef<'_, f32>) -> MatMut<'a, f32> {
    let channels = rows.ncols();
    strided_mut(&mut gradients[first * channels..], [rows.nrows(), channels], channels)
}

/// `Σ gradient · output` of a row. In double precision, because it cancels with the gradient of a
/// probability where one key has all the weight.
pub(super) fn balance(gradient: &[f32], output: &[f32]) -> f64 {
    gradient.iter().zip(output).map(|(&g, &o)| f64::from(g) * f64::from(o)).sum()
}

/// Turns scores into probabilities, and the gradients of these into gradients of the scores.
#[multiversion(targets = "simd")]
pub(super) fn slope(
    scores: &mut [f32],
    received: &mut [f32],
    log_sum_exp: &[f32],
    balance: &[f32],
    hidden: Option<&[u8]>,
) {
    let keys = scores.len() / balance.len();
    let rows = scores.chunks_exact_mut(keys).zip(received.chunks_exact_mut(keys));
    for ((scores, received), (lse, balance)) in rows.zip(log_sum_exp.iter().zip(balance)) {
        if let Some(hidden) = hidden {
            lanes::hide(scores, hidden);
        }
        for (score, received) in scores.iter_mut().zip(received) {
            *score = lanes::exp(*score - lse);
            *received = (*received - balance) * *score;
        }
    }
}
