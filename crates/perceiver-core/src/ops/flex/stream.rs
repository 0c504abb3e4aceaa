#![allow(unsafe_code, reason = "tasks write to memory that is not initialised first")]

use std::ops::Range;

use faer::{Accum, MatMut, MatRef};
use multiversion::multiversion;
use rayon::prelude::*;

use super::array::{Array, Hidden};
use super::lanes;
use super::matrix::{fresh, multiply, strided, strided_mut, written};

/// Rows of scores per task, at most: their sums stay in the second-level cache.
const MOST_ROWS: usize = 256;
/// Rows of scores per task, at least, if there are as many: fewer are not worth packing the keys.
const LEAST_ROWS: usize = 32;
/// Keys per tile of scores: with [`MOST_ROWS`], 256 KiB.
pub(super) const TILE_KEYS: usize = 256;

/// An operation for the streaming loop: scores, whose rows become probabilities, and sums weighted by
/// them.
///
/// Batch and head form one index, the problem: `batch · heads + head`.
pub(super) trait Kernel: Sync {
    fn size(&self) -> Size;

    /// The keys whose scores [`score`](Self::score) hides.
    fn hidden(&self) -> Option<Hidden<'_>> {
        None
    }

    /// Writes the scores of a tile, row by row, and the largest of each row.
    fn score(&self, place: &Tile, scores: &mut [f32], maxima: &mut [f32]);

    /// Adds the keys of a tile under their weights to the sums, `[rows, channels]`. It may change the
    /// weights.
    fn weigh(&self, place: &Tile, weights: &mut [f32], sums: &mut [f32]);
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) batch: usize,
    pub(super) heads: usize,
    pub(super) rows: usize,
    pub(super) keys: usize,
    /// Sums per row.
    pub(super) channels: usize,
}

/// A tile of scores.
#[derive(Debug, Clone)]
pub(super) struct Tile {
    pub(super) problem: usize,
    pub(super) rows: Range<usize>,
    pub(super) keys: Range<usize>,
}

impl Tile {
    fn shape(&self) -> [usize; 2] {
        [self.rows.len(), self.keys.len()]
    }

    /// The rows of the tile in one array and its keys in another.
    pub(super) fn of<'a>(
        &self,
        rows: &Array<'a>,
        keys: &Array<'a>,
    ) -> (MatRef<'a, f32>, MatRef<'a, f32>) {
        let [row_count, key_count] = self.shape();
        let rows = rows.problem(self.problem).subrows(self.rows.start, row_count);
        let keys = keys.problem(self.problem).subrows(self.keys.start, key_count);
        (rows, keys)
    }

    /// The scores of the tile as a matrix.
    pub(super) fn scores<'a>(&self, scores: &'a [f32]) -> MatRef<'a, f32> {
        strided(scores, self.shape(), [self.keys.len(), 1])
    }

    /// The scores of the tile as a matrix to write.
    pub(super) fn product<'a>(&self, scores: &'a mut [f32]) -> MatMut<'a, f32> {
        strided_mut(scores, self.shape(), self.keys.len())
    }

    /// Adds the weights of the tile times its rows of `values`, which has a row per key of the problem,
    /// to the first columns of `sums`, `[rows, channels]`.
    pub(super) fn add_weighted(
        &self,
        weights: &[f32],
        values: MatRef<'_, f32>,
        sums: &mut [f32],
        channels: usize,
    ) {
        let [rows, keys] = self.shape();
        let values = values.subrows(self.keys.start, keys);
        let sums = strided_mut(sums, [rows, values.ncols()], channels);
        multiply(sums, Accum::Add, 1.0, self.scores(weights), values);
    }
}

/// The result of a stream.
#[derive(Debug)]
pub(super) struct Streamed {
    /// The sums under normalised weights, `[batch, rows, heads, channels]`.
    pub(super) sums: Vec<f32>,
    /// `[batch, heads, rows]`.
    pub(super) log_sum_exp: Vec<f32>,
}

