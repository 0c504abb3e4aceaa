use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::attention::cat;
use super::blocks::{RunningSoftmax, hide};
use super::{GatherInput, GridPoints};

/// Streams over slabs of the grid, cut along its slowest axis.
pub(super) fn generic<B: Backend>(input: GatherInput<B>) -> FloatTensor<B> {
    let GatherInput { content_queries, axis_scores, tokens, hidden } = input;
    let [batch, heads, queries, _] = content_queries.shape().dims::<4>();
    let content_queries = fold_heads::<B>(content_queries);
    let axis_scores = fold_heads::<B>(axis_scores);
    let mut softmax = None;
    for block in tokens.blocks(&GridPoints::All, batch * heads * queries) {
        let products = block.products(&content_queries, &axis_scores);
        let scores = B::float_mul(products, block.scale.clone());
        let scores = hide::<B>(scores, &hidden, block.start, block.end);
        softmax = Some(RunningSoftmax::<B>::extend(softmax, scores, |weights| {
            block.sums(B::float_mul(weights, block.scale.clone()))
        }));
    }
    let (sums, log_sum_exp) = softmax.expect("a grid has at least one cell").finish();
    let packed = cat::<B>(vec![sums, log_sum_exp], 3);
    let channels = packed.shape()[3];
    B::float_reshape(packed, Shape::new([batch, heads, queries, channels]))
}

/// `[batch, heads, rows, channels]` as `[batch, 1, heads · rows, channels]`: heads share the tokens, so
/// more heads are just more rows.
pub(super) fn fold_heads<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    let [batch, heads, rows, channels] = tensor.shape().dims::<4>();
    B::float_reshape(tensor, Shape::new([batch, 1, heads * rows, channels]))
}
