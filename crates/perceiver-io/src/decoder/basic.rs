use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor};
use perceiver_core::{
    AnswerStream, CrossAttentionLayer, Initialisation, LayerConfig, LinearMap, Segment, TokenArray,
    ops,
};

use super::{Decoded, Decoder};
use crate::{PositionConfig, PositionEncoding, Preprocessed};

/// Configuration of a [`BasicDecoder`].
#[derive(Debug, Clone)]
pub struct BasicDecoderConfig {
    /// The queries that the decoder makes; if absent, the caller makes them.
    pub queries: Option<QueryConfig>,
    /// The cross-attention.
    pub layer: LayerConfig,
    /// Output channels of a final linear map, if any.
    pub output_channels: Option<usize>,
}

/// Queries that are positions of the output.
#[derive(Debug, Clone)]
pub struct QueryConfig {
    /// Encoding of the positions.
    pub positions: PositionConfig,
    /// Length of every axis of the output, slowest first.
    pub index_dims: Vec<usize>,
    /// If true, queries begin with the input without its positions.
    pub concat_preprocessed_input: bool,
}

/// One cross-attention from queries to latents, then an optional linear map.
///
/// # Source
/// Perceiver IO section 3.2; `PerceiverBasicDecoder`.
///
/// # Differences
/// Without points, the reference takes the axes of the output from the shape of the input. Here they are
/// always `index_dims`.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverBasicDecoder")]
pub struct BasicDecoder {
    queries: Option<PositionQueries>,
    decoding_cross_attention: CrossAttentionLayer,
    final_layer: Option<Linear>,
}

/// Positions of an output grid as queries.
#[derive(Module, Debug)]
pub(super) struct PositionQueries {
    output: PositionEncoding,
    #[module(skip)]
    index_dims: Vec<usize>,
    concat_preprocessed_input: bool,
}

impl BasicDecoderConfig {
    /// Channels of a query.
    #[must_use]
    pub const fn channels(&self) -> usize {
        self.layer.attention.query_channels
    }

    /// Fresh parameters.
    #[must_use]
    pub fn init(&self, init: Initialisation, device: &Device) -> BasicDecoder {
        let channels = self.layer.attention.query_channels;
        BasicDecoder {
            queries: self.queries.as_ref().map(|queries| queries.init(init, device)),
            decoding_cross_attention: CrossAttentionLayer::new(&self.layer, init, device),
            final_layer: self.output_channels.map(|output| init.linear(channels, output, device)),
        }
    }
}

impl BasicDecoder {
    /// The answers to any queries.
    ///
    /// They come through a [`stream`](Self::stream), except with attention maps or gradients.
    ///
    /// # Shapes
    /// - `queries`: `[batch, queries, query_channels]`
    /// - `latents`: `[batch, latents, latent_channels]`
    /// - returns: `[batch, queries, output_channels]`
    ///
    /// # Panics
    /// If there are no queries, or their channels or those of the latents do not fit the layer.
    #[must_use]
    pub fn decode(
        &self,
        queries: &TokenArray,
        latents: Tensor<3>,
        attentions: bool,
    ) -> Decoded<Tensor<3>> {
        let [_, count, _] = queries.dims();
        assert!(count > 0, "decoding needs at least one query, found 0");
        if attentions || self.has_gradients(&latents) {
            return self.decode_at_once(queries, latents, attentions);
        }
        let blocks = self.stream(queries, latents, |_, map| map).map(|block| block.answers);
        Decoded { logits: Tensor::cat(blocks.collect(), 1), cross_attentions: None }
    }

