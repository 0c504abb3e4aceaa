//! Cross-attention with factored tokens on one side, by the operations that never expand them.
//!
//! `docs/structured-attention.md` derives both directions. They give what the dense path gives,
//! summed in another order.

use burn::tensor::{Tensor, activation};

use super::factored::Factored;
use super::{CrossAttention, split_heads};
use crate::{KeyMask, Positions, Segment, TokenArray, ops};

impl CrossAttention {
    /// Whether reading these tokens takes fewer multiplications factored than projected.
    pub(super) fn gathers(&self, queries: usize, inputs: &TokenArray) -> bool {
        let [_, tokens, channels] = inputs.dims();
        let [qk_channels, v_channels] = self.widths();
        let projected = qk_channels + v_channels;
        let rows = self.projections.heads * queries;
        let factored = queries * channels * projected + 2 * rows * factored_numbers(inputs);
        suits(inputs) && factored < tokens * (channels + queries) * projected
    }

    /// Whether asking with these tokens takes fewer multiplications factored than projected;
    /// values and output take the same both ways.
    pub(super) fn scatters(&self, queries: &TokenArray, keys: usize) -> bool {
        let [_, tokens, channels] = queries.dims();
        let [qk_channels, _] = self.widths();
        let rows = self.projections.heads * keys;
        let factored = keys * channels * qk_channels + rows * factored_numbers(queries);
        suits(queries) && factored < tokens * (channels + keys) * qk_channels
    }

    /// The encoder direction: few dense queries, many factored tokens.
    ///
    /// # Shapes
    /// - `queries`: `[batch, queries, query_channels]`
    /// - returns: `[batch, queries, v_channels]`
    pub(super) fn gather(
        &self,
        queries: Tensor<3>,
        inputs: &TokenArray,
        mask: Option<&KeyMask>,
    ) -> Tensor<3> {
        let of = &self.projections;
        let heads = of.heads;
        let [batch, query_count, _] = queries.dims();
        let [qk_channels, v_channels] = self.widths();
        let scale = 1.0 / ((qk_channels / heads) as f64).sqrt();
        let queries = split_heads(of.query.forward(of.layernorm1.forward(queries)), heads);
        // What is constant over tokens (the norm's bias, the keys' bias) drops out of the softmax.
        let absorbed = queries.mul_scalar(scale).matmul(heads_first(of.key.weight.val(), heads));
        let absorbed = absorbed * of.layernorm2.gamma.val().unsqueeze::<4>();

        let mut start = 0;
        let mut attended = Vec::with_capacity(inputs.segments().len());
        let mut log_sum_exps = Vec::with_capacity(inputs.segments().len());
        for segment in inputs.segments() {
            let tokens = Factored::new(segment);
            let (content_queries, axis_scores) = tokens.contract(&absorbed);
            let mask = mask.map(|mask| mask.narrow(start, segment.tokens()));
            let (sums, log_sum_exp) = ops::gather_attend(
                content_queries,
                axis_scores,
                tokens.content.clone(),
                tokens.scale.clone(),
                mask.as_ref(),
                &tokens.grid(),
            );
            attended.push(tokens.assemble(sums));
            log_sum_exps.push(log_sum_exp);
            start += segment.tokens();
        }
        let normed = merge(attended, log_sum_exps);
        let beta = of.layernorm2.beta.as_ref().expect("layer norms here have a bias").val();
        let normed = normed * of.layernorm2.gamma.val().unsqueeze::<4>() + beta.unsqueeze::<4>();
        let values = normed.matmul(heads_first(of.value.weight.val(), heads).swap_dims(2, 3));
        let values = values.swap_dims(1, 2).reshape([batch, query_count, v_channels]);
        values + of.value.bias.as_ref().expect("projections have a bias").val().unsqueeze::<3>()
    }

