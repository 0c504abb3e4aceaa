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
    let (mut of_content, mut of_scale) = (Vec::new(), Vec::new());
    for block in tokens.blocks(&GridPoints::All, batch * heads * queries) {
        let products = block.products(&rows.content_queries, &rows.axis_scores);
        let kept = tracked_tokens.then(|| products.clone());
        let scores = B::float_mul(products, block.scale.clone());
        let scores = hide::<B>(scores, &hidden, block.start, block.end);
        let probabilities = B::float_exp(B::float_sub(scores, rows.log_sum_exp.clone()));
        let received = block.products(&rows.of_content_sums, &rows.of_marginals);
        let of_scores = rows.of_scores(probabilities.clone(), received.clone(), &block);
        let of_products = B::float_mul(of_scores.clone(), block.scale.clone());
        if let Some(products) = kept {
            let weights = B::float_mul(probabilities.clone(), block.scale.clone());
            of_content.push(rows.of_content(of_products.clone(), weights));
            let terms = B::float_add(
                B::float_mul(products, of_scores),
                B::float_mul(received, probabilities),
            );
            of_scale.push(B::float_sum_dim(terms, 2));
        }
        add_to::<B>(&mut sums, block.sums(of_products));
    }
    let sums = sums.expect("a grid has at least one cell");
    let rows = |tensor: FloatTensor<B>| {
        let channels = tensor.shape()[3];
        B::float_reshape(tensor, Shape::new([batch, heads, queries, channels]))
    };
    GatherGradients {
        content_queries: rows(slice::<B>(&sums, 3, 0, channels)),
        axis_scores: rows(slice::<B>(&sums, 3, channels, channels + axes)),
        tokens: TokenGradients::from_blocks(of_content, of_scale),
    }
}

/// The arrays with a row per query, all `[batch, 1, heads · queries, …]`.
struct Rows<B: Backend> {
    content_queries: FloatTensor<B>,
    axis_scores: FloatTensor<B>,
    log_sum_exp: FloatTensor<B>,
    of_content_sums: FloatTensor<B>,
    of_marginals: FloatTensor<B>,
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
        let of_log_sum_exp = slice::<B>(gradient, 3, outputs, outputs + 1);
        let log_sum_exp = slice::<B>(packed, 3, outputs, outputs + 1);
        let balance = B::float_sub(balance::<B>(sums(gradient), sums(packed)), of_log_sum_exp);
        let (log_sum_exp, of_sums, balance) = match &blind {
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
            of_content_sums: slice::<B>(&of_sums, 3, 0, channels),
            of_marginals: slice::<B>(&of_sums, 3, channels, outputs),
            balance,
            blind,
        }
    }

    fn of_scores(
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
    fn of_content(&self, of_products: FloatTensor<B>, weights: FloatTensor<B>) -> FloatTensor<B> {
        let as_key = B::float_matmul(B::float_transpose(of_products), self.content_queries.clone());
        let as_value = B::float_matmul(B::float_transpose(weights), self.of_content_sums.clone());
        let sum = B::float_add(as_key, as_value);
        let [batch, _, tokens, channels] = sum.shape().dims::<4>();
        B::float_reshape(sum, Shape::new([batch, tokens, channels]))
    }
}
