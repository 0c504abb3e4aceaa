use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{Tensor, activation};

use super::HiddenKeys;
use super::blocks::{RunningSoftmax, hide, rows_that_fit, slice};
use crate::KeyMask;

/// Keys taken at a time when the queries alone do not bound the scores.
const KEY_BLOCK: usize = 4096;

/// Streams over blocks of queries and, within, of keys.
pub(super) fn generic<B: Backend>(
    queries: FloatTensor<B>,
    keys: FloatTensor<B>,
    values: FloatTensor<B>,
    hidden: HiddenKeys<B>,
    scale: f64,
) -> FloatTensor<B> {
    let [batch, heads, query_count, _] = queries.shape().dims::<4>();
    let key_count = keys.shape()[2];
    let queries = B::float_mul_scalar(queries, scale.into());
    let keys = B::float_transpose(keys);
    let query_block = rows_that_fit(batch * heads * key_count.min(KEY_BLOCK));
    let blocks: Vec<_> = (0..query_count)
        .step_by(query_block)
        .map(|first| {
            let queries =
                slice::<B>(&queries, 2, first, (first + query_block).min(query_count));
            let mut softmax = None;
            for start in (0..key_count).step_by(KEY_BLOCK) {
                let end = (start + KEY_BLOCK).min(key_count);
                let scores = B::float_matmul(queries.clone(), slice::<B>(&keys, 3, start, end));
                let scores = hide::<B>(scores, &hidden, start, end);
                let values = slice::<B>(&values, 2, start, end);
                softmax = Some(RunningSoftmax::<B>::extend(softmax, scores, |weights| {
                    B::float_matmul(weights, values)
                }));
            }
            softmax.expect("attention needs at least one key").normalised()
        })
        .collect();
    cat::<B>(blocks, 2)
}

/// `Backend::float_cat` without a copy of a lone part.
pub(super) fn cat<B: Backend>(mut parts: Vec<FloatTensor<B>>, dim: usize) -> FloatTensor<B> {
    if parts.len() == 1 { parts.remove(0) } else { B::float_cat(parts, dim) }
}

/// The probabilities themselves, for attention maps and dropout: memory grows with
/// `queries × keys`.
///
/// # Shapes
/// - `queries`: `[batch, heads, queries, qk_channels]`
/// - `keys`: `[batch, heads, keys, qk_channels]`
/// - `mask`: `[batch, keys]`
/// - returns: `[batch, heads, queries, keys]`
///
/// # Panics
/// If the shapes disagree.
#[must_use]
pub fn attention_probabilities(
    queries: Tensor<4>,
    keys: Tensor<4>,
    mask: Option<&KeyMask>,
    scale: f64,
) -> Tensor<4> {
    let [batch, heads, query_count, _] = queries.dims();
    let [_, _, key_count, _] = keys.dims();
    super::assert_mask(mask, batch, key_count);
    let mut scores = queries.mul_scalar(scale).matmul(keys.swap_dims(2, 3));
    if let Some(mask) = mask {
        let hidden = mask.hidden().reshape([batch, 1, 1, key_count]);
        let lowest = super::blocks::lowest_finite(scores.dtype());
        scores = scores.mask_fill(hidden.expand([batch, heads, query_count, key_count]), lowest);
    }
    activation::softmax(scores, 3)
}