/// A running softmax over some keys for some rows.
struct Part {
    maxima: Vec<f32>,
    totals: Vec<f32>,
    sums: Vec<f32>,
}

/// Runs a kernel over all rows and keys, on every core.
pub(super) fn stream(kernel: &impl Kernel) -> Streamed {
    let size = kernel.size();
    let plan = Plan::new(&size, rayon::current_num_threads());
    let width = size.heads * size.channels;
    let mut log_sum_exp = Vec::new();
    // SAFETY: the tasks cover all rows of all problems, and each writes its sums.
    let sums = unsafe {
        fresh(size.batch * size.rows * width, |memory| {
            let tasks =
                plan.tasks(&size, strided_mut(memory, [size.batch * size.rows, width], width));
            let parts: Vec<Vec<f32>> = tasks
                .into_par_iter()
                .enumerate()
                .map(|(task, memory)| {
                    let (problem, block) = (task / plan.row_blocks, task % plan.row_blocks);
                    let part = plan.run(kernel, &size, problem, plan.rows(block, size.rows));
                    let shape = [memory.nrows(), size.channels];
                    written(memory, strided(&part.sums, shape, [size.channels, 1]));
                    part.log_sum_exp()
                })
                .collect();
            log_sum_exp = parts.concat();
        })
    };
    Streamed { sums, log_sum_exp }
}

/// Divides the scores of a problem into tasks.
pub(super) struct Plan {
    pub(super) block_rows: usize,
    row_blocks: usize,
    part_keys: usize,
    key_parts: usize,
}

impl Plan {
    /// Divides rows into equal blocks until every thread has some. If there are too few rows, it divides
    /// keys, too: a few latents may read many tokens.
    pub(super) fn new(size: &Size, threads: usize) -> Self {
        let problems = (size.batch * size.heads).max(1);
        let tasks = 4 * threads;
        let wanted = tasks.div_ceil(problems);
        let blocks = wanted.min(size.rows / LEAST_ROWS).max(size.rows.div_ceil(MOST_ROWS)).max(1);
        let block_rows = size.rows.div_ceil(blocks).max(1);
        let row_blocks = size.rows.div_ceil(block_rows).max(1);
        let wanted = if problems * row_blocks >= threads { 1 } else { wanted.div_ceil(row_blocks) };
        let part_keys = size.keys.div_ceil(wanted).max(1).next_multiple_of(TILE_KEYS);
        Self { block_rows, row_blocks, part_keys, key_parts: size.keys.div_ceil(part_keys) }
    }

    pub(super) fn rows(&self, block: usize, rows: usize) -> Range<usize> {
        block * self.block_rows..((block + 1) * self.block_rows).min(rows)
    }

    fn keys(&self, part: usize, keys: usize) -> Range<usize> {
        part * self.part_keys..((part + 1) * self.part_keys).min(keys)
    }

    /// The blocks of `[batch · rows, heads · channels]`, problem by problem.
    fn tasks<'a, T>(&self, size: &Size, sums: MatMut<'a, T>) -> Vec<MatMut<'a, T>> {
        let heads = |example: MatMut<'a, T>| cut(example.transpose_mut(), size.channels);
        let problems = cut(sums, size.rows).into_iter().flat_map(heads);
        problems.flat_map(|problem| cut(problem.transpose_mut(), self.block_rows)).collect()
    }

    /// Streams over all keys for some rows of a problem.
    fn run(&self, kernel: &impl Kernel, size: &Size, problem: usize, rows: Range<usize>) -> Part {
        let parts = (0..self.key_parts)
            .into_par_iter()
            .map(|part| Part::run(kernel, problem, rows.clone(), self.keys(part, size.keys)));
        // Merged in their order: rayon's own order depends on which thread is free.
        let parts: Vec<_> = parts.collect();
        parts
            .into_iter()
            .reduce(Part::merge)
            .expect("attention needs at least one key")
            .normalised(size.channels)
    }
}

