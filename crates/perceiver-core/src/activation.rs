use std::fmt;

use burn::module::{Module, Param};
use burn::tensor::{Device, FloatDType, Tensor, activation};

use crate::ops;

/// The function between an MLP's two linear maps: `hidden_act` in the configuration.
///
/// # Source
/// `ACT2CLS` of transformers' `activations.py`, with all of its names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// The exact Gaussian error linear unit, `x Φ(x)` (`gelu`, `gelu_python`).
    #[default]
    Gelu,
    /// [`Gelu`](Self::Gelu) clipped to ±10.
    Gelu10,
    /// The tanh approximation of GELU (`gelu_new`, `gelu_fast`, `gelu_accurate`,
    /// `gelu_pytorch_tanh`, `gelu_python_tanh`).
    GeluTanh,
    /// `x sigmoid(1.702 x)`.
    QuickGelu,
    /// `x relu6(x + 3) / 6`.
    HardSwish,
    /// The cumulative normal distribution of MEGA, with mean √½ and deviation √(1 / 4π).
    Laplace,
    /// Slope 0.01 below zero.
    LeakyRelu,
    /// The identity.
    Linear,
    /// `x tanh(softplus(x))`.
    Mish,
    /// Zero below zero.
    Relu,
    /// The square of [`Relu`](Self::Relu).
    Relu2,
    /// [`Relu`](Self::Relu) clipped to 6.
    Relu6,
    /// The logistic function.
    Sigmoid,
    /// `x sigmoid(x)` (`silu`, `swish`).
    Silu,
    /// The square root of softplus.
    SqrtSoftplus,
    /// The hyperbolic tangent.
    Tanh,
    /// A learned slope below zero.
    PRelu,
    /// The expanded integral of an exponential linear unit, with two learned slopes
    /// (arXiv 2411.13010).
    XIelu,
}

impl Activation {
    /// The names of transformers and their activations.
    pub const NAMES: [(&'static str, Self); 24] = [
        ("gelu", Self::Gelu),
        ("gelu_10", Self::Gelu10),
        ("gelu_fast", Self::GeluTanh),
        ("gelu_new", Self::GeluTanh),
        ("gelu_python", Self::Gelu),
        ("gelu_pytorch_tanh", Self::GeluTanh),
        ("gelu_python_tanh", Self::GeluTanh),
        ("gelu_accurate", Self::GeluTanh),
        ("hardswish", Self::HardSwish),
        ("laplace", Self::Laplace),
        ("leaky_relu", Self::LeakyRelu),
        ("linear", Self::Linear),
        ("mish", Self::Mish),
        ("quick_gelu", Self::QuickGelu),
        ("relu", Self::Relu),
        ("relu2", Self::Relu2),
        ("relu6", Self::Relu6),
        ("sigmoid", Self::Sigmoid),
        ("silu", Self::Silu),
        ("sqrtsoftplus", Self::SqrtSoftplus),
        ("swish", Self::Silu),
        ("tanh", Self::Tanh),
        ("prelu", Self::PRelu),
        ("xielu", Self::XIelu),
    ];

    /// The activation that transformers calls `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|&(_, activation)| activation)
    }
}

impl fmt::Display for Activation {
    /// The first of its names in transformers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, known)| known == self).map(|&(name, _)| name);
        f.write_str(name.unwrap_or("unnamed"))
    }
}

/// An [`Activation`] with the learned parameters of two of its kinds.
///
/// # Source
/// `PerceiverMLP.intermediate_act_fn`.
#[derive(Module, Debug)]
pub(crate) struct ActivationFunction {
    #[module(skip)]
    kind: Activation,
    /// The slope of [`Activation::PRelu`].
    weight: Option<Param<Tensor<1>>>,
    /// The parameters of [`Activation::XIelu`], before softplus.
    alpha_p: Option<Param<Tensor<1>>>,
    alpha_n: Option<Param<Tensor<1>>>,
    /// The constants of [`Activation::XIelu`], which the reference stores in the checkpoint.
    beta: Option<Param<Tensor<1>>>,
    eps: Option<Param<Tensor<1>>>,
}

