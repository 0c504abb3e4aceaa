use burn::module::Module;
use burn::tensor::{Device, Tensor};
use perceiver_core::{KeyMask, OutputOptions};
use perceiver_io::{
    ClassificationDecoder, Combination, ImageInput, ImagePreparation, ImagePreprocessor,
    ImagePreprocessorConfig, Pixels, PositionConfig,
};

use super::{PerceiverClassifierOutput, PretrainedModel, classification_decoder};
use crate::Error;
use crate::architecture::initialisation;
use crate::config::{Head, PerceiverConfig, ProblemType};
use crate::losses::{Labels, classification_loss};
use crate::model::{Encoded, NoPostprocessor, PerceiverModel};

/// Classifies images by pixels with learned positions: nothing tells the model what a plane is.
///
/// # Source
/// Perceiver IO section 4.4; `PerceiverForImageClassificationLearned`.
#[derive(Module, Debug)]
pub struct PerceiverForImageClassificationLearned {
    perceiver: ImagePerceiver,
    #[module(skip)]
    problem_type: Option<ProblemType>,
}

/// Classifies images by pixels with Fourier positions.
///
/// # Source
/// Perceiver IO section 4.4; `PerceiverForImageClassificationFourier`.
#[derive(Module, Debug)]
pub struct PerceiverForImageClassificationFourier {
    perceiver: ImagePerceiver,
    #[module(skip)]
    problem_type: Option<ProblemType>,
}

/// Classifies images by what a convolution makes of them, with Fourier positions.
///
/// # Source
/// Perceiver IO section 4.4; `PerceiverForImageClassificationConvProcessing`.
#[derive(Module, Debug)]
pub struct PerceiverForImageClassificationConvProcessing {
    perceiver: ImagePerceiver,
    #[module(skip)]
    problem_type: Option<ProblemType>,
}

/// What the three heads differ in is their preprocessor.
pub(crate) type ImagePerceiver =
    PerceiverModel<ImagePreprocessor, ClassificationDecoder, NoPostprocessor>;

impl PretrainedModel for PerceiverForImageClassificationLearned {
    const HEAD: Head = Head::ImageClassificationLearned;

    fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error> {
        config.validate_for(Self::HEAD)?;
        let [height, width] = config.image_size.height_width();
        let positions = PositionConfig::trainable(height * width, 256).projected(256, 256);
        let perceiver = image_perceiver(config, ImagePreparation::Conv1x1, 256, positions, device);
        Ok(Self { perceiver, problem_type: config.problem_type })
    }
}

impl PretrainedModel for PerceiverForImageClassificationFourier {
    const HEAD: Head = Head::ImageClassificationFourier;

    fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error> {
        config.validate_for(Self::HEAD)?;
        let positions = PositionConfig::fourier(64, &[224, 224]);
        let perceiver = image_perceiver(config, ImagePreparation::Pixels, 64, positions, device);
        Ok(Self { perceiver, problem_type: config.problem_type })
    }
}

impl PretrainedModel for PerceiverForImageClassificationConvProcessing {
    const HEAD: Head = Head::ImageClassificationConvProcessing;

    fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error> {
        config.validate_for(Self::HEAD)?;
        let positions = PositionConfig::fourier(64, &[56, 56]);
        let preparation = ImagePreparation::Conv { batch_norm: true };
        let perceiver = image_perceiver(config, preparation, 64, positions, device);
        Ok(Self { perceiver, problem_type: config.problem_type })
    }
}

impl PerceiverForImageClassificationLearned {
    /// The model around which this head is.
    pub(crate) const fn perceiver(&self) -> &ImagePerceiver {
        &self.perceiver
    }

    /// `interpolate_positions` (`interpolate_pos_encoding`) fits the learned positions to images
    /// of another size than `image_size`.
    ///
    /// # Shapes
    /// - `pixels`: `[batch, 3, height, width]`
    /// - `mask`: `[batch, height · width]`
    /// - returns logits: `[batch, labels]`
    ///
    /// # Panics
    /// If the image is not `image_size` and positions are not interpolated, the mask has another
    /// shape, or the labels do not fit the problem type.
    #[must_use]
    pub fn forward(
        &self,
        pixels: Tensor<4>,
        mask: Option<&KeyMask>,
        labels: Option<&Labels>,
        interpolate_positions: bool,
        options: OutputOptions,
    ) -> PerceiverClassifierOutput<Tensor<2>> {
        let input = ImageInput { pixels: Pixels::Image(pixels), interpolate_positions };
        classify(&self.perceiver, input, mask, labels, self.problem_type, options)
    }

