use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{Shape, Slice};

use super::attention::cat;
use super::blocks::{RunningSoftmax, rows_that_fit, slice};
use super::tokens::axis_indices;
use super::{AttentionOutput, FactoredTokens, GridPoints, ScatterInput};

/// Streams over blocks of tokens, each against all keys, which are few.
pub(super) fn generic<B: Backend>(input: ScatterInput<B>) -> AttentionOutput<B> {
    let ScatterInput { tokens, points, content_keys, axis_scores, key_bias, values } = input;
    let FactoredTokens { content, scale: token_scale, grid } = tokens;
    let [batch, heads, keys, content_channels] = content_keys.shape().dims::<4>();
    let tokens = content.shape()[1];
    let content_keys = B::float_transpose(content_keys);
    let axis_scores = B::float_transpose(axis_scores);
    let key_bias = B::float_reshape(key_bias, Shape::new([batch, heads, 1, keys]));
    let block = rows_that_fit(batch * heads * keys);
    let (blocks, log_sum_exps) = (0..tokens)
        .step_by(block)
        .map(|start| {
            let end = (start + block).min(tokens);
            let rows = slice::<B>(&content, 1, start, end);
            let rows =
                B::float_reshape(rows, Shape::new([batch, 1, end - start, content_channels]));
            let scale = slice::<B>(&token_scale, 1, start, end);
            let scale = B::float_reshape(scale, Shape::new([batch, 1, end - start, 1]));
            let mut scores = B::float_matmul(rows, content_keys.clone());
            let cells = cells::<B>(&points, start, end, &axis_scores);
            let (mut offset, mut inner) = (0, grid.iter().product::<usize>());
            for &length in &grid {
                inner /= length;
                let index = axis_indices::<B>(cells.clone(), length, inner);
                let terms = slice::<B>(&axis_scores, 2, offset, offset + length);
                scores = B::float_add(scores, B::float_select(terms, 2, index));
                offset += length;
            }
            let scores = B::float_add(B::float_mul(scores, scale), key_bias.clone());
            RunningSoftmax::<B>::extend(None, scores, |weights| {
                B::float_matmul(weights, values.clone())
            })
            .finish()
        })
        .unzip();
    AttentionOutput { output: cat::<B>(blocks, 2), log_sum_exp: cat::<B>(log_sum_exps, 2) }
}

/// Flat grid indices of the tokens `start..end`.
fn cells<B: Backend>(
    points: &GridPoints<B>,
    start: usize,
    end: usize,
    like: &FloatTensor<B>,
) -> IntTensor<B> {
    match points {
        GridPoints::Some(points) => B::int_slice(points.clone(), &[Slice::from(start..end)]),
        GridPoints::All => {
            let device = like.device();
            let dtype = burn::backend::get_device_settings::<B>(&device).int_dtype;
            B::int_arange(start as i64..end as i64, &device, dtype)
        }
    }
}
