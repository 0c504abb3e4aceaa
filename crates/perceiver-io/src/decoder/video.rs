use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use perceiver_core::{Initialisation, LayerConfig, TokenArray};

use super::{BasicDecoder, BasicDecoderConfig, Decoded, Decoder, QueryConfig};
use crate::{PositionConfig, Preprocessed};

/// Decodes every pixel of a video, with its position as the query.
///
/// # Source
/// Perceiver IO section 4.3; `PerceiverBasicVideoAutoencodingDecoder`.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverBasicVideoAutoencodingDecoder")]
pub struct BasicVideoAutoencodingDecoder {
    decoder: BasicDecoder,
    output_shape: [usize; 4],
}

impl BasicVideoAutoencodingDecoder {
    /// Fresh parameters for videos of `output_shape` (batch, time, height, width).
    #[must_use]
    pub fn new(
        layer: LayerConfig,
        positions: PositionConfig,
        output_shape: [usize; 4],
        output_channels: usize,
        init: Initialisation,
        device: &Device,
    ) -> Self {
        let config = BasicDecoderConfig {
            queries: Some(QueryConfig {
                positions,
                index_dims: output_shape[1..].to_vec(),
                concat_preprocessed_input: false,
            }),
            layer,
            output_channels: Some(output_channels),
        };
        Self { decoder: config.init(init, device), output_shape }
    }
}

impl Decoder for BasicVideoAutoencodingDecoder {
    type Points = Option<Tensor<1, Int>>;
    type Queries = TokenArray;
    /// `[batch, time, height, width, output_channels]`.
    type Output = Tensor<5>;

    fn queries(&self, inputs: &Preprocessed, points: &Self::Points) -> TokenArray {
        self.decoder.queries(inputs, points)
    }

    fn sizes(&self, queries: &TokenArray) -> Vec<usize> {
        self.decoder.sizes(queries)
    }

    /// # Panics
    /// If the queries are not those of the whole video.
    fn forward(
        &self,
        queries: &TokenArray,
        latents: Tensor<3>,
        attentions: bool,
    ) -> Decoded<Tensor<5>> {
        let [batch, time, height, width] = self.output_shape;
        self.decoder.decode(queries, latents, attentions).map(|video| {
            let [_, _, channels] = video.dims();
            video.reshape([batch, time, height, width, channels])
        })
    }
}
