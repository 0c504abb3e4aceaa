use std::ops::Range;

use rayon::prelude::*;

use super::array::Array;
use super::dense_backward::{balance, slope};
use super::gather::Gather;
use super::stream::{Kernel, Plan, TILE_KEYS, Tile};

/// Gradients of queries over tokens without gradients.
#[derive(Debug)]
pub(super) struct GatherBackward<'a> {
    /// The forward pass.
    pub(super) forward: Gather<'a>,
    /// The forward pass with the gradient of the sums in place of the queries. Its products are the
    /// gradients that tokens receive.
    pub(super) received: Gather<'a>,
    /// `[batch, heads, queries, channels + 1]`, rows contiguous: the sums and the log-sum-exp.
    pub(super) packed: Array<'a>,
    /// The gradient of `packed`.
    pub(super) packed_gradient: Array<'a>,
}

impl GatherBackward<'_> {
    /// Gradients of content queries and of axis scores side by side,
    /// `[batch, heads, queries, content_channels + axes]`.
    pub(super) fn run(&self) -> Vec<f32> {
        let size = self.forward.size();
        let plan = Plan::new(&size, rayon::current_num_threads());
        let mut sums = vec![0.0; size.batch * size.heads * size.rows * size.channels];
        let problems = sums.par_chunks_mut(size.rows * size.channels).enumerate();
        problems.for_each(|(problem, sums)| {
            let blocks = sums.par_chunks_mut(plan.block_rows * size.channels).enumerate();
            blocks.for_each(|(block, sums)| {
                self.add_rows(problem, plan.rows(block, size.rows), sums);
            });
        });
        sums
    }

    fn add_rows(&self, problem: usize, rows: Range<usize>, sums: &mut [f32]) {
        let keys = self.forward.size().keys;
        let (log_sum_exp, balance): (Vec<f32>, Vec<f32>) =
            rows.clone().map(|row| self.constants(problem, row)).unzip();
        let mut scratch = vec![0.0; rows.len()];
        let mut scores = vec![0.0; rows.len() * TILE_KEYS.min(keys)];
        let mut received = scores.clone();
        for start in (0..keys).step_by(TILE_KEYS) {
            let keys = start..(start + TILE_KEYS).min(keys);
            let tile = Tile { problem, rows: rows.clone(), keys };
            let numbers = rows.len() * tile.keys.len();
            let (scores, received) = (&mut scores[..numbers], &mut received[..numbers]);
            self.forward.score(&tile, scores, &mut scratch);
            self.received.score(&tile, received, &mut scratch);
            slope(scores, received, &log_sum_exp, &balance, None);
            self.forward.weigh(&tile, received, sums);
        }
    }

    /// The log-sum-exp of a row, and `Σ gradient · output` minus the gradient of the log-sum-exp.
    fn constants(&self, problem: usize, row: usize) -> (f32, f32) {
        let (packed, gradient) =
            (self.packed.row(problem, row), self.packed_gradient.row(problem, row));
        let (log_sum_exp, output) = packed.split_last().expect("a row ends in its log-sum-exp");
        let (log_sum_exp_gradient, gradient) =
            gradient.split_last().expect("its gradient ends in that of the log-sum-exp");
        (*log_sum_exp, (balance(gradient, output) - f64::from(*log_sum_exp_gradient)) as f32)
    }
}
