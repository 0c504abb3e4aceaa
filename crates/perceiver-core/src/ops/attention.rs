use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{Tensor, activation};

use super::blocks::{RunningSoftmax, hide, rows_that_fit, slice};
use super::{AttentionInput, AttentionOutput};
use crate::KeyMask;

/// Keys per block when the number of queries alone does not bound the scores.
pub(super) const KEY_BLOCK: usize = 4096;

/// Streams over blocks of queries and, within, of keys.
pub(super) fn generic<B: Backend>(input: AttentionInput<B>) -> AttentionOutput<B> {
    let AttentionInput { queries, keys, values, hidden, scale } = input;
    let [batch, heads, query_count, _] = queries.shape().dims::<4>();
    let key_count = keys.shape()[2];
    let queries = B::float_mul_scalar(queries, scale.into());
    let keys = B::float_transpose(keys);
    let query_block = rows_that_fit(batch * heads * key_count.min(KEY_BLOCK));
    let (blocks, log_sum_exps) = (0..query_count)
        .step_by(query_block)
        .map(|first| {
            let queries = slice::<B>(&queries, 2, first, (first + query_block).min(query_count));
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
            softmax.expect("attention needs at least one key").finish()
        })
        .unzip();
    AttentionOutput { output: cat::<B>(blocks, 2), log_sum_exp: cat::<B>(log_sum_exps, 2) }
}

/// `Backend::float_cat` that does not copy a single part.
pub(super) fn cat<B: Backend>(mut parts: Vec<FloatTensor<B>>, dim: usize) -> FloatTensor<B> {
    if parts.len() == 1 { parts.remove(0) } else { B::float_cat(parts, dim) }
}

/// The attention probabilities, for attention maps and dropout. Memory grows with `queries × keys`.
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

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Bool, DType, Device, Distribution, TensorData, Tolerance};

    use super::*;
    use crate::ops;

    /// In double precision, which takes the generic body and keeps large scores exact.
    fn random(shape: [usize; 4]) -> Tensor<4> {
        let normal = Distribution::Normal(0.0, 1.0);
        Tensor::<4>::random(shape, normal, &Device::flex()).cast(DType::F64)
    }

    /// Hides the keys in `hidden` in both examples.
    fn mask(keys: usize, hidden: std::ops::Range<usize>) -> KeyMask {
        let rows = (0..2 * keys).map(|k| hidden.contains(&(k % keys))).collect();
        let rows = TensorData::new(rows, [2, keys]);
        KeyMask::from_hidden(Tensor::<2, Bool>::from_data(rows, &Device::flex()))
    }

    fn assert_streamed_is_dense(
        [queries, keys, values]: [Tensor<4>; 3],
        mask: Option<&KeyMask>,
        scale: f64,
    ) {
        let input = AttentionInput::new(queries.clone(), keys.clone(), values.clone());
        let streamed = ops::attention(input.mask(mask).scale(scale));
        let dense = attention_probabilities(queries, keys, mask, scale).matmul(values);
        let tolerance = Tolerance::<f64>::rel_abs(1e-9, 1e-12);
        streamed.into_data().assert_approx_eq::<f64>(&dense.into_data(), tolerance);
    }

    #[test]
    fn more_keys_than_a_block_give_the_dense_result() {
        let keys = KEY_BLOCK + 5;
        let arrays = || [random([2, 2, 3, 4]), random([2, 2, keys, 4]), random([2, 2, keys, 3])];
        assert_streamed_is_dense(arrays(), None, 0.5);
        assert_streamed_is_dense(arrays(), Some(&mask(keys, 40..keys - 1)), 0.5);
    }

    #[test]
    fn more_queries_than_a_block_give_the_dense_result() {
        let count = KEY_BLOCK + 2;
        assert!(rows_that_fit(KEY_BLOCK) < count, "one block holds every query");
        let arrays = [random([1, 1, count, 1]), random([1, 1, count, 1]), random([1, 1, count, 1])];
        assert_streamed_is_dense(arrays, None, 1.0);
    }

    /// Scores whose exponential overflows, after or before a block without any visible key.
    #[test]
    fn a_block_of_hidden_keys_leaves_large_scores_finite() {
        let keys = KEY_BLOCK + 5;
        for hidden in [0..KEY_BLOCK, KEY_BLOCK..keys] {
            let arrays = [
                random([2, 1, 3, 4]) * 4.0,
                random([2, 1, keys, 4]) * 4.0,
                random([2, 1, keys, 3]),
            ];
            assert_streamed_is_dense(arrays, Some(&mask(keys, hidden)), 20.0);
        }
    }

    #[test]
    fn a_row_whose_keys_are_all_hidden_attends_to_all_equally() {
        let keys = KEY_BLOCK + 5;
        let values = random([2, 1, keys, 3]);
        let mean = values.clone().mean_dim(2).expand([2, 1, 3, 3]);
        let input = AttentionInput::new(random([2, 1, 3, 4]), random([2, 1, keys, 4]), values);
        let found = ops::attention(input.mask(Some(&mask(keys, 0..keys))));
        let tolerance = Tolerance::<f64>::rel_abs(1e-9, 1e-12);
        found.into_data().assert_approx_eq::<f64>(&mean.into_data(), tolerance);
    }
}
