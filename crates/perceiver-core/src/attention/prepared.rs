//! The decoder direction: many queries, most of whose channels are positions, attend to few inputs.
//!
//! `docs/structured-attention.md` derives the factored form. It computes what the dense path computes,
//! with sums in another order.

use burn::tensor::Tensor;

use super::cost::Form;
use super::factored::Factored;
use super::{CrossAttention, dot, expand_batch, heads_first, split_heads};
use crate::ops::{self, AttentionInput, ScatterInput};
use crate::{Segment, TokenArray};

/// A cross-attention prepared for queries that come block by block: everything that does not depend on
/// individual queries is computed.
#[derive(Debug)]
pub(crate) struct PreparedAttention<'a> {
    attention: &'a CrossAttention,
    /// Scaled, `[batch, heads, keys, qk_channels / heads]`.
    keys: Tensor<4>,
    /// `[batch, heads, keys, v_channels / heads]`, or `query_channels` with the output projection
    /// applied.
    values: Tensor<4>,
    /// If true, the output projection was applied to the values, which are fewer than the queries.
    output_in_values: bool,
    segments: Vec<PreparedSegment>,
}

#[derive(Debug)]
struct PreparedSegment {
    queries: Segment,
    /// Present if it takes fewer multiplications than projecting the queries.
    factored: Option<FactoredQueries>,
}

/// Keys with the projection of the queries absorbed.
#[derive(Debug)]
struct AbsorbedKeys {
    /// `[batch, heads, keys, query_channels]`.
    keys: Tensor<4>,
    /// `[batch, heads, keys]`.
    bias: Tensor<3>,
}

/// Unprojected queries, and absorbed keys contracted with their positions.
#[derive(Debug)]
struct FactoredQueries {
    tokens: Factored,
    /// `[batch, heads, keys, content_channels]`.
    content_keys: Tensor<4>,
    /// `[batch, heads, keys, axes]`.
    axis_scores: Tensor<4>,
    /// `[batch, heads, keys]`.
    key_bias: Tensor<3>,
}

impl CrossAttention {
    /// # Shapes
    /// - `queries`: `[batch, queries, query_channels]`
    /// - `inputs`: `[batch, keys, input_channels]`
    pub(crate) fn prepare(&self, queries: &TokenArray, inputs: Tensor<3>) -> PreparedAttention<'_> {
        self.assert_fits(queries.dims(), inputs.dims());
        let [_, key_count, input_channels] = inputs.dims();
        let form = self.decoder_cost(queries.segments(), key_count, input_channels);
        self.prepare_form(queries, inputs, form)
    }

    pub(super) fn prepare_form(
        &self,
        queries: &TokenArray,
        inputs: Tensor<3>,
        form: Form,
    ) -> PreparedAttention<'_> {
        let projections = &self.projections;
        let heads = projections.heads;
        let inputs = ops::layer_norm(&projections.layernorm2, inputs);
        let keys = split_heads(ops::linear(&projections.key, inputs.clone()), heads)
            .mul_scalar(self.scale());
        let mut values = split_heads(ops::linear(&projections.value, inputs), heads);
        if form.output_in_values {
            let [v_channels, channels] = self.output.weight.dims();
            let by_head = [1, heads, v_channels / heads, channels];
            // The weights of a query sum to one in each head, so the values can carry the bias.
            let bias = self.output.bias.as_ref().expect("the projection has a bias").val();
            values = values.matmul(self.output.weight.val().reshape(by_head))
                + (bias / heads as f64).unsqueeze::<4>();
        }
        let absorbed = form.factored.contains(&true).then(|| self.absorb(&keys));
        let segments = queries.segments().iter().zip(form.factored);
        let segments = segments.map(|(queries, factored)| PreparedSegment {
            factored: absorbed.as_ref().filter(|_| factored).map(|keys| keys.factored(queries)),
            queries: queries.clone(),
        });
        PreparedAttention {
            attention: self,
            segments: segments.collect(),
            keys,
            values,
            output_in_values: form.output_in_values,
        }
    }

    /// # Shapes
    /// - `keys`: scaled, `[batch, heads, keys, qk_channels / heads]`
    fn absorb(&self, keys: &Tensor<4>) -> AbsorbedKeys {
        let projections = &self.projections;
        let absorbed =
            keys.clone().matmul(heads_first(projections.query.weight.val(), projections.heads));
        // The bias of the norm and the bias of the queries add the same to every query.
        let beta =
            projections.layernorm1.beta.as_ref().expect("the normalisation has a bias").val();
        let constant = ops::linear(&projections.query, beta.unsqueeze::<3>());
        let constant = split_heads(constant, projections.heads);
        AbsorbedKeys {
            keys: absorbed * projections.layernorm1.gamma.val().unsqueeze::<4>(),
            bias: dot(keys.clone(), constant).squeeze_dim(3),
        }
    }
}

impl AbsorbedKeys {
    fn factored(&self, queries: &Segment) -> FactoredQueries {
        let [batch, ..] = self.keys.dims();
        let tokens = Factored::new(queries).expand(batch);
        let (content_keys, axis_scores) = tokens.contract(&self.keys);
        FactoredQueries { tokens, content_keys, axis_scores, key_bias: self.bias.clone() }
    }
}

impl PreparedAttention<'_> {
    /// Index and tokens of each segment of queries.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (usize, usize)> {
        self.segments.iter().map(|segment| segment.queries.tokens()).enumerate()
    }

    /// Attention of the queries `start..start + count` of a segment.
    ///
    /// # Shapes
    /// - returns: `[batch, count, query_channels]`
    pub(crate) fn attend(&self, segment: usize, start: usize, count: usize) -> Tensor<3> {
        let projections = &self.attention.projections;
        let [batch, heads, ..] = self.keys.dims();
        let queries = self.segments[segment].queries.narrow(start, count).distinct();
        let attended = match &self.segments[segment].factored {
            Some(factored) => self.scatter(factored, start, count),
            None => {
                let normed = ops::layer_norm(&projections.layernorm1, queries.to_dense());
                let queries = split_heads(ops::linear(&projections.query, normed), heads);
                let queries = expand_batch(queries, batch);
                let (keys, values) = (self.keys.clone(), self.values.clone());
                ops::attention(AttentionInput::new(queries, keys, values).scale(1.0))
            }
        };
        let output = &self.attention.output;
        let answers = match (self.output_in_values, heads) {
            (true, 1) => attended.squeeze_dim(1),
            (true, _) => attended.sum_dim(1).squeeze_dim(1),
            (false, _) => {
                let [v_channels, _] = output.weight.dims();
                ops::linear(output, attended.swap_dims(1, 2).reshape([batch, count, v_channels]))
            }
        };
        if self.attention.query_residual { answers + queries.to_dense() } else { answers }
    }

    fn scatter(&self, queries: &FactoredQueries, start: usize, count: usize) -> Tensor<4> {
        let tokens = queries.tokens.narrow(start, count);
        ops::scatter_attend(ScatterInput {
            tokens: tokens.arrays(),
            points: tokens.points.into(),
            content_keys: queries.content_keys.clone().into_dispatch(),
            axis_scores: queries.axis_scores.clone().into_dispatch(),
            key_bias: queries.key_bias.clone().into_dispatch(),
            values: self.values.clone().into_dispatch(),
        })
    }
}
