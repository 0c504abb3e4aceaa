use burn::nn::Linear;
use burn::tensor::Tensor;

use crate::ops;

/// `x W + b` apart from any module: what linear layers with nothing between them fold into.
#[derive(Debug, Clone)]
pub struct LinearMap {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

impl From<&Linear> for LinearMap {
    /// # Panics
    /// If the layer has no bias.
    fn from(layer: &Linear) -> Self {
        let bias = layer.bias.as_ref().expect("linear layers here have a bias");
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

    /// This map and the next as one.
    ///
    /// # Panics
    /// If the next takes other channels.
    #[must_use]
    pub fn then(&self, next: &Self) -> Self {
        Self { weight: self.weight().matmul(next.weight()), bias: next.forward(self.bias()) }
    }

    /// The map whose results are `factor` times this one's.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self { weight: self.weight() * factor, bias: self.bias() * factor }
    }
}
