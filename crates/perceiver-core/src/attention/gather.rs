//! The encoder direction: few queries read many tokens, most of whose channels are positions.
//!
//! `docs/structured-attention.md` derives the absorbed form. It gives what the dense path gives,
//! summed in another order.

use burn::tensor::{Bool, Tensor, activation};

use super::factored::Factored;
use super::{CrossAttention, dot, expand_batch, heads_first, split_heads};
use crate::{KeyMask, Segment, TokenArray, ops};

/// Queries as they meet tokens.
struct Queries {
    /// Scaled, `[batch, heads, queries, qk_channels / heads]`.
    projected: Tensor<4>,
    /// With the keys' projection and norm taken in, `[batch, heads, queries, input_channels]`;
    /// one of a batch where examples do not differ.
    absorbed: Tensor<4>,
    /// What the norm's bias and the keys' bias add to a query's every score,
    /// `[batch, heads, queries, 1]`.
    constant: Tensor<4>,
}

/// What one segment gives, and the log-sum-exp of its scores, `[batch, heads, queries, 1]`.
struct Read {
    attended: Sum,
    log_sum_exp: Tensor<4>,
}

/// Weighted sums over a segment.
enum Sum {
    /// Of an absorbed segment: normalised tokens, before the norm's weight and bias,
    /// `[batch, heads, queries, input_channels]`.
    Tokens(Tensor<4>),
    /// Of a projected one, `[batch, heads, queries, v_channels / heads]`.
    Values(Tensor<4>),
}

impl CrossAttention {
    /// Reads some segments absorbed, the others projected to keys and values.
    ///
    /// # Shapes
    /// - `queries`: `[batch, queries, query_channels]`
    /// - `absorbs`: one a segment
    /// - returns: the same as `queries`
    ///
    /// # Panics
    /// If the mask has another shape than the tokens.
    pub(super) fn gather(
        &self,
        queries: &TokenArray,
        inputs: &TokenArray,
        absorbs: &[bool],
        mask: Option<&KeyMask>,
    ) -> Tensor<3> {
        let [batch, query_count, _] = queries.dims();
        let [_, tokens, _] = inputs.dims();
        ops::assert_mask(mask, batch, tokens);
        let projected = self.project_queries(queries, batch);
        let blind = mask.map(|mask| mask.hidden().all_dim(1).reshape([batch, 1, 1, 1]));
        let mut start = 0;
        let mut reads = Vec::with_capacity(absorbs.len());
        for (segment, &absorbs) in inputs.segments().iter().zip(absorbs) {
            if segment.tokens() == 0 {
                continue;
            }
            let of_segment = mask.map(|mask| mask.narrow(start, segment.tokens()));
            let mut read = if absorbs {
                read_absorbed(&projected, segment, of_segment.as_ref())
            } else {
                self.read_projected(&projected, segment, of_segment.as_ref())
            };
            if let Some(blind) = &blind {
                read.log_sum_exp = counting_tokens(read.log_sum_exp, blind, segment.tokens());
            }
            reads.push(read);
            start += segment.tokens();
        }
        let [_, v_channels] = self.widths();
        let values = self.merge(reads);
        let values = values.swap_dims(1, 2).reshape([batch, query_count, v_channels]);
        self.project_output(values, queries)
    }

    /// Queries that are the same for all examples are projected once.
    fn project_queries(&self, queries: &TokenArray, batch: usize) -> Queries {
        let of = &self.projections;
        let queries = ops::layer_norm(&of.layernorm1, queries.distinct().to_dense());
        let projected =
            split_heads(ops::linear(&of.query, queries), of.heads).mul_scalar(self.scale());
        let absorbed = projected.clone().matmul(heads_first(of.key.weight.val(), of.heads));
        let absorbed = absorbed * of.layernorm2.gamma.val().unsqueeze::<4>();
        let constant = split_heads(ops::linear(&of.key, self.input_bias()), of.heads);
        let constant = dot(projected.clone(), constant);
        Queries {
            projected: expand_batch(projected, batch),
            absorbed,
            constant: expand_batch(constant, batch),
        }
    }