/// Splits a matrix into pieces of `rows` rows.
fn cut<T>(matrix: MatMut<'_, T>, rows: usize) -> Vec<MatMut<'_, T>> {
    let (mut pieces, mut rest) = (Vec::new(), matrix);
    while rest.nrows() > 0 {
        let count = rows.min(rest.nrows());
        let (piece, below) = rest.split_at_row_mut(count);
        pieces.push(piece);
        rest = below;
    }
    pieces
}

impl Part {
    /// Streams over some keys for some rows of a problem, on one thread.
    fn run(kernel: &impl Kernel, problem: usize, rows: Range<usize>, keys: Range<usize>) -> Self {
        let Size { channels, keys: all_keys, .. } = kernel.size();
        let hides_all = |keys| kernel.hidden().is_some_and(|hidden| hidden.all(problem, keys));
        let all_hidden = hides_all(0..all_keys);
        let count = rows.len();
        let mut part = Self {
            // Finite, so that subtracting it from a score of minus infinity gives no NaN.
            maxima: vec![f32::MIN; count],
            totals: vec![0.0; count],
            sums: vec![0.0; count * channels],
        };
        let mut maxima = vec![0.0; count];
        let mut scores = vec![0.0; count * TILE_KEYS.min(keys.len())];
        for start in keys.clone().step_by(TILE_KEYS) {
            let tile_keys = start..(start + TILE_KEYS).min(keys.end);
            // If all keys of the part are hidden, its totals stay 0, and merging it changes nothing.
            if !all_hidden && hides_all(tile_keys.clone()) {
                continue;
            }
            let tile = Tile { problem, rows: rows.clone(), keys: tile_keys };
            let scores = &mut scores[..count * tile.keys.len()];
            kernel.score(&tile, scores, &mut maxima);
            absorb(&mut part, scores, &maxima);
            kernel.weigh(&tile, scores, &mut part.sums);
        }
        part
    }

    /// Merges two parts of the same rows.
    fn merge(mut self, other: Self) -> Self {
        let channels = self.sums.len() / self.maxima.len();
        for i in 0..self.maxima.len() {
            let maximum = lanes::larger(self.maxima[i], other.maxima[i]);
            let shrink = (self.maxima[i] - maximum).exp();
            let shrink_other = (other.maxima[i] - maximum).exp();
            self.maxima[i] = maximum;
            self.totals[i] = self.totals[i] * shrink + other.totals[i] * shrink_other;
            let row = i * channels..(i + 1) * channels;
            for (sum, x) in self.sums[row.clone()].iter_mut().zip(&other.sums[row]) {
                *sum = *sum * shrink + x * shrink_other;
            }
        }
        self
    }

    fn normalised(mut self, channels: usize) -> Self {
        for (row, total) in self.sums.chunks_exact_mut(channels).zip(&self.totals) {
            let share = total.recip();
            row.iter_mut().for_each(|sum| *sum *= share);
        }
        self
    }

    fn log_sum_exp(&self) -> Vec<f32> {
        self.maxima.iter().zip(&self.totals).map(|(maximum, total)| maximum + total.ln()).collect()
    }
}

/// Turns scores into weights relative to the largest score so far, and rescales earlier sums.
#[multiversion(targets = "simd")]
fn absorb(part: &mut Part, scores: &mut [f32], maxima: &[f32]) {
    let keys = scores.len() / maxima.len();
    let channels = part.sums.len() / maxima.len();
    for (i, row) in scores.chunks_exact_mut(keys).enumerate() {
        let before = part.maxima[i];
        let maximum = lanes::larger(maxima[i], before);
        let total = lanes::exp_shifted(row, maximum);
        if maximum > before {
            let shrink = lanes::exp(before - maximum);
            part.totals[i] *= shrink;
            for sum in &mut part.sums[i * channels..(i + 1) * channels] {
                *sum *= shrink;
            }
            part.maxima[i] = maximum;
        }
        part.totals[i] += total;
    }
}
