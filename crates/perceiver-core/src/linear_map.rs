use burn::nn::Linear;
use burn::tensor::Tensor;

use crate::ops;

/// `x W + b` without a module: consecutive linear layers fold into one.
#[derive(Debug, Clone)]
pub struct LinearMap {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

impl From<&Linear> for LinearMap {
    /// # Panics
    /// If the layer has no bias.
    fn from(layer: &Linear) -> Self {
        let bias = layer.bias.as_ref().expect("the linear layer has a bias");
        Self { weight: layer.weight.val(), bias: bias.val() }
    }
}

impl LinearMap {
    /// # Shapes
    /// - `weight`: `[channels_in, channels_out]`
    /// - `bias`: `[channels_out]`
    ///
    /// # Panics
    /// If the shapes disagree.
    #[must_use]
    pub fn new(weight: Tensor<2>, bias: Tensor<1>) -> Self {
        let [_, channels_out] = weight.dims();
        burn::tensor::assert_shape!(bias, [channels_out]);
        Self { weight, bias }
    }

    /// `[channels_in, channels_out]`.
    #[must_use]
    pub fn weight(&self) -> Tensor<2> {
        self.weight.clone()
    }

    /// `[channels_out]`.
    #[must_use]
    pub fn bias(&self) -> Tensor<1> {
        self.bias.clone()
    }

    /// Channels in and out.
    #[must_use]
    pub fn dims(&self) -> [usize; 2] {
        self.weight.dims()
    }

    /// # Shapes
    /// - `input`: `[..., channels_in]`
    /// - returns: `[..., channels_out]`
    #[must_use]
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        ops::affine(input, self.weight(), self.bias())
    }

    /// This map followed by another, as one map.
    ///
    /// # Panics
    /// If the output channels of this map are not the input channels of the next.
    #[must_use]
    pub fn then(&self, next: &Self) -> Self {
        Self { weight: self.weight().matmul(next.weight()), bias: next.forward(self.bias()) }
    }

    /// This map with its results multiplied by `factor`.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self { weight: self.weight() * factor, bias: self.bias() * factor }
    }
}
