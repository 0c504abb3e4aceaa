use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::HiddenKeys;
use super::attention::cat;
use super::blocks::{RunningSoftmax, hide, rows_that_fit, slice};

/// Streams over slabs of the grid, cut along its slowest axis.
pub(super) fn generic<B: Backend>(
    content_queries: FloatTensor<B>,
    axis_scores: FloatTensor<B>,
    content: FloatTensor<B>,
    token_scale: FloatTensor<B>,
    hidden: HiddenKeys<B>,
    grid: Vec<usize>,
) -> FloatTensor<B> {
    let [batch, heads, queries, content_channels] = content_queries.shape().dims::<4>();
    let tokens: usize = grid.iter().product();
    let slab_tokens = tokens / grid[0];
    let slabs = (rows_that_fit(batch * heads * queries) / slab_tokens).clamp(1, grid[0]);

    let mut softmax = None;
    for first in (0..grid[0]).step_by(slabs) {
        let last = (first + slabs).min(grid[0]);
        let (start, end) = (first * slab_tokens, last * slab_tokens);
        let block = slice::<B>(&content, 1, start, end);
        let block = B::float_reshape(block, Shape::new([batch, 1, end - start, content_channels]));
        let scale = slice::<B>(&token_scale, 1, start, end);
        let scale = B::float_reshape(scale, Shape::new([batch, 1, 1, end - start]));

        let mut scores =
            B::float_matmul(content_queries.clone(), B::float_transpose(block.clone()));
        scores = add_axes::<B>(scores, &axis_scores, &grid, first, last);
        scores = hide::<B>(B::float_mul(scores, scale.clone()), &hidden, start, end);

        let lengths = slab_lengths(&grid, first, last);
        softmax = Some(RunningSoftmax::<B>::extend(softmax, scores, |weights| {
            let weights = B::float_mul(weights, scale);
            let content_sums = B::float_matmul(weights.clone(), block);
            let mut parts = vec![content_sums];
            for axis in 0..grid.len() {
                let marginal = marginal::<B>(&weights, &lengths, axis);
                parts.push(if axis == 0 { embed::<B>(marginal, first, grid[0]) } else { marginal });
            }
            cat::<B>(parts, 3)
        }));
    }
    let (sums, log_sum_exp) = softmax.expect("a grid has at least one cell").finish();
    cat::<B>(vec![sums, log_sum_exp], 3)
}

/// Lengths of a slab: the grid's, its slowest axis cut.
fn slab_lengths(grid: &[usize], first: usize, last: usize) -> Vec<usize> {
    let mut lengths = grid.to_vec();
    lengths[0] = last - first;
    lengths
}

/// Adds every axis' scores to a slab of `[batch, heads, queries, slab]` scores.
fn add_axes<B: Backend>(
    scores: FloatTensor<B>,
    axis_scores: &FloatTensor<B>,
    grid: &[usize],
    first: usize,
    last: usize,
) -> FloatTensor<B> {
    let [batch, heads, queries, slab] = scores.shape().dims::<4>();
    let rows = batch * heads * queries;
    let lengths = slab_lengths(grid, first, last);
    let mut scores = scores;
    let mut offset = 0;
    for (axis, &length) in grid.iter().enumerate() {
        let from = if axis == 0 { offset + first } else { offset };
        let terms = slice::<B>(axis_scores, 3, from, from + lengths[axis]);
        let terms = B::float_reshape(terms, Shape::new([rows, 1, lengths[axis], 1]));
        let (outer, inner) = around(&lengths, axis);
        let spread = B::float_reshape(scores, Shape::new([rows, outer, lengths[axis], inner]));
        scores = B::float_add(spread, terms);
        offset += length;
    }
    B::float_reshape(scores, Shape::new([batch, heads, queries, slab]))
}

/// Sums `[batch, heads, queries, slab]` weights over all axes but one.
fn marginal<B: Backend>(
    weights: &FloatTensor<B>,
    lengths: &[usize],
    axis: usize,
) -> FloatTensor<B> {
    let [batch, heads, queries, _] = weights.shape().dims::<4>();
    let (outer, inner) = around(lengths, axis);
    let rows = batch * heads * queries;
    let spread = B::float_reshape(weights.clone(), Shape::new([rows, outer, lengths[axis], inner]));
    let summed = B::float_sum_dim(B::float_sum_dim(spread, 3), 1);
    B::float_reshape(summed, Shape::new([batch, heads, queries, lengths[axis]]))
}

/// Cells before and after an axis.
fn around(lengths: &[usize], axis: usize) -> (usize, usize) {
    (lengths[..axis].iter().product(), lengths[axis + 1..].iter().product())
}

/// Places a slab's marginals of the slowest axis among zeros for the other slabs.
fn embed<B: Backend>(marginal: FloatTensor<B>, first: usize, length: usize) -> FloatTensor<B> {
    let [batch, heads, queries, slab] = marginal.shape().dims::<4>();
    let zeros = |count: usize| {
        (count > 0).then(|| {
            B::float_zeros(
                Shape::new([batch, heads, queries, count]),
                &marginal.device(),
                marginal.dtype().into(),
            )
        })
    };
    let parts = [zeros(first), Some(marginal.clone()), zeros(length - first - slab)];
    cat::<B>(parts.into_iter().flatten().collect(), 3)
}
