//! Shared by the generic bodies: slices, hidden scores and a running softmax.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata, get_device_settings};
use burn::tensor::{DType, Shape, Slice};

use super::HiddenKeys;

/// Scores that a generic body holds at once: 4 MiB in single precision, so that the few arrays of that
/// size fit in a CPU's last cache together.
const SCORES: usize = 1 << 20;

/// The number of rows of `columns` scores that fit in [`SCORES`].
pub(super) fn rows_that_fit(columns: usize) -> usize {
    (SCORES / columns.max(1)).max(1)
}

/// `tensor[..., start..end]` along `dim`.
pub(super) fn slice<B: Backend>(
    tensor: &FloatTensor<B>,
    dim: usize,
    start: usize,
    end: usize,
) -> FloatTensor<B> {
    let shape = tensor.shape();
    if start == 0 && end == shape[dim] {
        return tensor.clone();
    }
    let ranges: Vec<Slice> = (0..shape.num_dims())
        .map(|d| if d == dim { Slice::from(start..end) } else { Slice::from(0..shape[d]) })
        .collect();
    B::float_slice(tensor.clone(), &ranges)
}

/// Sets the scores of hidden keys to the lowest finite number, as the reference does: a row whose keys
/// are all hidden then attends to all of them.
///
/// `scores` is `[batch, heads, queries, end - start]`.
pub(super) fn hide<B: Backend>(
    scores: FloatTensor<B>,
    hidden: &HiddenKeys<B>,
    start: usize,
    end: usize,
) -> FloatTensor<B> {
    let HiddenKeys::Some(hidden) = hidden else { return scores };
    let [batch, heads, queries, _] = scores.shape().dims::<4>();
    let hidden = B::bool_slice(hidden.clone(), &[Slice::from(0..batch), Slice::from(start..end)]);
    let hidden = B::bool_reshape(hidden, Shape::new([batch, 1, 1, end - start]));
    let hidden = B::bool_expand(hidden, Shape::new([batch, heads, queries, end - start]));
    let lowest = lowest_finite(scores.dtype());
    B::float_mask_fill(scores, hidden, lowest.into())
}

pub(super) fn lowest_finite(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => -65504.0,
        // The lowest f32 rounds to minus infinity in bf16.
        DType::BF16 => -3.389_531_389_251_535_5e38,
        _ => f64::from(f32::MIN),
    }
}

/// A softmax over keys that arrive in blocks, and the sums weighted by it.
pub(super) struct RunningSoftmax<B: Backend> {
    /// Largest score so far, `[batch, heads, queries, 1]`.
    maximum: FloatTensor<B>,
    /// `Σ exp(score - maximum)`, `[batch, heads, queries, 1]`.
    total: FloatTensor<B>,
    /// `Σ exp(score - maximum) · summand`, `[batch, heads, queries, channels]`.
    sums: FloatTensor<B>,
}

impl<B: Backend> RunningSoftmax<B> {
    /// Adds a block: `scores` is `[batch, heads, queries, block]`, and `weigh` turns
    /// `exp(scores - maximum)` into the block's sums.
    pub(super) fn extend(
        previous: Option<Self>,
        scores: FloatTensor<B>,
        weigh: impl FnOnce(FloatTensor<B>) -> FloatTensor<B>,
    ) -> Self {
        let block_maximum = B::float_max_dim(scores.clone(), 3);
        let Some(previous) = previous else {
            // Finite, so that subtracting it from a score of minus infinity gives no NaN.
            let lowest = lowest_finite(block_maximum.dtype());
            let block_maximum = B::float_clamp_min(block_maximum, lowest.into());
            let weights = B::float_exp(B::float_sub(scores, block_maximum.clone()));
            let total = B::float_sum_dim(weights.clone(), 3);
            return Self { maximum: block_maximum, total, sums: weigh(weights) };
        };
        // Selected, not computed by addition: added to the lowest number of a hidden block, any other
        // number would round away.
        let bools = get_device_settings::<B>(&scores.device()).bool_dtype;
        let rises = B::float_greater(block_maximum.clone(), previous.maximum.clone(), bools);
        let maximum = B::float_mask_where(previous.maximum.clone(), rises, block_maximum);
        let shrink = B::float_exp(B::float_sub(previous.maximum, maximum.clone()));
        let weights = B::float_exp(B::float_sub(scores, maximum.clone()));
        let total = B::float_sum_dim(weights.clone(), 3);
        Self {
            maximum,
            total: B::float_add(B::float_mul(previous.total, shrink.clone()), total),
            sums: B::float_add(B::float_mul(previous.sums, shrink), weigh(weights)),
        }
    }

    /// The sums under normalised weights, and the log-sum-exp of the scores.
    pub(super) fn finish(self) -> (FloatTensor<B>, FloatTensor<B>) {
        let log_sum_exp = B::float_add(self.maximum, B::float_log(self.total.clone()));
        (B::float_div(self.sums, self.total), log_sum_exp)
    }
}