    fn read_projected(&self, queries: &Queries, segment: &Segment, mask: Option<&KeyMask>) -> Read {
        let of = &self.projections;
        let inputs = ops::layer_norm(&of.layernorm2, segment.to_dense());
        let keys = split_heads(ops::linear(&of.key, inputs.clone()), of.heads);
        let values = split_heads(ops::linear(&of.value, inputs), of.heads);
        let (attended, log_sum_exp) =
            ops::attention_with_log_sum_exp(queries.projected.clone(), keys, values, mask, 1.0);
        Read { attended: Sum::Values(attended), log_sum_exp }
    }

    /// Values over all segments, each counting by its share of the softmax.
    ///
    /// # Shapes
    /// - returns: `[batch, heads, queries, v_channels / heads]`
    fn merge(&self, reads: Vec<Read>) -> Tensor<4> {
        let of = &self.projections;
        let scores = reads.iter().map(|read| read.log_sum_exp.clone()).collect();
        let shares = activation::softmax(Tensor::cat(scores, 3), 3);
        let (mut tokens, mut values): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        let mut weight = shares.clone().narrow(3, 0, 1).zeros_like();
        for (s, read) in reads.into_iter().enumerate() {
            let share = shares.clone().narrow(3, s, 1);
            match read.attended {
                Sum::Values(attended) => values.push(attended * share),
                Sum::Tokens(attended) => {
                    tokens.push(attended * share.clone());
                    weight = weight + share;
                }
            }
        }
        let sum = |parts: Vec<Tensor<4>>| parts.into_iter().reduce(|sum, part| sum + part);
        let projected = sum(tokens).map(|tokens| {
            let normed = tokens * of.layernorm2.gamma.val().unsqueeze::<4>();
            let weights = heads_first(of.value.weight.val(), of.heads).swap_dims(2, 3);
            let constant = split_heads(ops::linear(&of.value, self.input_bias()), of.heads);
            normed.matmul(weights) + constant * weight
        });
        values.extend(projected);
        sum(values).expect("there are segments")
    }

    /// The inputs' norm at its mean: its bias, `[1, 1, input_channels]`.
    fn input_bias(&self) -> Tensor<3> {
        let beta = self.projections.layernorm2.beta.as_ref();
        beta.expect("layer norms here have a bias").val().unsqueeze()
    }
}

/// The log-sum-exp, but for blind examples, which hide every key, that of as many zeros as there are
/// tokens: the lowest number that hides a score has no digits left to count them by.
///
/// # Shapes
/// - `log_sum_exp`: `[batch, heads, queries, 1]`
/// - `blind`: `[batch, 1, 1, 1]`
fn counting_tokens(log_sum_exp: Tensor<4>, blind: &Tensor<4, Bool>, tokens: usize) -> Tensor<4> {
    let blind = blind.clone().expand(log_sum_exp.dims());
    log_sum_exp.mask_fill(blind, (tokens as f64).ln())
}

fn read_absorbed(queries: &Queries, segment: &Segment, mask: Option<&KeyMask>) -> Read {
    let [batch, ..] = queries.projected.dims();
    let tokens = Factored::new(segment).expand(batch);
    let (content_queries, axis_scores) = tokens.contract(&queries.absorbed);
    let (sums, log_sum_exp) = ops::gather_attend(
        expand_batch(content_queries, batch),
        expand_batch(axis_scores, batch),
        tokens.content.clone(),
        tokens.scale.clone(),
        mask,
        &tokens.grid(),
    );
    Read {
        attended: Sum::Tokens(tokens.assemble(sums)),
        log_sum_exp: log_sum_exp + queries.constant.clone(),
    }
}
