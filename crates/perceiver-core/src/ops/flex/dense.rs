use faer::Accum;
use multiversion::multiversion;

use super::array::{Array, Hidden};
use super::lanes;
use super::matrix::multiply;
use super::stream::{Kernel, Size, Tile};

/// Attention between dense arrays.
#[derive(Debug)]
pub(super) struct Dense<'a> {
    /// `[batch, heads, queries, qk_channels]`.
    pub(super) queries: Array<'a>,
    /// `[batch, heads, keys, qk_channels]`.
    pub(super) keys: Array<'a>,
    /// `[batch, heads, keys, v_channels]`.
    pub(super) values: Array<'a>,
    pub(super) hidden: Option<Hidden<'a>>,
    pub(super) scale: f32,
}

impl Kernel for Dense<'_> {
    fn size(&self) -> Size {
        let [batch, heads, rows, _] = self.queries.shape;
        let [_, _, keys, channels] = self.values.shape;
        Size { batch, heads, rows, keys, channels }
    }

    fn hidden(&self) -> Option<Hidden<'_>> {
        self.hidden
    }

    fn score(&self, tile: &Tile, scores: &mut [f32], maxima: &mut [f32]) {
        let (queries, keys) = tile.of(&self.queries, &self.keys);
        let product = tile.product(scores);
        multiply(product, Accum::Replace, self.scale, queries, keys.transpose());
        let hidden = self.hidden.map(|hidden| hidden.of(tile.problem, tile.keys.clone()));
        mask(scores, hidden, maxima);
    }

    fn weigh(&self, tile: &Tile, weights: &mut [f32], sums: &mut [f32]) {
        let values = self.values.problem(tile.problem);
        tile.add_weighted(weights, values, sums, self.size().channels);
    }
}

/// Hides keys, and finds the largest score of each row.
#[multiversion(targets = "simd")]
fn mask(scores: &mut [f32], hidden: Option<&[u8]>, maxima: &mut [f32]) {
    let keys = scores.len() / maxima.len();
    for (row, maximum) in scores.chunks_exact_mut(keys).zip(maxima) {
        if let Some(hidden) = hidden {
            lanes::hide(row, hidden);
        }
        *maximum = lanes::maximum(row);
    }
}
