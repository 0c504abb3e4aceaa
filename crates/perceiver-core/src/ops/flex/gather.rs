use faer::Accum;
use multiversion::multiversion;

use super::array::{Array, Hidden};
use super::cells::{Cells, Line};
use super::lanes;
use super::matrix::multiply;
use super::stream::{Kernel, Size, Tile};

/// The encoder direction: dense queries over factored tokens.
#[derive(Debug)]
pub(super) struct Gather<'a> {
    /// `[batch, heads, queries, content_channels]`.
    pub(super) content_queries: Array<'a>,
    /// `[batch, heads, queries, axes]`, rows contiguous.
    pub(super) axis_scores: Array<'a>,
    /// `[batch, heads, tokens, content_channels]`, the same for all heads.
    pub(super) content: Array<'a>,
    /// `[batch, heads, 1, tokens]`, the same for all heads, contiguous.
    pub(super) token_scale: Array<'a>,
    pub(super) hidden: Option<Hidden<'a>>,
    pub(super) cells: Cells<'a>,
}

impl Kernel for Gather<'_> {
    fn size(&self) -> Size {
        let [batch, heads, rows, content_channels] = self.content_queries.shape;
        let [_, _, keys, _] = self.content.shape;
        let channels = content_channels + self.cells.axes();
        Size { batch, heads, rows, keys, channels }
    }

    fn hidden(&self) -> Option<Hidden<'_>> {
        self.hidden
    }

    fn score(&self, tile: &Tile, scores: &mut [f32], maxima: &mut [f32]) {
        let (queries, content) = tile.of(&self.content_queries, &self.content);
        let product = tile.product(scores);
        multiply(product, Accum::Replace, 1.0, queries, content.transpose());
        add_positions(self, tile, scores, maxima);
    }

    fn weigh(&self, tile: &Tile, weights: &mut [f32], sums: &mut [f32]) {
        sum_positions(self, tile, weights, sums);
        let content = self.content.problem(tile.problem);
        tile.add_weighted(weights, content, sums, self.size().channels);
    }
}

/// Turns products with the content into scores, and finds the largest of each row.
#[multiversion(targets = "simd")]
fn add_positions(gather: &Gather, tile: &Tile, scores: &mut [f32], maxima: &mut [f32]) {
    let token_scale = &gather.token_scale.row(tile.problem, 0)[tile.keys.clone()];
    let hidden = gather.hidden.map(|hidden| hidden.of(tile.problem, tile.keys.clone()));
    let lines: Vec<Line> = gather.cells.lines(tile.keys.clone()).collect();
    let rows = scores.chunks_exact_mut(tile.keys.len()).zip(tile.rows.clone());
    for ((scores, row), maximum) in rows.zip(maxima) {
        let axis_scores = gather.axis_scores.row(tile.problem, row);
        for line in &lines {
            let shared: f32 = line.shared.iter().map(|&entry| axis_scores[entry]).sum();
            let along = &axis_scores[line.along.clone()];
            let scales = &token_scale[line.tokens.clone()];
            let scores = &mut scores[line.tokens.clone()];
            for ((score, &axis), &scale) in scores.iter_mut().zip(along).zip(scales) {
                *score = (*score + axis + shared) * scale;
            }
        }
        if let Some(hidden) = hidden {
            lanes::hide(scores, hidden);
        }
        *maximum = lanes::maximum(scores);
    }
}

/// Multiplies weights by the scales of the tokens, and adds them to the marginals over every axis.
#[multiversion(targets = "simd")]
fn sum_positions(gather: &Gather, tile: &Tile, weights: &mut [f32], sums: &mut [f32]) {
    let token_scale = &gather.token_scale.row(tile.problem, 0)[tile.keys.clone()];
    let lines: Vec<Line> = gather.cells.lines(tile.keys.clone()).collect();
    let rows = weights.chunks_exact_mut(tile.keys.len());
    for (weights, sums) in rows.zip(sums.chunks_exact_mut(gather.size().channels)) {
        let marginals = &mut sums[gather.content.shape[3]..];
        for line in &lines {
            let weights = &mut weights[line.tokens.clone()];
            let scales = &token_scale[line.tokens.clone()];
            let along = &mut marginals[line.along.clone()];
            let total = lanes::scale_into(weights, scales, along);
            for &entry in &line.shared {
                marginals[entry] += total;
            }
        }
    }
}
