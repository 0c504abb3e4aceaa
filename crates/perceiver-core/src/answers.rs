use burn::tensor::Tensor;

use crate::attention::PreparedAttention;
use crate::{CrossAttentionLayer, LinearMap, TokenArray};

/// Numbers per array of a block: 16 MiB in single precision.
const BLOCK: usize = 1 << 22;

/// The answers of a [`CrossAttentionLayer`] to any number of queries, block by block.
///
/// Apart from the queries themselves, memory does not grow with their number, and everything that
/// depends on the inputs alone is computed once. Blocks come in the order of the queries, each within
/// one segment; their size does not change the answers.
///
/// For inference only: it applies no dropout.
#[derive(Debug)]
pub struct AnswerStream<'a> {
    layer: &'a CrossAttentionLayer,
    attention: PreparedAttention<'a>,
    /// One per segment.
    endings: Vec<Ending>,
    /// Tokens per segment.
    segments: Vec<usize>,
    /// Queries per block, at most.
    block: usize,
    segment: usize,
    start: usize,
}

/// Consecutive answers.
#[derive(Debug, Clone)]
pub struct AnswerBlock {
    /// Index of the segment that the queries belong to.
    pub segment: usize,
    /// Index of the first query in its segment.
    pub start: usize,
    /// `[batch, queries, output_channels]`.
    pub answers: Tensor<3>,
}

/// The last steps of the layer, from `x` and the hidden channels `h` of its MLP.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one per segment")]
enum Ending {
    /// `x + second(h)`.
    Plain { second: LinearMap },
    /// `last(x + second(h))`.
    Apart { second: LinearMap, last: LinearMap },
    /// The same, as `x W + second_last(h)`.
    Folded { weight: Tensor<2>, second_last: LinearMap },
}

impl<'a> AnswerStream<'a> {
    pub(crate) fn new(
        layer: &'a CrossAttentionLayer,
        queries: &TokenArray,
        inputs: Tensor<3>,
        last: impl Fn(usize) -> Option<LinearMap>,
    ) -> Self {
        let [batch, ..] = inputs.dims();
        let attention = layer.attention().prepare(queries, inputs);
        let segments: Vec<usize> = attention.segments().map(|(_, tokens)| tokens).collect();
        let second = layer.mlp().second();
        let endings = segments.iter().enumerate();
        let endings =
            endings.map(|(s, &tokens)| Ending::new(second.clone(), last(s), tokens)).collect();
        let [hidden, channels] = second.dims();
        let block = (BLOCK / (batch * channels.max(hidden)).max(1)).max(1);
        let block = match layer.feed_forward_chunk() {
            0 => block,
            chunk => block.min(chunk),
        };
        Self { layer, attention, endings, segments, block, segment: 0, start: 0 }
    }

    /// Queries per example.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.segments.iter().sum()
    }

    /// Queries answered so far.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.segments[..self.segment].iter().sum::<usize>() + self.start
    }
}

impl Iterator for AnswerStream<'_> {
    type Item = AnswerBlock;

    fn next(&mut self) -> Option<AnswerBlock> {
        while self.start == *self.segments.get(self.segment)? {
            self.segment += 1;
            self.start = 0;
        }
        let (segment, start) = (self.segment, self.start);
        let left = self.segments[segment] - start;
        // The remaining blocks have equal length.
        let count = left.div_ceil(left.div_ceil(self.block));
        self.start += count;
        let attended = self.attention.attend(segment, start, count);
        let hidden = self.layer.hidden(attended.clone());
        let answers = self.endings[segment].forward(attended, hidden);
        Some(AnswerBlock { segment, start, answers })
    }
}

impl Ending {
    /// Folded if that takes fewer multiplications for this number of tokens.
    fn new(second: LinearMap, last: Option<LinearMap>, tokens: usize) -> Self {
        let Some(last) = last else { return Self::Plain { second } };
        let [_, channels] = second.dims();
        let [_, outputs] = last.dims();
        // Multiplications by the hidden channels cancel.
        if (tokens + channels) * outputs < tokens * channels {
            let second_last = second.then(&last);
            Self::Folded { weight: last.weight(), second_last }
        } else {
            Self::Apart { second, last }
        }
    }

    fn forward(&self, x: Tensor<3>, hidden: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Plain { second } => x + second.forward(hidden),
            Self::Apart { second, last } => last.forward(x + second.forward(hidden)),
            Self::Folded { weight, second_last } => {
                second_last.forward(hidden) + x.matmul(weight.clone().unsqueeze::<3>())
            }
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::module::Module;
    use burn::tensor::{Device, Tolerance};

    use super::*;
    use crate::attention::tests::{Double, random};
    use crate::{Activation, AttentionConfig, Initialisation, LayerConfig, Positions, Segment};

    const CHANNELS: usize = 6;

    /// A layer with blocks of `block` queries.
    fn layer(block: usize) -> CrossAttentionLayer {
        let attention = AttentionConfig {
            query_channels: CHANNELS,
            input_channels: 4,
            qk_channels: 4,
            v_channels: 4,
            heads: 1,
            query_residual: false,
            dropout: 0.0,
        };
        let config = LayerConfig {
            attention,
            widening_factor: 2,
            activation: Activation::Gelu,
            feed_forward_chunk: block,
        };
        let init = Initialisation { std: 0.5 };
        CrossAttentionLayer::new(&config, init, &Device::flex()).map(&mut Double)
    }

    /// A segment of positions only, then a segment of content.
    fn queries() -> TokenArray {
        let positions = Positions::Table(random([7, CHANNELS]));
        TokenArray::new(vec![
            Segment::from_positions(2, positions),
            Segment::from_content(random([2, 12, CHANNELS])),
        ])
    }

    #[test]
    fn blocks_come_in_order_within_one_segment_and_count_the_answers() {
        let layer = layer(5);
        let mut stream = layer.stream(&queries(), random([2, 3, 4]), |_| None);
        assert_eq!((stream.answered(), stream.queries()), (0, 19));
        for (place, answered) in
            [((0, 0), 4), ((0, 4), 7), ((1, 0), 11), ((1, 4), 15), ((1, 8), 19)]
        {
            let block = stream.next().expect("a block");
            assert_eq!((block.segment, block.start), place);
            assert_eq!(stream.answered(), answered);
        }
        assert!(stream.next().is_none());
        assert!(stream.next().is_none());
    }

    /// A last map of 2 channels is folded, one of 20 is not.
    #[test]
    fn a_last_map_gives_the_same_as_after_the_layer() {
        let (layer, queries, inputs) = (layer(5), queries(), random([2, 3, 4]));
        let lasts = [2, 20]
            .map(|channels| LinearMap::new(random([CHANNELS, channels]), random([channels])));
        let dense = TokenArray::dense(inputs.clone());
        let (output, _) = layer.forward(&queries, &dense, None, true);
        let mut found = [const { Vec::new() }; 2];
        for block in layer.stream(&queries, inputs, |segment| Some(lasts[segment].clone())) {
            found[block.segment].push(block.answers);
        }
        for ((last, found), (start, count)) in lasts.iter().zip(found).zip([(0, 7), (7, 12)]) {
            let expected = last.forward(output.clone().narrow(1, start, count)).into_data();
            let tolerance = Tolerance::<f64>::rel_abs(1e-9, 1e-9);
            Tensor::cat(found, 1).into_data().assert_approx_eq::<f64>(&expected, tolerance);
        }
    }
}
