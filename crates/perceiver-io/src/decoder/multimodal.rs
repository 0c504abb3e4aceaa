use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use perceiver_core::{AnswerStream, Initialisation, LayerConfig, Segment, TokenArray};

use super::basic::PositionQueries;
use super::{BasicDecoder, BasicDecoderConfig, Decoded, Decoder, QueryConfig};
use crate::{Modalities, MultimodalPostprocessor, PositionConfig, Preprocessed};

/// Configuration of a [`MultimodalDecoder`].
#[derive(Debug, Clone)]
pub struct MultimodalDecoderConfig {
    /// The queries.
    pub queries: MultimodalQueryConfig,
    /// The shared cross-attention; its query channels are [`MultimodalQueryConfig::channels`].
    pub layer: LayerConfig,
    /// Channels of each answer.
    pub output_channels: usize,
}

/// Queries of three modalities, padded to the same channels.
#[derive(Debug, Clone)]
pub struct MultimodalQueryConfig {
    /// Positions of sound patches, and their number.
    pub audio: (PositionConfig, usize),
    /// Positions of pixels, and the size of the video (time, height, width).
    pub image: (PositionConfig, [usize; 3]),
    /// Position of the single query of the label.
    pub label: PositionConfig,
    /// Padding channels of the modality with the most channels.
    pub min_padding: usize,
}

/// Decodes sound, pixels and label together, with queries padded to the same channels.
///
/// # Source
/// Perceiver IO section 4.3 and appendix; `PerceiverMultimodalDecoder`.
///
/// # Differences
/// Without points, the reference fails on video. Here every point is decoded, in order.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverMultimodalDecoder")]
pub struct MultimodalDecoder {
    modalities: ModalityQueries,
    padding: Modalities<Param<Tensor<2>>>,
    decoder: BasicDecoder,
}

/// The queries of each modality, named after the decoders that make them in the reference: a basic
/// decoder for sound, and a basic decoder inside another one for pixels and label.
#[derive(Module, Debug)]
struct ModalityQueries {
    audio: BasicQueries,
    image: NestedQueries,
    label: NestedQueries,
}

#[derive(Module, Debug)]
struct BasicQueries {
    queries: PositionQueries,
}

#[derive(Module, Debug)]
struct NestedQueries {
    decoder: BasicQueries,
}

/// Points of one modality: `[points]`, flat row-major indices; all if absent.
pub type SubsampledPoints = Option<Tensor<1, Int>>;

/// Output points to decode.
///
/// # Source
/// `subsampled_output_points`.
#[derive(Debug, Clone, Default)]
pub struct OutputPoints {
    /// Sound patches.
    pub audio: SubsampledPoints,
    /// Pixels, over (time, height, width).
    pub image: SubsampledPoints,
}

impl MultimodalQueryConfig {
    /// Channels of each query, including padding.
    #[must_use]
    pub fn channels(&self) -> usize {
        let widest = self.audio.0.channels().max(self.image.0.channels());
        widest.max(self.label.channels()).saturating_add(self.min_padding)
    }
}

impl MultimodalDecoderConfig {
    /// Channels of a query, padding included.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.queries.channels()
    }

    /// Fresh parameters.
    ///
    /// # Panics
    /// If the layer takes queries with more or fewer channels.
    #[must_use]
    pub fn init(&self, init: Initialisation, device: &Device) -> MultimodalDecoder {
        let channels = self.queries.channels();
        let layer = self.layer.attention.query_channels;
        assert!(
            layer == channels,
            "the layer takes {layer} query channels, queries have {channels}"
        );
        let queries = &self.queries;
        let modalities = ModalityQueries {
            audio: basic_queries(&queries.audio.0, &[queries.audio.1], init, device),
            image: NestedQueries {
                decoder: basic_queries(&queries.image.0, &queries.image.1, init, device),
            },
            label: NestedQueries { decoder: basic_queries(&queries.label, &[1], init, device) },
        };
        let padding = |own: &PositionConfig| init.parameter([1, channels - own.channels()], device);
        let padding = Modalities {
            audio: padding(&queries.audio.0),
            image: padding(&queries.image.0),
            label: padding(&queries.label),
        };
        let decoder = BasicDecoderConfig {
            queries: None,
            layer: self.layer.clone(),
            output_channels: Some(self.output_channels),
        };
        MultimodalDecoder { modalities, padding, decoder: decoder.init(init, device) }
    }
}

fn basic_queries(
    positions: &PositionConfig,
    index_dims: &[usize],
    init: Initialisation,
    device: &Device,
) -> BasicQueries {
    let config = QueryConfig {
        positions: positions.clone(),
        index_dims: index_dims.to_vec(),
        concat_preprocessed_input: false,
    };
    BasicQueries { queries: config.init(init, device) }
}

impl MultimodalDecoder {
    /// See [`BasicDecoder::has_gradients`].
    #[must_use]
    pub fn has_gradients(&self, latents: &Tensor<3>) -> bool {
        self.decoder.has_gradients(latents)
    }

    /// The answers block by block, in bounded memory. The answers of a modality are mapped by the linear
    /// map that begins its postprocessor.
    #[must_use]
    pub fn stream(
        &self,
        queries: &TokenArray,
        latents: Tensor<3>,
        postprocessor: &MultimodalPostprocessor,
    ) -> AnswerStream<'_> {
        let maps = postprocessor.maps();
        self.decoder.stream(queries, latents, |modality, map| map.then(&maps[modality]))
    }
}

impl Decoder for MultimodalDecoder {
    type Points = OutputPoints;
    type Queries = TokenArray;
    /// `[batch, queries, output_channels]`, sound first, then pixels, then the label.
    type Output = Tensor<3>;

    fn queries(&self, inputs: &Preprocessed, points: &OutputPoints) -> TokenArray {
        let [batch, ..] = inputs.dims();
        let device = inputs.tokens.device();
        let segment =
            |queries: &PositionQueries, points: &SubsampledPoints, padding: &Param<Tensor<2>>| {
                let padding: Tensor<1> = padding.val().flatten(0, 1);
                queries.points(batch, points.clone(), &device).with_padding(padding)
            };
        let (modalities, padding) = (&self.modalities, &self.padding);
        TokenArray::new(vec![
            segment(&modalities.audio.queries, &points.audio, &padding.audio),
            segment(&modalities.image.decoder.queries, &points.image, &padding.image),
            segment(&modalities.label.decoder.queries, &None, &padding.label),
        ])
    }

    fn sizes(&self, queries: &TokenArray) -> Vec<usize> {
        queries.segments().iter().map(Segment::tokens).collect()
    }

    fn forward(
        &self,
        queries: &TokenArray,
        latents: Tensor<3>,
        attentions: bool,
    ) -> Decoded<Tensor<3>> {
        self.decoder.decode(queries, latents, attentions)
    }
}