    /// The answers block by block, in bounded memory. `finish` takes the index of a segment and the final
    /// linear map, and returns the map to apply instead.
    #[must_use]
    pub fn stream(
        &self,
        queries: &TokenArray,
        latents: Tensor<3>,
        finish: impl Fn(usize, LinearMap) -> LinearMap,
    ) -> AnswerStream<'_> {
        let last = self.final_layer.as_ref().map(LinearMap::from);
        let last = |segment| last.clone().map(|last| finish(segment, last));
        self.decoding_cross_attention.stream(queries, latents, last)
    }

    /// Queries for points that differ from example to example.
    ///
    /// # Shapes
    /// - `points`: `[batch, points]`, flat row-major indices into the output
    ///
    /// # Panics
    /// If the decoder makes no queries, or its queries include the input.
    #[must_use]
    pub fn queries_at_each(&self, points: Tensor<2, Int>) -> TokenArray {
        let queries = self.queries.as_ref().expect("this decoder makes no queries of its own");
        assert!(!queries.concat_preprocessed_input, "queries at points do not include the input");
        let [batch, count] = points.dims();
        let table = queries.output.grid(&queries.index_dims, &points.device()).to_table();
        let rows = table.select(0, points.flatten(0, 1));
        let [_, channels] = rows.dims();
        TokenArray::dense(rows.reshape([batch, count, channels]))
    }

    /// True if gradients flow through the answers, to the latents or to the parameters of the decoder.
    #[must_use]
    pub fn has_gradients(&self, latents: &Tensor<3>) -> bool {
        latents.device().is_autodiff() || self.devices().iter().any(Device::is_autodiff)
    }

    /// The answers to all queries at once.
    pub(super) fn decode_at_once(
        &self,
        queries: &TokenArray,
        latents: Tensor<3>,
        attentions: bool,
    ) -> Decoded<Tensor<3>> {
        let latents = TokenArray::dense(latents);
        let (output, cross_attentions) =
            self.decoding_cross_attention.forward(queries, &latents, None, attentions);
        let logits = match &self.final_layer {
            Some(layer) => ops::linear(layer, output),
            None => output,
        };
        Decoded { logits, cross_attentions }
    }
}

impl Decoder for BasicDecoder {
    /// `[points]`, flat row-major indices into the output; every element if absent.
    type Points = Option<Tensor<1, Int>>;
    type Queries = TokenArray;
    /// `[batch, queries, output_channels]`.
    type Output = Tensor<3>;

    /// # Panics
    /// If the decoder makes no queries, or its queries include the input and the input has more or fewer
    /// tokens.
    fn queries(&self, inputs: &Preprocessed, points: &Self::Points) -> TokenArray {
        let queries = self.queries.as_ref().expect("this decoder makes no queries of its own");
        TokenArray::new(vec![queries.segment(inputs, points.clone())])
    }

    fn sizes(&self, queries: &TokenArray) -> Vec<usize> {
        vec![queries.dims()[1]]
    }

    fn forward(
        &self,
        queries: &TokenArray,
        latents: Tensor<3>,
        attentions: bool,
    ) -> Decoded<Tensor<3>> {
        self.decode(queries, latents, attentions)
    }
}

impl QueryConfig {
    pub(super) fn init(&self, init: Initialisation, device: &Device) -> PositionQueries {
        PositionQueries {
            output: self.positions.init(init, device),
            index_dims: self.index_dims.clone(),
            concat_preprocessed_input: self.concat_preprocessed_input,
        }
    }
}

impl PositionQueries {
    /// Queries for points, or for every position.
    fn segment(&self, inputs: &Preprocessed, points: Option<Tensor<1, Int>>) -> Segment {
        let [batch, ..] = inputs.dims();
        let device = inputs.tokens.device();
        let positions = match points {
            None => self.output.grid(&self.index_dims, &device),
            points => self.output.points(&self.index_dims, points, &device),
        };
        if self.concat_preprocessed_input {
            Segment::from_content(inputs.without_positions[0].clone()).with_positions(positions)
        } else {
            Segment::from_positions(batch, positions)
        }
    }

    /// Queries for points; all points if absent, with coordinates by the formula for points.
    pub(super) fn points(
        &self,
        batch: usize,
        points: Option<Tensor<1, Int>>,
        device: &Device,
    ) -> Segment {
        Segment::from_positions(batch, self.output.points(&self.index_dims, points, device))
    }
}
