//! The encoder direction: few queries read many tokens, most of whose channels are positions.
//!
//! `docs/structured-attention.md` derives the absorbed form. It computes what the dense path computes,
//! with sums in another order.

use burn::tensor::{Bool, Tensor, activation};

use super::factored::Factored;
use super::{CrossAttention, dot, expand_batch, heads_first, split_heads};
use crate::ops::{self, AttentionInput, GatherInput};
use crate::{KeyMask, Segment, TokenArray};

/// Queries, prepared for tokens of either form.
struct Queries {
    /// Scaled, `[batch, heads, queries, qk_channels / heads]`.
    projected: Tensor<4>,
    /// With the projection and the norm of the keys absorbed, `[batch, heads, queries,
    /// input_channels]`; the batch is 1 if all examples share the queries.
    absorbed: Tensor<4>,
    /// Added to every score of a query by the bias of the norm and the bias of the keys,
    /// `[batch, heads, queries, 1]`.
    constant: Tensor<4>,
}

/// The result of one segment, and the log-sum-exp of its scores, `[batch, heads, queries, 1]`.
struct Read {
    attended: Sum,
    log_sum_exp: Tensor<4>,
}

/// Weighted sums over a segment.
enum Sum {
    /// Sums of normalised tokens, before the weight and bias of the norm, of an absorbed segment:
    /// `[batch, heads, queries, input_channels]`.
    Tokens(Tensor<4>),
    /// Sums of values of a projected segment, `[batch, heads, queries, v_channels / heads]`.
    Values(Tensor<4>),
}

impl CrossAttention {
    /// Reads some segments absorbed, and projects the others to keys and values.
    ///
    /// # Shapes
    /// - `queries`: `[batch, queries, query_channels]`
    /// - `absorbs`: one per segment
    /// - returns: the same as `queries`
    ///
    /// # Panics
    /// If the mask is not `[batch, tokens]`.
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
            let segment_mask = mask.map(|mask| mask.narrow(start, segment.tokens()));
            let mut read = if absorbs {
                read_absorbed(&projected, segment, segment_mask.as_ref())
            } else {
                self.read_projected(&projected, segment, segment_mask.as_ref())
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

    /// Projects queries that all examples share once.
    fn project_queries(&self, queries: &TokenArray, batch: usize) -> Queries {
        let projections = &self.projections;
        let queries = ops::layer_norm(&projections.layernorm1, queries.distinct().to_dense());
        let projected = split_heads(ops::linear(&projections.query, queries), projections.heads)
            .mul_scalar(self.scale());
        let absorbed =
            projected.clone().matmul(heads_first(projections.key.weight.val(), projections.heads));
        let absorbed = absorbed * projections.layernorm2.gamma.val().unsqueeze::<4>();
        let constant =
            split_heads(ops::linear(&projections.key, self.input_bias()), projections.heads);
        let constant = dot(projected.clone(), constant);
        Queries {
            projected: expand_batch(projected, batch),
            absorbed,
            constant: expand_batch(constant, batch),
        }
    }

    fn read_projected(&self, queries: &Queries, segment: &Segment, mask: Option<&KeyMask>) -> Read {
        let projections = &self.projections;
        let inputs = ops::layer_norm(&projections.layernorm2, segment.to_dense());
        let keys = split_heads(ops::linear(&projections.key, inputs.clone()), projections.heads);
        let values = split_heads(ops::linear(&projections.value, inputs), projections.heads);
        let input = AttentionInput::new(queries.projected.clone(), keys, values);
        let (attended, log_sum_exp) = ops::attention_with_log_sum_exp(input.mask(mask).scale(1.0));
        Read { attended: Sum::Values(attended), log_sum_exp }
    }

    /// Values over all segments, each weighted by its share of the softmax.
    ///
    /// # Shapes
    /// - returns: `[batch, heads, queries, v_channels / heads]`
    fn merge(&self, reads: Vec<Read>) -> Tensor<4> {
        let projections = &self.projections;
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
            let normed = tokens * projections.layernorm2.gamma.val().unsqueeze::<4>();
            let weights =
                heads_first(projections.value.weight.val(), projections.heads).swap_dims(2, 3);
            let constant =
                split_heads(ops::linear(&projections.value, self.input_bias()), projections.heads);
            normed.matmul(weights) + constant * weight
        });
        values.extend(projected);
        sum(values).expect("there are segments")
    }

    /// The bias of the inputs' norm, `[1, 1, input_channels]`.
    fn input_bias(&self) -> Tensor<3> {
        let beta = self.projections.layernorm2.beta.as_ref();
        beta.expect("the normalisation has a bias").val().unsqueeze()
    }
}

/// The log-sum-exp, replaced in blind examples, whose keys are all hidden, by that of `tokens` zeros:
/// the lowest number, which hides a score, has no digits left to count tokens with.
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
    let (sums, log_sum_exp) = ops::gather_attend(GatherInput {
        content_queries: expand_batch(content_queries, batch).into_dispatch(),
        axis_scores: expand_batch(axis_scores, batch).into_dispatch(),
        tokens: tokens.arrays(),
        hidden: mask.into(),
    });
    Read {
        attended: Sum::Tokens(tokens.assemble(sums)),
        log_sum_exp: log_sum_exp + queries.constant.clone(),
    }
}
