use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};

use super::super::attention::{KEY_BLOCK, cat};
use super::super::blocks::{hide, rows_that_fit, slice};
use super::super::{AttentionGradients, AttentionInput, AttentionOutput, HiddenKeys};
use super::{Blind, add_to, balance};

/// The arrays with a row per query, all `[batch, heads, queries, …]`.
struct Rows<B: Backend> {
    /// Already multiplied by the scale.
    queries: FloatTensor<B>,
    log_sum_exp: FloatTensor<B>,
    /// The gradient of the output, as it reaches the values.
    for_values: FloatTensor<B>,
    /// The gradient of the output, as it reaches the scores.
    for_scores: FloatTensor<B>,
    balance: FloatTensor<B>,
}

impl<B: Backend> Rows<B> {
    fn slice(&self, start: usize, end: usize) -> Self {
        let rows = |tensor| slice::<B>(tensor, 2, start, end);
        Self {
            queries: rows(&self.queries),
            log_sum_exp: rows(&self.log_sum_exp),
            for_values: rows(&self.for_values),
            for_scores: rows(&self.for_scores),
            balance: rows(&self.balance),
        }
    }
}

/// Streams over blocks of keys and, within each, over blocks of queries.
pub(in super::super) fn generic<B: Backend>(
    input: AttentionInput<B>,
    output: AttentionOutput<B>,
    output_gradient: FloatTensor<B>,
) -> AttentionGradients<B> {
    let AttentionInput { queries, keys, values, hidden, scale } = input;
    let [batch, heads, query_count, _] = queries.shape().dims::<4>();
    let key_count = keys.shape()[2];
    let queries = B::float_mul_scalar(queries, scale.into());
    let rows = rows::<B>(queries, output, output_gradient, &hidden);
    let query_block = rows_that_fit(batch * heads * key_count.min(KEY_BLOCK));
    let rows: Vec<Rows<B>> = (0..query_count)
        .step_by(query_block)
        .map(|start| rows.slice(start, (start + query_block).min(query_count)))
        .collect();

    let mut queries_gradient: Vec<Option<FloatTensor<B>>> = rows.iter().map(|_| None).collect();
    let (mut keys_gradient, mut values_gradient) = (Vec::new(), Vec::new());
    for start in (0..key_count).step_by(KEY_BLOCK) {
        let end = (start + KEY_BLOCK).min(key_count);
        let keys = slice::<B>(&keys, 2, start, end);
        let values = slice::<B>(&values, 2, start, end);
        let (mut block_keys_gradient, mut block_values_gradient) = (None, None);
        for (rows, queries_gradient) in rows.iter().zip(&mut queries_gradient) {
            let scores = B::float_matmul(rows.queries.clone(), B::float_transpose(keys.clone()));
            let scores = hide::<B>(scores, &hidden, start, end);
            let probabilities = B::float_exp(B::float_sub(scores, rows.log_sum_exp.clone()));
            let transposed = B::float_transpose(probabilities.clone());
            let values_gradient = B::float_matmul(transposed, rows.for_values.clone());
            add_to::<B>(&mut block_values_gradient, values_gradient);

            let received = B::float_transpose(values.clone());
            let received = B::float_matmul(rows.for_scores.clone(), received);
            let scores_gradient = B::float_sub(received, rows.balance.clone());
            let scores_gradient = B::float_mul(scores_gradient, probabilities);
            add_to::<B>(queries_gradient, B::float_matmul(scores_gradient.clone(), keys.clone()));
            let keys_gradient =
                B::float_matmul(B::float_transpose(scores_gradient), rows.queries.clone());
            add_to::<B>(&mut block_keys_gradient, keys_gradient);
        }
        keys_gradient.extend(block_keys_gradient);
        values_gradient.extend(block_values_gradient);
    }
    let queries_gradient = cat::<B>(queries_gradient.into_iter().flatten().collect(), 2);
    AttentionGradients {
        queries: B::float_mul_scalar(queries_gradient, scale.into()),
        keys: cat::<B>(keys_gradient, 2),
        values: cat::<B>(values_gradient, 2),
    }
}

fn rows<B: Backend>(
    queries: FloatTensor<B>,
    AttentionOutput { output, log_sum_exp }: AttentionOutput<B>,
    gradient: FloatTensor<B>,
    hidden: &HiddenKeys<B>,
) -> Rows<B> {
    let (log_sum_exp, for_values, for_scores) = match Blind::<B>::new(hidden) {
        None => (log_sum_exp, gradient.clone(), gradient),
        Some(blind) => {
            (blind.log_sum_exp(log_sum_exp), blind.share(gradient.clone()), blind.silence(gradient))
        }
    };
    let balance = balance::<B>(for_scores.clone(), output);
    Rows { queries, log_sum_exp, for_values, for_scores, balance }
}
