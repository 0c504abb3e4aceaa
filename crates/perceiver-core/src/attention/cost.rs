//! Chooses the form of a cross-attention that takes the fewest multiplications.

use super::CrossAttention;
use super::factored::Factored;
use crate::{Segment, TokenArray};

/// The cheapest form of a cross-attention in one direction.
#[derive(Debug)]
pub(super) struct Form {
    /// Per segment of the many tokens: true if it is read factored, false if it is projected.
    pub(super) factored: Vec<bool>,
    /// If true, the output projection is applied to the values.
    pub(super) output_in_values: bool,
    pub(super) multiplications: usize,
}

impl CrossAttention {
    /// True if the decoder direction is cheaper than the encoder direction.
    pub(super) fn prefers_decoder_form(&self, queries: &TokenArray, inputs: &TokenArray) -> bool {
        let [_, query_count, query_channels] = queries.dims();
        let [_, key_count, input_channels] = inputs.dims();
        let decoder = self.decoder_cost(queries.segments(), key_count, input_channels);
        let encoder = self.encoder_cost(query_count, query_channels, inputs.segments());
        decoder.multiplications < encoder.multiplications
    }

    /// The encoder direction: few queries read many inputs.
    pub(super) fn encoder_cost(
        &self,
        queries: usize,
        query_channels: usize,
        inputs: &[Segment],
    ) -> Form {
        let [qk_channels, v_channels] = self.widths();
        let rows = self.projections.heads * queries;
        let channels = inputs[0].channels();
        let projected = qk_channels + v_channels;
        let projecting = |segment: &Segment| segment.tokens() * (channels + queries) * projected;
        // Once for the scores, once for the sums.
        let absorbing = |segment: &Segment| 2 * rows * Factored::numbers(segment);
        let (factored, reading) =
            choose(inputs, projecting, absorbing, queries * channels * projected);
        let projections = queries * query_channels * projected;
        Form { factored, output_in_values: false, multiplications: reading + projections }
    }

    /// The decoder direction: many queries attend to few inputs.
    pub(super) fn decoder_cost(
        &self,
        queries: &[Segment],
        keys: usize,
        input_channels: usize,
    ) -> Form {
        let [qk_channels, v_channels] = self.widths();
        let heads = self.projections.heads;
        let channels = queries[0].channels();
        let projecting = |segment: &Segment| segment.tokens() * (channels + keys) * qk_channels;
        let absorbing = |segment: &Segment| heads * keys * Factored::numbers(segment);
        let (factored, scores) =
            choose(queries, projecting, absorbing, keys * channels * qk_channels);

        let tokens: usize = queries.iter().map(Segment::tokens).sum();
        let apart = tokens * v_channels * (keys + channels);
        let folded = keys * channels * (v_channels + heads * tokens);
        let inputs = keys * input_channels * (qk_channels + v_channels);
        Form {
            factored,
            output_in_values: folded < apart,
            multiplications: inputs + scores + apart.min(folded),
        }
    }
}

/// The segments that are cheaper by `factored` than by `projected`, given that the first factored one
/// costs `once` more, and the cost of all segments together.
fn choose(
    segments: &[Segment],
    projected: impl Fn(&Segment) -> usize,
    factored: impl Fn(&Segment) -> usize,
    once: usize,
) -> (Vec<bool>, usize) {
    let choice: Vec<bool> = segments.iter().map(|s| factored(s) < projected(s)).collect();
    let plain: usize = segments.iter().map(&projected).sum();
    let mixed: usize = segments
        .iter()
        .zip(&choice)
        .map(|(s, &is_factored)| if is_factored { factored(s) } else { projected(s) })
        .sum();
    if mixed + once < plain { (choice, mixed + once) } else { (vec![false; segments.len()], plain) }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::{AttentionConfig, Axis, Content, Grid, Initialisation, LinearMap, Positions};

    const CHANNELS: usize = 40;
    const TOKENS: usize = 100;

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

    fn zeros<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        Tensor::zeros(shape, &Device::flex())
    }

    /// Three channels of content on a grid of 10 by 10.
    fn on_a_grid() -> Segment {
        let axis = |first: usize, channels: usize| Axis {
            table: zeros([10, channels]),
            channels: (first..first + channels).collect(),
        };
        let grid = Grid { axes: vec![axis(0, 20), axis(20, 17)], points: None };
        Segment::from_content(zeros([1, TOKENS, 3])).with_positions(Positions::Grid(grid))
    }

    fn dense() -> Segment {
        Segment::from_content(zeros([1, TOKENS, CHANNELS]))
    }

    fn reads(heads: usize, queries: usize, inputs: &[Segment]) -> Vec<bool> {
        attention(heads).encoder_cost(queries, CHANNELS, inputs).factored
    }

    #[test]
    fn each_segment_has_its_own_form() {
        assert_eq!(reads(2, 40, &[on_a_grid(), dense()]), [true, false]);
        let form = attention(2).decoder_cost(&[dense(), on_a_grid()], 40, CHANNELS);
        assert_eq!(form.factored, [false, true]);
    }

    #[test]
    fn many_heads_make_projecting_cheaper() {
        assert_eq!(reads(40, 40, &[on_a_grid()]), [false]);
    }

    #[test]
    fn one_query_reads_anything_absorbed() {
        assert_eq!(reads(1, 1, &[dense()]), [true]);
    }

    #[test]
    fn learned_positions_beside_mapped_pixels_are_absorbed() {
        let tokens = |content: Content| {
            let [_, _, channels] = content.dims();
            let table = Positions::Table(zeros([TOKENS, CHANNELS - channels]));
            Segment::from_content(content).with_positions(table)
        };
        let map = LinearMap::new(zeros([3, 20]), zeros([20]));
        let pixels = Content::mapped(zeros([1, TOKENS, 3]), map);
        assert_eq!(reads(2, 40, &[tokens(pixels)]), [true]);
        assert_eq!(reads(2, 40, &[tokens(zeros([1, TOKENS, 20]).into())]), [false]);
    }

    #[test]
    fn the_output_goes_into_the_values_of_one_head_alone() {
        let in_values = |heads, tokens| {
            let queries = Segment::from_content(zeros([1, tokens, CHANNELS]));
            attention(heads).decoder_cost(&[queries], 10, CHANNELS).output_in_values
        };
        assert!(in_values(1, TOKENS));
        assert!(!in_values(8, TOKENS));
        assert!(!in_values(1, 5));
    }

    #[test]
    fn the_longer_array_decides_the_direction() {
        let [few, many] = [4, TOKENS].map(|count| TokenArray::dense(zeros([1, count, CHANNELS])));
        assert!(attention(1).prefers_decoder_form(&many, &few));
        assert!(!attention(1).prefers_decoder_form(&few, &many));
    }
}
