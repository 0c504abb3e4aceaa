use faer::Accum;
use multiversion::multiversion;

use super::array::Array;
use super::cells::Cells;
use super::lanes;
use super::matrix::multiply;
use super::stream::{Kernel, Size, Tile};

/// The decoder direction: factored tokens attend to dense keys.
#[derive(Debug)]
pub(super) struct Scatter<'a> {
    /// `[batch, heads, tokens, content_channels]`, the same for all heads.
    pub(super) content: Array<'a>,
    /// `[batch, heads, 1, tokens]`, the same for all heads, contiguous.
    pub(super) token_scale: Array<'a>,
    /// `[batch, heads, keys, content_channels]`.
    pub(super) content_keys: Array<'a>,
    /// `[batch, heads, axes, keys]`, rows contiguous.
    pub(super) axis_scores: Array<'a>,
    /// `[batch, heads, 1, keys]`, contiguous.
    pub(super) key_bias: Array<'a>,
    /// `[batch, heads, keys, v_channels]`.
    pub(super) values: Array<'a>,
    pub(super) cells: Cells<'a>,
}

impl Kernel for Scatter<'_> {
    fn size(&self) -> Size {
        let [batch, heads, rows, _] = self.content.shape;
        let [_, _, keys, channels] = self.values.shape;
        Size { batch, heads, rows, keys, channels }
    }

    fn score(&self, tile: &Tile, scores: &mut [f32], maxima: &mut [f32]) {
        let (content, content_keys) = tile.of(&self.content, &self.content_keys);
        let product = tile.product(scores);
        multiply(product, Accum::Replace, 1.0, content, content_keys.transpose());
        add_positions(self, tile, scores, maxima);
    }

    fn weigh(&self, tile: &Tile, weights: &mut [f32], sums: &mut [f32]) {
        let values = self.values.problem(tile.problem);
        tile.add_weighted(weights, values, sums, self.size().channels);
    }
}

/// Turns products with the content into scores, and finds the largest of each row.
#[multiversion(targets = "simd")]
fn add_positions(scatter: &Scatter, tile: &Tile, scores: &mut [f32], maxima: &mut [f32]) {
    let token_scale = scatter.token_scale.row(tile.problem, 0);
    let key_bias = &scatter.key_bias.row(tile.problem, 0)[tile.keys.clone()];
    let terms = |entry| &scatter.axis_scores.row(tile.problem, entry)[tile.keys.clone()];
    // The terms that all tokens of a line of the grid share.
    let mut shared = vec![0.0; tile.keys.len()];
    let mut line = None;
    let rows = scores.chunks_exact_mut(tile.keys.len()).zip(tile.rows.clone());
    for ((scores, row), maximum) in rows.zip(maxima) {
        let cell = scatter.cells.cell(row);
        if line != Some(cell.line) {
            line = Some(cell.line);
            shared.fill(0.0);
            for entry in scatter.cells.shared(cell.line) {
                for (sum, term) in shared.iter_mut().zip(terms(entry)) {
                    *sum += term;
                }
            }
        }
        lanes::affine(scores, terms(cell.along), &shared, token_scale[row], key_bias);
        *maximum = lanes::maximum(scores);
    }
}
