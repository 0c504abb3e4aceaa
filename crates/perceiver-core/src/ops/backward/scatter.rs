use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::super::blocks::slice;
use super::super::gather::fold_heads;
use super::super::{AttentionOutput, ScatterGradients, ScatterInput, TokenGradients};
use super::{add_to, balance};

/// Streams over blocks of tokens. Scores are `[batch, heads, keys, tokens]` here, as in the encoder
/// direction, so that both directions share the code for tokens.
pub(in super::super) fn generic<B: Backend>(
    input: ScatterInput<B>,
    output: AttentionOutput<B>,
    output_gradient: FloatTensor<B>,
    tracked_tokens: bool,
) -> ScatterGradients<B> {
    let ScatterInput { tokens, points, content_keys, axis_scores, key_bias, values } = input;
    let AttentionOutput { output, log_sum_exp } = output;
    let [batch, heads, keys, channels] = content_keys.shape().dims::<4>();
    let token_count = tokens.content.shape()[1];
    let axes = axis_scores.shape()[3];
    let content_keys = fold_heads::<B>(content_keys);
    let axis_scores = fold_heads::<B>(axis_scores);
    let key_bias = B::float_reshape(key_bias, Shape::new([batch, heads, keys, 1]));
    let by_token = |tensor| B::float_reshape(tensor, Shape::new([batch, heads, 1, token_count]));
    let balance = by_token(balance::<B>(output_gradient.clone(), output));
    let log_sum_exp = by_token(log_sum_exp);

    let (mut sums, mut bias_gradient, mut values_gradient) = (None, None, None);
    let (mut content_gradient, mut scale_gradient) = (Vec::new(), Vec::new());
    for block in tokens.blocks(&points, batch * heads * keys) {
        let (start, end) = (block.start, block.end);
        let by_head =
            |tensor| B::float_reshape(tensor, Shape::new([batch, heads, keys, end - start]));
        let folded =
            |tensor| B::float_reshape(tensor, Shape::new([batch, 1, heads * keys, end - start]));
        let products = block.products(&content_keys, &axis_scores);
        let kept = tracked_tokens.then(|| products.clone());
        let scores = by_head(B::float_mul(products, block.scale.clone()));
        let scores = B::float_add(scores, key_bias.clone());
        let log_sum_exp = slice::<B>(&log_sum_exp, 3, start, end);
        let probabilities = B::float_exp(B::float_sub(scores, log_sum_exp));

        let gradient = slice::<B>(&output_gradient, 2, start, end);
        let block_values_gradient = B::float_matmul(probabilities.clone(), gradient.clone());
        add_to::<B>(&mut values_gradient, block_values_gradient);
        let received = B::float_matmul(values.clone(), B::float_transpose(gradient));
        let received = B::float_sub(received, slice::<B>(&balance, 3, start, end));
        let scores_gradient = B::float_mul(received, probabilities);
        add_to::<B>(&mut bias_gradient, B::float_sum_dim(scores_gradient.clone(), 3));

        let scores_gradient = folded(scores_gradient);
        let products_gradient = B::float_mul(scores_gradient.clone(), block.scale.clone());
        if let Some(products) = kept {
            scale_gradient.push(B::float_sum_dim(B::float_mul(products, scores_gradient), 2));
            let products_gradient = B::float_transpose(products_gradient.clone());
            let block_gradient = B::float_matmul(products_gradient, content_keys.clone());
            let shape = Shape::new([batch, end - start, channels]);
            content_gradient.push(B::float_reshape(block_gradient, shape));
        }
        add_to::<B>(&mut sums, block.sums(products_gradient));
    }
    let sums = sums.expect("there is at least one token");
    let by_key = |tensor: FloatTensor<B>| {
        let channels = tensor.shape()[3];
        B::float_reshape(tensor, Shape::new([batch, heads, keys, channels]))
    };
    let bias_gradient = bias_gradient.expect("there is at least one token");
    ScatterGradients {
        content_keys: by_key(slice::<B>(&sums, 3, 0, channels)),
        axis_scores: by_key(slice::<B>(&sums, 3, channels, channels + axes)),
        key_bias: B::float_reshape(bias_gradient, Shape::new([batch, heads, keys])),
        values: values_gradient.expect("there is at least one token"),
        tokens: TokenGradients::from_blocks(content_gradient, scale_gradient),
    }
}
