use burn::module::Module;
use burn::nn::Linear;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor, s};
use perceiver_core::{Content, Initialisation, LinearMap};

use self::downsample::ConvDownsample;
use super::{Preprocessed, Preprocessor};
use crate::{Combination, PositionConfig, PositionEncoding, space_to_depth};

mod downsample;

/// Configuration of an [`ImagePreprocessor`].
#[derive(Debug, Clone)]
pub struct ImagePreprocessorConfig {
    /// Preparation of the pixels.
    pub preparation: ImagePreparation,
    /// Channels of the pixels.
    pub in_channels: usize,
    /// Channels after a convolution or a linear map.
    pub out_channels: usize,
    /// Factor by which height and width shrink.
    pub spatial_downsample: usize,
    /// Factor by which the number of frames shrinks.
    pub temporal_downsample: usize,
    /// The positions of tokens on the plane, or in space and time.
    pub positions: PositionConfig,
    /// Combines pixels and positions into tokens.
    pub combination: Combination,
}

/// Preparation of pixels before positions are added.
///
/// # Source
/// `prep_type` of `PerceiverImagePreprocessor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImagePreparation {
    /// A 7x7 convolution and max-pooling that shrink height and width to a quarter.
    Conv {
        /// If true, batch normalisation follows the convolution.
        batch_norm: bool,
    },
    /// A linear map of every `spatial_downsample`-th pixel.
    Conv1x1,
    /// Moves blocks of pixels into channels.
    Patches {
        /// Channels of a block if a linear map follows.
        linear: Option<usize>,
    },
    /// Every `spatial_downsample`-th pixel of every `temporal_downsample`-th frame.
    ///
    /// From single images it takes every `spatial_downsample`-th *example* and *channel* instead, as the
    /// reference does.
    Pixels,
}

/// Turns images and videos into tokens.
///
/// # Source
/// Perceiver section 4.1, Perceiver IO sections 4.2 to 4.4; `PerceiverImagePreprocessor`.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverImagePreprocessor")]
pub struct ImagePreprocessor {
    convnet: Option<ConvDownsample>,
    convnet_1x1: Option<Conv2d>,
    conv_after_patches: Option<Linear>,
    positions: PositionEncoding,
    #[module(skip)]
    preparation: ImagePreparation,
    content_channels: usize,
    spatial_downsample: usize,
    temporal_downsample: usize,
    #[module(skip)]
    combination: Combination,
}

/// Pixels with channels first.
#[derive(Debug, Clone)]
pub enum Pixels {
    /// `[batch, channels, height, width]`.
    Image(Tensor<4>),
    /// `[batch, time, channels, height, width]`.
    Video(Tensor<5>),
}

/// Input of an [`ImagePreprocessor`].
#[derive(Debug, Clone)]
pub struct ImageInput {
    /// The pixels.
    pub pixels: Pixels,
    /// If true, trainable positions of a square image are resampled to the size of this one.
    pub interpolate_positions: bool,
}

impl ImageInput {
    /// Resamples trainable positions of a square image to fit this one.
    #[must_use]
    pub fn interpolate_positions(mut self) -> Self {
        self.interpolate_positions = true;
        self
    }
}

impl From<Tensor<4>> for ImageInput {
    fn from(image: Tensor<4>) -> Self {
        Self { pixels: Pixels::Image(image), interpolate_positions: false }
    }
}

impl From<Tensor<5>> for ImageInput {
    fn from(video: Tensor<5>) -> Self {
        Self { pixels: Pixels::Video(video), interpolate_positions: false }
    }
}

