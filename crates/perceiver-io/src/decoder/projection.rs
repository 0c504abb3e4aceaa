use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use perceiver_core::{Initialisation, ops};

use super::{Decoded, Decoder};
use crate::Preprocessed;

/// Maps the mean of the latents to label scores: a baseline without cross-attention.
///
/// # Source
/// Perceiver section 3.1; `PerceiverProjectionDecoder`.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverProjectionDecoder")]
pub struct ProjectionDecoder {
    classifier: Linear,
}

impl ProjectionDecoder {
    /// Fresh parameters.
    #[must_use]
    pub fn new(
        latent_channels: usize,
        labels: usize,
        init: Initialisation,
        device: &Device,
    ) -> Self {
        Self { classifier: init.linear(latent_channels, labels, device) }
    }
}

impl Decoder for ProjectionDecoder {
    type Points = ();
    type Queries = ();
    /// `[batch, labels]`.
    type Output = Tensor<2>;

    fn queries(&self, _: &Preprocessed, (): &()) {}

    fn sizes(&self, (): &()) -> Vec<usize> {
        Vec::new()
    }

    fn forward(&self, (): &(), latents: Tensor<3>, _: bool) -> Decoded<Tensor<2>> {
        let mean: Tensor<2> = latents.mean_dim(1).squeeze_dim(1);
        Decoded { logits: ops::linear(&self.classifier, mean), cross_attentions: None }
    }
}
