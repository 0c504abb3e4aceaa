use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use perceiver_core::{AnswerStream, Initialisation, LayerConfig, TokenArray};

use super::{BasicDecoder, BasicDecoderConfig, Decoded, Decoder};
use crate::Preprocessed;

/// Sizes of an [`OpticalFlowDecoder`].
#[derive(Debug, Clone)]
pub struct OpticalFlowDecoderConfig {
    /// The cross-attention; its query channels are those of a preprocessed pixel.
    pub layer: LayerConfig,
    /// Height and width of the images, in pixels.
    pub image_shape: [usize; 2],
    /// Channels of an answer: two for motion on a plane.
    pub output_channels: usize,
    /// Answers are divided by this.
    pub rescale_factor: f64,
}

/// Decodes the motion of every pixel, with the preprocessed pixel itself as the query.
///
/// # Source
/// Perceiver IO section 4.2; `PerceiverOpticalFlowDecoder`.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverOpticalFlowDecoder")]
pub struct OpticalFlowDecoder {
    decoder: BasicDecoder,
    image_shape: [usize; 2],
    rescale_factor: f64,
}

impl OpticalFlowDecoderConfig {
    /// Channels of a query.
    #[must_use]
    pub const fn channels(&self) -> usize {
        self.layer.attention.query_channels
    }

    /// Fresh parameters.
    #[must_use]
    pub fn init(&self, init: Initialisation, device: &Device) -> OpticalFlowDecoder {
        let config = BasicDecoderConfig {
            queries: None,
            layer: self.layer.clone(),
            output_channels: Some(self.output_channels),
        };
        OpticalFlowDecoder {
            decoder: config.init(init, device),
            image_shape: self.image_shape,
            rescale_factor: self.rescale_factor,
        }
    }
}

impl OpticalFlowDecoder {
    /// Queries for the pixels at `points`.
    ///
    /// # Shapes
    /// - `points`: `[points]`, flat row-major indices into the image
    #[must_use]
    pub fn queries_at(&self, inputs: &Preprocessed, points: &Tensor<1, Int>) -> TokenArray {
        let segments = inputs.tokens.segments().iter().map(|pixels| pixels.select(points));
        TokenArray::new(segments.collect())
    }

    /// The motion of pixels block by block, `[batch, pixels, output_channels]` per block, in bounded
    /// memory.
    #[must_use]
    pub fn stream(&self, queries: &TokenArray, latents: Tensor<3>) -> AnswerStream<'_> {
        self.decoder.stream(queries, latents, |_, map| map.scaled(1.0 / self.rescale_factor))
    }
}

impl Decoder for OpticalFlowDecoder {
    type Points = ();
    type Queries = TokenArray;
    /// `[batch, height, width, output_channels]`; horizontal motion comes first.
    type Output = Tensor<4>;

    fn queries(&self, inputs: &Preprocessed, (): &()) -> TokenArray {
        inputs.tokens.clone()
    }

    fn sizes(&self, queries: &TokenArray) -> Vec<usize> {
        self.decoder.sizes(queries)
    }

    /// # Panics
    /// If there are more or fewer queries than pixels.
    fn forward(
        &self,
        queries: &TokenArray,
        latents: Tensor<3>,
        attentions: bool,
    ) -> Decoded<Tensor<4>> {
        let [height, width] = self.image_shape;
        let [_, pixels, _] = queries.dims();
        assert!(
            pixels == height * width,
            "{pixels} queries do not fit images of {height}x{width} pixels"
        );
        let decoded = if attentions || self.decoder.has_gradients(&latents) {
            let decoded = self.decoder.decode_at_once(queries, latents, attentions);
            decoded.map(|flow| flow / self.rescale_factor)
        } else {
            let blocks = self.stream(queries, latents).map(|block| block.answers);
            Decoded { logits: Tensor::cat(blocks.collect(), 1), cross_attentions: None }
        };
        decoded.map(|flow| {
            let [batch, _, channels] = flow.dims();
            flow.reshape([batch, height, width, channels])
        })
    }
}