impl ImagePreprocessorConfig {
    /// Channels of the tokens.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.combination.channels(self.content_channels(), self.positions.channels())
    }

    /// Channels before positions join, by the reference's rule: positions along more than two
    /// axes mean video.
    #[must_use]
    pub fn content_channels(&self) -> usize {
        let temporal = self.positions.dimensions() > 2;
        let space = self.spatial_downsample;
        match self.preparation {
            ImagePreparation::Conv { .. }
            | ImagePreparation::Conv1x1
            | ImagePreparation::Patches { linear: Some(_) } => self.out_channels,
            ImagePreparation::Patches { linear: None } => {
                let frames = if temporal { self.temporal_downsample } else { 1 };
                self.in_channels * space * space * frames
            }
            ImagePreparation::Pixels if temporal => self.in_channels,
            ImagePreparation::Pixels => self.in_channels.div_ceil(space),
        }
    }

    /// Rows and columns of the tokens of an image or a frame; `None` if it does not divide into
    /// blocks, or is smaller than the convolution needs.
    #[must_use]
    pub fn token_grid(&self, [height, width]: [usize; 2]) -> Option<[usize; 2]> {
        let space = self.spatial_downsample;
        let tokens = |pixels: usize| match self.preparation {
            ImagePreparation::Conv { .. } => downsample::rows(pixels),
            ImagePreparation::Conv1x1 => Some(pixels.div_ceil(space)),
            ImagePreparation::Patches { .. } => {
                pixels.is_multiple_of(space).then_some(pixels / space)
            }
            // Single images lose examples and channels instead of pixels.
            ImagePreparation::Pixels if self.positions.dimensions() > 2 => {
                Some(pixels.div_ceil(space))
            }
            ImagePreparation::Pixels => Some(pixels),
        };
        Some([tokens(height)?, tokens(width)?])
    }

    /// Fresh parameters.
    ///
    /// # Panics
    /// If a convolution cannot downsample as configured: `Conv` needs a power of 4 in space, and neither
    /// convolution downsamples in time.
    #[must_use]
    pub fn init(&self, init: Initialisation, device: &Device) -> ImagePreprocessor {
        let (conv, conv_1x1, linear) = match self.preparation {
            ImagePreparation::Conv { batch_norm } => {
                assert!(
                    is_power_of_four(self.spatial_downsample) && self.temporal_downsample == 1,
                    "a convolution downsamples by a power of 4 in space and not in time, not by {} \
                     and {}",
                    self.spatial_downsample,
                    self.temporal_downsample
                );
                (Some(batch_norm), false, None)
            }
            ImagePreparation::Conv1x1 => {
                let frames = self.temporal_downsample;
                assert!(frames == 1, "a 1x1 convolution keeps every frame, not one in {frames}");
                (None, true, None)
            }
            ImagePreparation::Patches { linear } => (None, false, linear),
            ImagePreparation::Pixels => (None, false, None),
        };
        let stride = [self.spatial_downsample; 2];
        ImagePreprocessor {
            convnet: conv.map(|batch_norm| {
                ConvDownsample::new(self.in_channels, self.out_channels, batch_norm, init, device)
            }),
            convnet_1x1: conv_1x1.then(|| {
                let mut conv = Conv2dConfig::new([self.in_channels, self.out_channels], [1, 1])
                    .with_stride(stride)
                    .with_initializer(init.initializer())
                    .init(device);
                conv.bias =
                    Some(burn::module::Initializer::Zeros.init([self.out_channels], device));
                conv
            }),
            conv_after_patches: linear
                .map(|channels| init.linear(channels, self.out_channels, device)),
            positions: self.positions.init(init, device),
            preparation: self.preparation,
            content_channels: self.content_channels(),
            spatial_downsample: self.spatial_downsample,
            temporal_downsample: self.temporal_downsample,
            combination: self.combination,
        }
    }
}

impl Preprocessor for ImagePreprocessor {
    type Input = ImageInput;

    fn channels(&self) -> usize {
        self.combination.channels(self.content_channels, self.positions.channels())
    }

