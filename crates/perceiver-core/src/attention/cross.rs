use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, LayerNorm, Linear};
use burn::tensor::{Device, Tensor};

use super::{Attended, AttentionConfig, attend, drops, expand_batch};
use crate::init::layer_norm;
use crate::token_array::concat;
use crate::{Initialisation, KeyMask, TokenArray, ops};

/// Attention of one array to another.
///
/// # Source
/// Perceiver IO section 3.1; `PerceiverAttention` with `is_cross_attention=True`.
#[derive(Module, Debug)]
pub struct CrossAttention {
    pub(super) projections: CrossProjections,
    pub(super) output: Linear,
    pub(super) query_residual: bool,
}

/// `attention.self` in a checkpoint.
#[derive(Module, Debug)]
pub(super) struct CrossProjections {
    pub(super) layernorm1: LayerNorm,
    pub(super) layernorm2: LayerNorm,
    pub(super) query: Linear,
    pub(super) key: Linear,
    pub(super) value: Linear,
    dropout: Dropout,
    pub(super) heads: usize,
}

impl CrossAttention {
    /// Fresh parameters.
    #[must_use]
    pub fn new(config: &AttentionConfig, init: Initialisation, device: &Device) -> Self {
        let (queries, inputs) = (config.query_channels, config.input_channels);
        Self {
            projections: CrossProjections {
                layernorm1: layer_norm(queries, device),
                layernorm2: layer_norm(inputs, device),
                query: init.linear(queries, config.qk_channels, device),
                key: init.linear(inputs, config.qk_channels, device),
                value: init.linear(inputs, config.v_channels, device),
                dropout: DropoutConfig::new(config.dropout).init(),
                heads: config.heads,
            },
            output: init.linear(config.v_channels, queries, device),
            query_residual: config.query_residual,
        }
    }

    /// Attends in the form that takes the fewest multiplications.
    ///
    /// # Shapes
    /// - `queries`: `[batch, queries, query_channels]`
    /// - `inputs`: `[batch, keys, input_channels]`
    /// - `mask`: `[batch, keys]`
    /// - returns: `[batch, queries, query_channels]`, and `[batch, heads, queries, keys]` if
    ///   `probabilities`
    ///
    /// # Panics
    /// If queries or inputs have other channels than the attention, differ in batch, or there are no
    /// inputs.
    #[must_use]
    pub fn forward(
        &self,
        queries: &TokenArray,
        inputs: &TokenArray,
        mask: Option<&KeyMask>,
        probabilities: bool,
    ) -> (Tensor<3>, Option<Tensor<4>>) {
        self.assert_fits(queries.dims(), inputs.dims());
        if probabilities || drops(&self.projections.dropout, &queries.device()) {
            return self.dense(queries, inputs, mask, probabilities);
        }
        if mask.is_none() && self.prefers_decoder_form(queries, inputs) {
            let prepared = self.prepare(queries, inputs.to_dense());
            let segments = prepared.segments().filter(|&(_, tokens)| tokens > 0);
            let answers = segments.map(|(s, tokens)| prepared.attend(s, 0, tokens));
            return (concat(answers.collect(), 1), None);
        }
        let [_, query_count, query_channels] = queries.dims();
        let form = self.encoder_cost(query_count, query_channels, inputs.segments());
        if form.factored.contains(&true) {
            (self.gather(queries, inputs, &form.factored, mask), None)
        } else {
            self.dense(queries, inputs, mask, false)
        }
    }

    /// # Panics
    /// If arrays of these shapes do not fit this attention.
    pub(super) fn assert_fits(&self, queries: [usize; 3], inputs: [usize; 3]) {
        let [[query_batch, _, query_channels], [batch, keys, channels]] = [queries, inputs];
        let projections = &self.projections;
        let expected =
            [&projections.layernorm1, &projections.layernorm2].map(|norm| norm.gamma.dims()[0]);
        for (name, found, expected) in
            [("queries", query_channels, expected[0]), ("inputs", channels, expected[1])]
        {
            assert!(
                found == expected,
                "{name} of cross-attention have {found} channels, expected {expected}"
            );
        }
        assert!(
            [1, batch].contains(&query_batch),
            "queries of cross-attention have {query_batch} examples, inputs have {batch}"
        );
        assert!(keys > 0, "cross-attention needs at least one input token, found 0");
    }

    /// Attends with every channel of every token written out.
    fn dense(
        &self,
        queries: &TokenArray,
        inputs: &TokenArray,
        mask: Option<&KeyMask>,
        probabilities: bool,
    ) -> Attended {
        let projections = &self.projections;
        let [batch, ..] = queries.dims();
        // Queries that all examples share are projected once.
        let projected = ops::layer_norm(&projections.layernorm1, queries.distinct().to_dense());
        let projected = expand_batch(ops::linear(&projections.query, projected), batch);
        let inputs = ops::layer_norm(&projections.layernorm2, inputs.to_dense());
        let (attended, maps) = attend(
            projected,
            ops::linear(&projections.key, inputs.clone()),
            ops::linear(&projections.value, inputs),
            projections.heads,
            mask,
            &projections.dropout,
            probabilities,
        );
        (self.project_output(attended, queries), maps)
    }

    /// # Shapes
    /// - `attended`: `[batch, queries, v_channels]`
    /// - returns: `[batch, queries, query_channels]`
    pub(super) fn project_output(&self, attended: Tensor<3>, queries: &TokenArray) -> Tensor<3> {
        let output = ops::linear(&self.output, attended);
        if self.query_residual { output + queries.distinct().to_dense() } else { output }
    }

    /// Channels of projected queries and keys, and of projected values.
    pub(super) fn widths(&self) -> [usize; 2] {
        let projections = &self.projections;
        [projections.query.weight.dims()[1], projections.value.weight.dims()[1]]
    }

    /// The factor of every score.
    pub(super) fn scale(&self) -> f64 {
        let [qk_channels, _] = self.widths();
        1.0 / ((qk_channels / self.projections.heads) as f64).sqrt()
    }
}
