use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::super::blocks::{hide, slice};
use super::super::gather::fold_heads;
use super::super::tokens::TokenBlock;
use super::super::{GatherGradients, GatherInput, GridPoints, TokenGradients};
use super::{Blind, add_to, balance};

/// Streams over slabs of the grid, like the forward pass.
pub(in super::super) fn generic<B: Backend>(
    input: GatherInput<B>,
    packed: FloatTensor<B>,
    packed_gradient: FloatTensor<B>,
    tracked_tokens: bool,
) -> GatherGradients<B> {
    let GatherInput { content_queries, axis_scores, tokens, hidden } = input;
    let [batch, heads, queries, channels] = content_queries.shape().dims::<4>();
    let axes = axis_scores.shape()[3];
    let rows = Rows::new(
        fold_heads::<B>(content_queries),
        fold_heads::<B>(axis_scores),
        &fold_heads::<B>(packed),
        &fold_heads::<B>(packed_gradient),
        Blind::new(&hidden),
    );
    let mut sums = None;
    let (mut content_gradient, mut scale_gradient) = (Vec::new(), Vec::new());
    for block in tokens.blocks(&GridPoints::All, batch * heads * queries) {
        let products = block.products(&rows.content_queries, &rows.axis_scores);
        let kept = tracked_tokens.then(|| products.clone());
        let scores = B::float_mul(products, block.scale.clone());
        let scores = hide::<B>(scores, &hidden, block.start, block.end);
        let probabilities = B::float_exp(B::float_sub(scores, rows.log_sum_exp.clone()));
        let received = block.products(&rows.content_sums_gradient, &rows.marginals_gradient);
        let scores_gradient = rows.scores_gradient(probabilities.clone(), received.clone(), &block);
        let products_gradient = B::float_mul(scores_gradient.clone(), block.scale.clone());
        if let Some(products) = kept {
            let weights = B::float_mul(probabilities.clone(), block.scale.clone());
            content_gradient.push(rows.content_gradient(products_gradient.clone(), weights));
            let terms = B::float_add(
                B::float_mul(products, scores_gradient),
                B::float_mul(received, probabilities),
            );
            scale_gradient.push(B::float_sum_dim(terms, 2));
        }
        add_to::<B>(&mut sums, block.sums(products_gradient));
    }
    let sums = sums.expect("a grid has at least one cell");
    let rows = |tensor: FloatTensor<B>| {
        let channels = tensor.shape()[3];
        B::float_reshape(tensor, Shape::new([batch, heads, queries, channels]))
    };
    GatherGradients {
        content_queries: rows(slice::<B>(&sums, 3, 0, channels)),
        axis_scores: rows(slice::<B>(&sums, 3, channels, channels + axes)),
        tokens: TokenGradients::from_blocks(content_gradient, scale_gradient),
    }
}

/// The arrays with a row per query, all `[batch, 1, heads · queries, …]`.
struct Rows<B: Backend> {
    content_queries: FloatTensor<B>,
    axis_scores: FloatTensor<B>,
    log_sum_exp: FloatTensor<B>,
    content_sums_gradient: FloatTensor<B>,
    marginals_gradient: FloatTensor<B>,
    /// Minus the gradient of the log-sum-exp.
    balance: FloatTensor<B>,
    blind: Option<Blind<B>>,
}

impl<B: Backend> Rows<B> {
    fn new(
        content_queries: FloatTensor<B>,
        axis_scores: FloatTensor<B>,
        packed: &FloatTensor<B>,
        gradient: &FloatTensor<B>,
        blind: Option<Blind<B>>,
    ) -> Self {
        let channels = content_queries.shape()[3];
        let outputs = packed.shape()[3] - 1;
        let sums = |tensor| slice::<B>(tensor, 3, 0, outputs);
        let log_sum_exp_gradient = slice::<B>(gradient, 3, outputs, outputs + 1);
        let log_sum_exp = slice::<B>(packed, 3, outputs, outputs + 1);
        let balance =
            B::float_sub(balance::<B>(sums(gradient), sums(packed)), log_sum_exp_gradient);
        let (log_sum_exp, sums_gradient, balance) = match &blind {
            None => (log_sum_exp, sums(gradient), balance),
            Some(blind) => (
                blind.log_sum_exp(log_sum_exp),
                blind.share(sums(gradient)),
                blind.silence(balance),
            ),
        };
        Self {
            content_queries,
            axis_scores,
            log_sum_exp,
            content_sums_gradient: slice::<B>(&sums_gradient, 3, 0, channels),
            marginals_gradient: slice::<B>(&sums_gradient, 3, channels, outputs),
            balance,
            blind,
        }
    }

    fn scores_gradient(
        &self,
        probabilities: FloatTensor<B>,
        received: FloatTensor<B>,
        block: &TokenBlock<B>,
    ) -> FloatTensor<B> {
        let scale = block.scale.clone();
        let scale = match &self.blind {
            None => scale,
            Some(blind) => blind.silence(scale),
        };
        let received = B::float_sub(B::float_mul(received, scale), self.balance.clone());
        B::float_mul(received, probabilities)
    }

    /// `[batch, block, content_channels]`: the gradient of the content as key and as value.
    fn content_gradient(
        &self,
        products_gradient: FloatTensor<B>,
        weights: FloatTensor<B>,
    ) -> FloatTensor<B> {
        let as_key =
            B::float_matmul(B::float_transpose(products_gradient), self.content_queries.clone());
        let as_value =
            B::float_matmul(B::float_transpose(weights), self.content_sums_gradient.clone());
        let sum = B::float_add(as_key, as_value);
        let [batch, _, tokens, channels] = sum.shape().dims::<4>();
        B::float_reshape(sum, Shape::new([batch, tokens, channels]))
    }
}