impl ActivationFunction {
    pub(crate) fn new(kind: Activation, device: &Device) -> Self {
        let parameter = |wanted: Activation, value: f64| {
            (kind == wanted).then(|| Param::from_tensor(Tensor::full([1], value, device)))
        };
        let before_softplus =
            |value: f32| f64::from(rounded(rounded(rounded(value).exp_m1()).ln()));
        Self {
            kind,
            weight: parameter(Activation::PRelu, 0.25),
            alpha_p: parameter(Activation::XIelu, before_softplus(0.8)),
            alpha_n: parameter(Activation::XIelu, before_softplus(0.8 - 0.5)),
            beta: parameter(Activation::XIelu, 0.5).map(Param::no_grad),
            eps: parameter(Activation::XIelu, -1e-6).map(Param::no_grad),
        }
    }

    /// # Shapes
    /// - `x`: any
    /// - returns: the same
    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match self.kind {
            Activation::Gelu => ops::gelu(x),
            Activation::Gelu10 => ops::gelu(x).clamp(-10.0, 10.0),
            Activation::GeluTanh => activation::gelu_approximate(x),
            Activation::QuickGelu => x.clone() * activation::sigmoid(x * 1.702),
            Activation::HardSwish => activation::hard_swish(x),
            Activation::Laplace => laplace(x),
            Activation::LeakyRelu => activation::leaky_relu(x, 0.01),
            Activation::Linear => x,
            Activation::Mish => activation::mish(x),
            Activation::Relu => activation::relu(x),
            Activation::Relu2 => activation::relu(x).square(),
            Activation::Relu6 => activation::relu6(x),
            Activation::Sigmoid => activation::sigmoid(x),
            Activation::Silu => activation::silu(x),
            Activation::SqrtSoftplus => activation::softplus(x, 1.0).sqrt(),
            Activation::Tanh => x.tanh(),
            Activation::PRelu => activation::prelu(x, learned(&self.weight)),
            Activation::XIelu => self.xielu(x),
        }
    }

    fn xielu(&self, x: Tensor<3>) -> Tensor<3> {
        let scalar = |parameter: &Option<Param<Tensor<1>>>| learned(parameter).reshape([1, 1, 1]);
        let (beta, eps) = (scalar(&self.beta), scalar(&self.eps));
        let slope = |parameter| rounded_tensor(activation::softplus(scalar(parameter), 1.0));
        let positive = slope(&self.alpha_p);
        let negative = rounded_tensor(beta.clone() + slope(&self.alpha_n));
        let below = x.clone().min_pair(eps.expand(x.dims())).exp() - 1.0;
        let curve = ((below - x.clone()) * negative)
            .mask_where(x.clone().greater_elem(0.0), x.clone().square() * positive);
        curve + x * beta
    }
}

fn learned(parameter: &Option<Param<Tensor<1>>>) -> Tensor<1> {
    parameter.as_ref().expect("the parameters of an activation are created with its kind").val()
}

/// The nearest bfloat16: xIELU computes its slopes in that type whatever the model's.
fn rounded(value: f32) -> f32 {
    let bits = value.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

/// [`rounded`] on devices that may not have the type: Veltkamp's splitting keeps 8 of 24 bits, those
/// of single precision.
fn rounded_tensor(values: Tensor<3>) -> Tensor<3> {
    let dtype = values.dtype();
    let values = values.cast(FloatDType::F32);
    let shifted = values.clone() * 65_537.0;
    (shifted.clone() - (shifted - values)).cast(dtype)
}

/// MEGA's mean √½ and deviation √(1 / 4π), rounded as checkpoints were trained with them.
#[allow(clippy::approx_constant, reason = "the rounding is the reference's")]
const LAPLACE: (f64, f64) = (0.707_107, 0.282_095);

fn laplace(x: Tensor<3>) -> Tensor<3> {
    let (mean, deviation) = LAPLACE;
    (((x - mean) / (deviation * 2f64.sqrt())).erf() + 1.0) * 0.5
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::DType;

    use super::*;

    #[test]
    fn slopes_are_rounded_to_bfloat16_whatever_their_type() {
        // 1 + 1/128 is the next one after 1.
        let values = [0.8, 1.0 + 1.0 / 512.0, 1.0 + 3.0 / 512.0];
        let expected = [0.800_781_25, 1.0, 1.0 + 1.0 / 128.0];
        assert_eq!(values.map(|value| f64::from(rounded(value as f32))), expected);
        for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
            let tensor = Tensor::<3>::from_data([[values]], &Device::flex()).cast(dtype);
            let found = rounded_tensor(tensor);
            assert_eq!(found.dtype(), dtype);
            let found: Vec<f64> = found.cast(DType::F64).into_data().iter().collect();
            assert_eq!(found, expected, "{dtype:?}");
        }
    }
}
