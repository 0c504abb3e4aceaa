use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

use crate::activation::ActivationFunction;
use crate::{Activation, Initialisation, LinearMap, ops};

/// Sizes of an [`Mlp`].
#[derive(Debug, Clone)]
pub struct MlpConfig {
    /// Input and output channels.
    pub channels: usize,
    /// Ratio of the hidden channels to `channels`.
    pub widening_factor: usize,
    /// Activation between the two linear maps.
    pub activation: Activation,
}

/// Two linear maps with an activation between them, applied to each token.
///
/// # Source
/// Perceiver IO section 3.1; `PerceiverMLP`.
#[derive(Module, Debug)]
pub struct Mlp {
    dense1: Linear,
    intermediate_act_fn: ActivationFunction,
    dense2: Linear,
}

impl Mlp {
    /// Fresh parameters.
    #[must_use]
    pub fn new(config: &MlpConfig, init: Initialisation, device: &Device) -> Self {
        let hidden = config.widening_factor * config.channels;
        Self {
            dense1: init.linear(config.channels, hidden, device),
            intermediate_act_fn: ActivationFunction::new(config.activation, device),
            dense2: init.linear(hidden, config.channels, device),
        }
    }

    /// # Shapes
    /// - `tokens`: `[batch, tokens, channels]`
    /// - returns: the same
    #[must_use]
    pub fn forward(&self, tokens: Tensor<3>) -> Tensor<3> {
        ops::linear(&self.dense2, self.hidden(tokens))
    }

    /// The input of the second map.
    ///
    /// # Shapes
    /// - `tokens`: `[batch, tokens, channels]`
    /// - returns: `[batch, tokens, hidden_channels]`
    pub(crate) fn hidden(&self, tokens: Tensor<3>) -> Tensor<3> {
        self.intermediate_act_fn.forward(ops::linear(&self.dense1, tokens))
    }

    /// The second map.
    pub(crate) fn second(&self) -> LinearMap {
        LinearMap::from(&self.dense2)
    }
}
