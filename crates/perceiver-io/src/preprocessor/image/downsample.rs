use burn::module::{Module, Param, ParamId};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::tensor::{Device, Int, Tensor, activation};
use perceiver_core::Initialisation;

/// Shrinks an image to a quarter of its height and width: convolution, normalisation, ReLU,
/// max-pooling.
///
/// # Source
/// Perceiver IO appendix on `conv` preprocessing; `Conv2DDownsample`, which pools without padding:
/// 224 pixels become 55, where `DeepMind`'s own code pads and gets 56.
///
/// # Differences
/// In training, running variances average the biased variances of batches, as in JAX; PyTorch averages
/// the unbiased ones, which are larger by a factor of `n / (n - 1)` for `n` pixels in a batch.
#[derive(Module, Debug)]
pub(super) struct ConvDownsample {
    conv: Conv2d,
    batchnorm: Option<CountedBatchNorm>,
    max_pool: MaxPool2d,
}

/// Batch normalisation with `PyTorch`'s step counter, which is unused but part of checkpoints.
#[derive(Module, Debug)]
struct CountedBatchNorm {
    norm: BatchNorm,
    num_batches_tracked: Param<Tensor<1, Int>>,
}

const KERNEL: usize = 7;
/// On every side: the reference's `Conv2dSamePadding` is symmetric, unlike TensorFlow's "same".
const PADDING: usize = KERNEL / 2;

/// Rows of an image of `pixels` rows after convolution and pooling; `None` if it is too small.
pub(super) const fn rows(pixels: usize) -> Option<usize> {
    match pixels.div_ceil(2).checked_sub(3) {
        Some(beyond) => Some(beyond / 2 + 1),
        None => None,
    }
}

impl ConvDownsample {
    pub(super) fn new(
        in_channels: usize,
        out_channels: usize,
        batch_norm: bool,
        init: Initialisation,
        device: &Device,
    ) -> Self {
        Self {
            conv: Conv2dConfig::new([in_channels, out_channels], [KERNEL, KERNEL])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Explicit(PADDING, PADDING, PADDING, PADDING))
                .with_bias(false)
                .with_initializer(init.initializer())
                .init(device),
            batchnorm: batch_norm.then(|| CountedBatchNorm {
                norm: BatchNormConfig::new(out_channels).init(device),
                num_batches_tracked: Param::initialized(ParamId::new(), Tensor::zeros([1], device)),
            }),
            max_pool: MaxPool2dConfig::new([3, 3]).with_strides([2, 2]).init(),
        }
    }

    /// # Shapes
    /// - `image`: `[batch, in_channels, height, width]`
    /// - returns: `[batch, out_channels, ≈ height / 4, ≈ width / 4]`
    pub(super) fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        let mut image = self.conv.forward(image);
        if let Some(batchnorm) = &self.batchnorm {
            image = batchnorm.norm.forward(image);
        }
        self.max_pool.forward(activation::relu(image))
    }
}
