use burn::module::{Initializer, Param};
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

/// Distribution of fresh parameters: normal weights, zero biases.
///
/// # Source
/// `PerceiverPreTrainedModel._init_weights`: linear, convolution and embedding weights, latents,
/// position embeddings, padding and mask tokens are normal with `initializer_range`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Initialisation {
    /// Standard deviation of the weights, `initializer_range` in the configuration.
    pub std: f64,
}

impl Default for Initialisation {
    fn default() -> Self {
        Self { std: 0.02 }
    }
}

impl Initialisation {
    /// The distribution of weights, for modules of other crates.
    #[must_use]
    pub const fn initializer(self) -> Initializer {
        Initializer::Normal { mean: 0.0, std: self.std }
    }

    /// A parameter of any shape.
    #[must_use]
    pub fn parameter<const D: usize>(self, shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
        self.initializer().init(shape, device)
    }

    /// A linear map with bias.
    #[must_use]
    pub fn linear(self, inputs: usize, outputs: usize, device: &Device) -> Linear {
        let weight = LinearConfig::new(inputs, outputs)
            .with_bias(false)
            .with_initializer(self.initializer())
            .init(device)
            .weight;
        Linear { weight, bias: Some(Initializer::Zeros.init([outputs], device)) }
    }

    /// A table of `entries` vectors.
    #[must_use]
    pub fn embedding(self, entries: usize, channels: usize, device: &Device) -> Embedding {
        EmbeddingConfig::new(entries, channels).with_initializer(self.initializer()).init(device)
    }
}

/// Added to the variance in layer normalisation.
pub(crate) const LAYER_NORM_EPSILON: f64 = 1e-5;

/// Layer normalisation with `PyTorch`'s default epsilon of 1e-5, as in the reference, which ignores
/// `layer_norm_eps` (1e-12) of the configuration.
pub(crate) fn layer_norm(channels: usize, device: &Device) -> LayerNorm {
    LayerNormConfig::new(channels).with_epsilon(LAYER_NORM_EPSILON).init(device)
}
