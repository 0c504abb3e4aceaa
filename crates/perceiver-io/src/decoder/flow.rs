use burn::module::Module;
use burn::tensor::{Device, Tensor};
use perceiver_core::{Initialisation, LayerConfig, TokenArray};

use super::{BasicDecoder, BasicDecoderConfig, Decoded, Decoder};
use crate::Preprocessed;

/// Asks for the motion of every pixel, with the preprocessed pixel itself as the query.
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

impl OpticalFlowDecoder {
    /// Fresh parameters for images of `image_shape` (height, width). Answers of `output_channels`
    /// channels are divided by `rescale_factor`.
    #[must_use]
    pub fn new(
        layer: LayerConfig,
        image_shape: [usize; 2],
        output_channels: usize,
        rescale_factor: f64,
        init: Initialisation,
        device: &Device,
    ) -> Self {
        let config =
            BasicDecoderConfig { queries: None, layer, output_channels: Some(output_channels) };
        Self { decoder: config.init(init, device), image_shape, rescale_factor }
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
    /// If there are not as many queries as pixels.
    fn forward(
        &self,
        queries: &TokenArray,
        latents: Tensor<3>,
        attentions: bool,
    ) -> Decoded<Tensor<4>> {
        let [height, width] = self.image_shape;
        self.decoder.decode(queries, latents, attentions).map(|flow| {
            let [batch, pixels, channels] = flow.dims();
            assert_eq!(pixels, height * width, "the model is for images of {height}x{width}");
            (flow / self.rescale_factor).reshape([batch, height, width, channels])
        })
    }
}