    /// Reads images into latents.
    ///
    /// # Shapes
    /// - inputs: see [`forward`](Self::forward)
    ///
    /// # Panics
    /// If the image is not `image_size` and positions are not interpolated, or the mask has
    /// another shape.
    #[must_use]
    pub fn encode(
        &self,
        pixels: Tensor<4>,
        mask: Option<&KeyMask>,
        interpolate_positions: bool,
        options: OutputOptions,
    ) -> Encoded {
        let input = ImageInput { pixels: Pixels::Image(pixels), interpolate_positions };
        self.perceiver.encode(input, mask, options)
    }
}

impl PerceiverForImageClassificationFourier {
    /// The model around which this head is.
    pub(crate) const fn perceiver(&self) -> &ImagePerceiver {
        &self.perceiver
    }

    /// # Shapes
    /// - `pixels`: `[batch, 3, height, width]`, of any size
    /// - `mask`: `[batch, height · width]`
    /// - returns logits: `[batch, labels]`
    ///
    /// # Panics
    /// If the mask has another shape, or the labels do not fit the problem type.
    #[must_use]
    pub fn forward(
        &self,
        pixels: Tensor<4>,
        mask: Option<&KeyMask>,
        labels: Option<&Labels>,
        options: OutputOptions,
    ) -> PerceiverClassifierOutput<Tensor<2>> {
        classify(&self.perceiver, pixels.into(), mask, labels, self.problem_type, options)
    }

    /// Reads images into latents.
    ///
    /// # Shapes
    /// - inputs: see [`forward`](Self::forward)
    ///
    /// # Panics
    /// If the mask has another shape.
    #[must_use]
    pub fn encode(
        &self,
        pixels: Tensor<4>,
        mask: Option<&KeyMask>,
        options: OutputOptions,
    ) -> Encoded {
        self.perceiver.encode(pixels.into(), mask, options)
    }
}

impl PerceiverForImageClassificationConvProcessing {
    /// The model around which this head is.
    pub(crate) const fn perceiver(&self) -> &ImagePerceiver {
        &self.perceiver
    }

    /// # Shapes
    /// - `pixels`: `[batch, 3, height, width]`, of any size the convolution can shrink
    /// - `mask`: `[batch, tokens]`, a quarter of the height times a quarter of the width
    /// - returns logits: `[batch, labels]`
    ///
    /// # Panics
    /// If the image is too small, the mask has another shape, or the labels do not fit the
    /// problem type.
    #[must_use]
    pub fn forward(
        &self,
        pixels: Tensor<4>,
        mask: Option<&KeyMask>,
        labels: Option<&Labels>,
        options: OutputOptions,
    ) -> PerceiverClassifierOutput<Tensor<2>> {
        classify(&self.perceiver, pixels.into(), mask, labels, self.problem_type, options)
    }

    /// Reads images into latents.
    ///
    /// # Shapes
    /// - inputs: see [`forward`](Self::forward)
    ///
    /// # Panics
    /// If the image is too small, or the mask has another shape.
    #[must_use]
    pub fn encode(
        &self,
        pixels: Tensor<4>,
        mask: Option<&KeyMask>,
        options: OutputOptions,
    ) -> Encoded {
        self.perceiver.encode(pixels.into(), mask, options)
    }
}

fn image_perceiver(
    config: &PerceiverConfig,
    preparation: ImagePreparation,
    out_channels: usize,
    positions: PositionConfig,
    device: &Device,
) -> ImagePerceiver {
    let preprocessor = ImagePreprocessorConfig {
        preparation,
        in_channels: 3,
        out_channels,
        spatial_downsample: 1,
        temporal_downsample: 1,
        positions,
        combination: Combination::Concat,
    };
    let preprocessor = preprocessor.init(initialisation(config), device);
    let decoder = classification_decoder(config, device);
    PerceiverModel::new(config, preprocessor, decoder, NoPostprocessor, device)
}

fn classify(
    perceiver: &ImagePerceiver,
    input: ImageInput,
    mask: Option<&KeyMask>,
    labels: Option<&Labels>,
    problem_type: Option<ProblemType>,
    options: OutputOptions,
) -> PerceiverClassifierOutput<Tensor<2>> {
    let output = perceiver.forward(input, mask, &(), options);
    let loss =
        labels.map(|labels| classification_loss(output.logits.clone(), labels, problem_type));
    PerceiverClassifierOutput::new(output, loss)
}