    /// The decoder direction: many factored queries, few dense keys.
    ///
    /// # Shapes
    /// - `inputs`: `[batch, keys, input_channels]`
    /// - returns: `[batch, queries, v_channels]`
    pub(super) fn scatter(&self, queries: &TokenArray, inputs: Tensor<3>) -> Tensor<3> {
        let of = &self.projections;
        let heads = of.heads;
        let [batch, query_count, _] = queries.dims();
        let [qk_channels, v_channels] = self.widths();
        let scale = 1.0 / ((qk_channels / heads) as f64).sqrt();
        let inputs = of.layernorm2.forward(inputs);
        let keys = split_heads(of.key.forward(inputs.clone()), heads).mul_scalar(scale);
        let values = split_heads(of.value.forward(inputs), heads);

        let absorbed = keys.clone().matmul(heads_first(of.query.weight.val(), heads));
        let absorbed = absorbed * of.layernorm1.gamma.val().unsqueeze::<4>();
        // What the norm's bias and the queries' bias add is the same for every query.
        let beta = of.layernorm1.beta.as_ref().expect("layer norms here have a bias").val();
        let constant = of.query.forward(beta.unsqueeze::<3>());
        let constant = split_heads(constant, heads).swap_dims(2, 3);
        let key_bias: Tensor<3> = keys.matmul(constant).squeeze_dim(3);

        let attended = queries.segments().iter().map(|segment| {
            let tokens = Factored::new(segment);
            let (content_keys, axis_scores) = tokens.contract(&absorbed);
            ops::scatter_attend(
                tokens.content.clone(),
                tokens.scale.clone(),
                content_keys,
                axis_scores,
                key_bias.clone(),
                values.clone(),
                tokens.points.clone(),
                &tokens.grid(),
            )
        });
        Tensor::cat(attended.collect(), 2).swap_dims(1, 2).reshape([batch, query_count, v_channels])
    }

    /// Channels of projected queries and keys, and of projected values.
    fn widths(&self) -> [usize; 2] {
        let of = &self.projections;
        [of.query.weight.dims()[1], of.value.weight.dims()[1]]
    }
}

fn suits(tokens: &TokenArray) -> bool {
    tokens.segments().iter().all(Factored::suits)
}

/// Numbers of all tokens that the factored operations multiply by: content and mean, and
/// positions where they are no grid's.
fn factored_numbers(tokens: &TokenArray) -> usize {
    let numbers = |segment: &Segment| {
        let channels = match segment.positions() {
            Some(Positions::Grid(_)) => segment.content_channels(),
            _ => segment.channels(),
        };
        (channels + 1) * segment.tokens()
    };
    tokens.segments().iter().map(numbers).sum()
}

/// A projection's weight `[channels, heads · head_channels]` as
/// `[1, heads, head_channels, channels]`.
fn heads_first(weight: Tensor<2>, heads: usize) -> Tensor<4> {
    let [channels, width] = weight.dims();
    weight.transpose().reshape([1, heads, width / heads, channels])
}

/// Merges attention over segments: each counts by its share of the softmax.
///
/// # Shapes
/// - `attended`: `[batch, heads, queries, channels]` each
/// - `log_sum_exps`: `[batch, heads, queries, 1]` each
fn merge(mut attended: Vec<Tensor<4>>, log_sum_exps: Vec<Tensor<4>>) -> Tensor<4> {
    if attended.len() == 1 {
        return attended.remove(0);
    }
    let shares = activation::softmax(Tensor::cat(log_sum_exps, 3), 3);
    let weighted =
        attended.into_iter().enumerate().map(|(i, x)| x * shares.clone().narrow(3, i, 1));
    weighted.reduce(|sum, x| sum + x).expect("there are segments")
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::{AttentionConfig, Axis, Grid, Initialisation};

    const CHANNELS: usize = 40;

    fn attention(heads: usize) -> CrossAttention {
        let config = AttentionConfig {
            query_channels: CHANNELS,
            input_channels: CHANNELS,
            qk_channels: CHANNELS,
            v_channels: CHANNELS,
            heads,
            query_residual: false,
            dropout: 0.0,
        };
        CrossAttention::new(&config, Initialisation::default(), &Device::flex())
    }

    /// A hundred tokens, of whose channels three are content.
    fn tokens(on_a_grid: bool) -> TokenArray {
        let table = Tensor::zeros([100, CHANNELS - 3], &Device::flex());
        let positions = if on_a_grid {
            let axis = Axis { table, channels: (0..CHANNELS - 3).collect() };
            Positions::Grid(Grid { axes: vec![axis], points: None })
        } else {
            Positions::Table(table)
        };
        let content = Tensor::zeros([1, 100, 3], &Device::flex());
        TokenArray::new(vec![Segment::from_content(content).with_positions(positions)])
    }

    #[test]
    fn tokens_on_a_grid_go_factored() {
        assert!(attention(1).gathers(8, &tokens(true)));
        assert!(attention(1).scatters(&tokens(true), 8));
    }

    #[test]
    fn tokens_with_learned_positions_stay_dense() {
        assert!(!attention(1).gathers(8, &tokens(false)));
        assert!(!attention(1).scatters(&tokens(false), 8));
    }

    #[test]
    fn many_heads_make_projecting_cheaper() {
        assert!(attention(1).gathers(40, &tokens(true)));
        assert!(!attention(40).gathers(40, &tokens(true)));
    }

    #[test]
    fn one_query_stays_dense() {
        let query = TokenArray::dense(Tensor::zeros([1, 1, CHANNELS], &Device::flex()));
        assert!(!attention(1).scatters(&query, 8));
    }
}