    /// # Panics
    /// If the pixels do not divide into blocks or are fewer than a convolution needs, or if the input is
    /// a video and the preparation takes only images.
    fn forward(&self, input: ImageInput) -> Preprocessed {
        let (content, grid) = match self.preparation {
            ImagePreparation::Conv { .. } => channels_last(self.convolve(input.pixels)),
            ImagePreparation::Conv1x1 => channels_last(self.every_pixel(image_only(input.pixels))),
            ImagePreparation::Patches { .. } => self.patches(input.pixels),
            ImagePreparation::Pixels => self.pixels(input.pixels),
        };
        let device = content.device();
        let positions = if input.interpolate_positions {
            self.positions.interpolated_grid(&grid, &device)
        } else {
            self.positions.grid(&grid, &device)
        };
        let content = match self.linear_map() {
            Some(map) => Content::mapped(content, map),
            None => content.into(),
        };
        Preprocessed::combine(content, positions, self.combination)
    }
}

/// Tokens `[batch, tokens, channels]`, before a linear map, and the grid that they form.
type Gridded = (Tensor<3>, Vec<usize>);

impl ImagePreprocessor {
    fn convolve(&self, pixels: Pixels) -> Tensor<4> {
        let convnet = self.convnet.as_ref().expect("this preparation has a convolution");
        convnet.forward(image_only(pixels))
    }

    /// The linear map of every token that ends some preparations.
    fn linear_map(&self) -> Option<LinearMap> {
        let convolution = self.convnet_1x1.as_ref().map(|conv| {
            let bias = conv.bias.as_ref().expect("the convolution has a bias").val();
            LinearMap::new(conv.weight.val().flatten::<2>(1, 3).transpose(), bias)
        });
        convolution.or_else(|| self.conv_after_patches.as_ref().map(LinearMap::from))
    }

    /// Every `spatial_downsample`-th pixel.
    fn every_pixel(&self, image: Tensor<4>) -> Tensor<4> {
        let step = self.spatial_downsample as isize;
        image.slice(s![.., .., ..;step, ..;step])
    }

    fn patches(&self, pixels: Pixels) -> Gridded {
        let (video, temporal_block) = match pixels {
            Pixels::Image(image) => (image.unsqueeze_dim::<5>(1), 1),
            Pixels::Video(video) => (video, self.temporal_downsample),
        };
        let blocks = space_to_depth(video, temporal_block, self.spatial_downsample);
        let [batch, time, height, width, channels] = blocks.dims();
        let content = blocks.reshape([batch, time * height * width, channels]);
        // A single frame is a plane: optical flow concatenates its two frames into one.
        let grid = if time == 1 { vec![height, width] } else { vec![time, height, width] };
        (content, grid)
    }

    fn pixels(&self, pixels: Pixels) -> Gridded {
        let (space, time) = (self.spatial_downsample, self.temporal_downsample);
        match pixels {
            Pixels::Image(image) => {
                channels_last(image.slice(s![..;space as isize, ..;space as isize, .., ..]))
            }
            Pixels::Video(video) => {
                let (space, time) = (space as isize, time as isize);
                let video = video.slice(s![.., ..;time, .., ..;space, ..;space]);
                let [batch, time, channels, height, width] = video.dims();
                let content = video.permute([0, 1, 3, 4, 2]).reshape([
                    batch,
                    time * height * width,
                    channels,
                ]);
                (content, vec![time, height, width])
            }
        }
    }
}

fn channels_last(image: Tensor<4>) -> Gridded {
    let [batch, channels, height, width] = image.dims();
    let content = image.permute([0, 2, 3, 1]).reshape([batch, height * width, channels]);
    (content, vec![height, width])
}

fn image_only(pixels: Pixels) -> Tensor<4> {
    match pixels {
        Pixels::Image(image) => image,
        Pixels::Video(video) => {
            panic!("a 2-D convolution takes images, not a video {:?}", video.dims())
        }
    }
}

const fn is_power_of_four(number: usize) -> bool {
    number.is_power_of_two() && number.trailing_zeros().is_multiple_of(2)
}
