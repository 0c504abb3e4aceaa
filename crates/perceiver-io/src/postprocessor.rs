//! Put answers into their final form.

use std::fmt::Debug;

use burn::module::{Initializer, Module, ModuleDisplay, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use perceiver_core::{Initialisation, LinearMap, ops};

/// Puts the answers of a decoder into their final form.
pub trait Postprocessor<Input>: Module + ModuleDisplay + Debug {
    /// The final form.
    type Output;

    /// The final form of the answers. `sizes` is the number of answers per modality.
    fn forward(&self, answers: Input, sizes: &[usize]) -> Self::Output;
}

/// Maps the channels of each answer linearly.
///
/// # Source
/// `PerceiverProjectionPostprocessor`.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverProjectionPostprocessor")]
pub struct ProjectionPostprocessor {
    classifier: Linear,
}

/// Turns each answer into consecutive samples.
///
/// # Source
/// `PerceiverAudioPostprocessor`.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverAudioPostprocessor")]
pub struct AudioPostprocessor {
    classifier: Linear,
}

/// Turns the first answer into label scores.
///
/// # Source
/// `PerceiverClassificationPostprocessor`.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverClassificationPostprocessor")]
pub struct ClassificationPostprocessor {
    classifier: Linear,
}

/// Splits answers by modality and postprocesses each modality separately.
///
/// # Source
/// `PerceiverMultimodalPostprocessor`.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverMultimodalPostprocessor")]
pub struct MultimodalPostprocessor {
    modalities: ModalityPostprocessors,
}

#[derive(Module, Debug)]
struct ModalityPostprocessors {
    audio: AudioPostprocessor,
    image: ProjectionPostprocessor,
    label: ClassificationPostprocessor,
}

/// Output of a [`MultimodalPostprocessor`].
#[derive(Debug, Clone)]
pub struct MultimodalOutput {
    /// `[batch, samples]`.
    pub audio: Tensor<2>,
    /// `[batch, pixels, channels]`.
    pub image: Tensor<3>,
    /// `[batch, labels]`.
    pub label: Tensor<2>,
}

/// Scores every vocabulary entry by its embedding: the output of the masked language model.
///
/// # Source
/// `PerceiverEmbeddingDecoder`.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverEmbeddingDecoder")]
pub struct EmbeddingDecoder {
    bias: Param<Tensor<1>>,
}

impl ProjectionPostprocessor {
    /// Fresh parameters.
    #[must_use]
    pub fn new(
        in_channels: usize,
        out_channels: usize,
        init: Initialisation,
        device: &Device,
    ) -> Self {
        Self { classifier: init.linear(in_channels, out_channels, device) }
    }
}

impl Postprocessor<Tensor<3>> for ProjectionPostprocessor {
    /// `[batch, answers, out_channels]`.
    type Output = Tensor<3>;

    fn forward(&self, answers: Tensor<3>, _: &[usize]) -> Tensor<3> {
        ops::linear(&self.classifier, answers)
    }
}

impl AudioPostprocessor {
    /// Fresh parameters.
    #[must_use]
    pub fn new(
        in_channels: usize,
        samples_per_patch: usize,
        init: Initialisation,
        device: &Device,
    ) -> Self {
        Self { classifier: init.linear(in_channels, samples_per_patch, device) }
    }
}

impl Postprocessor<Tensor<3>> for AudioPostprocessor {
    /// `[batch, samples]`.
    type Output = Tensor<2>;

    fn forward(&self, answers: Tensor<3>, _: &[usize]) -> Tensor<2> {
        ops::linear(&self.classifier, answers).flatten(1, 2)
    }
}

impl ClassificationPostprocessor {
    /// Fresh parameters.
    #[must_use]
    pub fn new(in_channels: usize, labels: usize, init: Initialisation, device: &Device) -> Self {
        Self { classifier: init.linear(in_channels, labels, device) }
    }
}

impl Postprocessor<Tensor<3>> for ClassificationPostprocessor {
    /// `[batch, labels]`.
    type Output = Tensor<2>;

    fn forward(&self, answers: Tensor<3>, _: &[usize]) -> Tensor<2> {
        ops::linear(&self.classifier, answers.narrow(1, 0, 1)).squeeze_dim(1)
    }
}

impl MultimodalPostprocessor {
    /// Combines one postprocessor per modality.
    #[must_use]
    pub const fn new(
        audio: AudioPostprocessor,
        image: ProjectionPostprocessor,
        label: ClassificationPostprocessor,
    ) -> Self {
        Self { modalities: ModalityPostprocessors { audio, image, label } }
    }

    /// The linear map that begins each modality's postprocessor, in token order.
    #[must_use]
    pub fn maps(&self) -> [LinearMap; 3] {
        let modalities = &self.modalities;
        [&modalities.audio.classifier, &modalities.image.classifier, &modalities.label.classifier]
            .map(LinearMap::from)
    }
}

impl MultimodalOutput {
    /// The output from answers already mapped by [`MultimodalPostprocessor::maps`].
    #[must_use]
    pub fn from_mapped([audio, image, label]: [Tensor<3>; 3]) -> Self {
        Self { audio: audio.flatten(1, 2), image, label: label.narrow(1, 0, 1).squeeze_dim(1) }
    }
}

impl Postprocessor<Tensor<3>> for MultimodalPostprocessor {
    type Output = MultimodalOutput;

    /// # Panics
    /// If there are not three sizes (audio, image, label), or they exceed the number of answers.
    fn forward(&self, answers: Tensor<3>, sizes: &[usize]) -> MultimodalOutput {
        let &[audio, image, label] = sizes else {
            panic!("expected the sizes of 3 modalities, found {sizes:?}")
        };
        let [audio_map, image_map, label_map] = self.maps();
        MultimodalOutput::from_mapped([
            audio_map.forward(answers.clone().narrow(1, 0, audio)),
            image_map.forward(answers.clone().narrow(1, audio, image)),
            label_map.forward(answers.narrow(1, audio + image, label)),
        ])
    }
}

impl EmbeddingDecoder {
    /// A zero bias for every vocabulary entry.
    #[must_use]
    pub fn new(vocabulary: usize, device: &Device) -> Self {
        Self { bias: Initializer::Zeros.init([vocabulary], device) }
    }

    /// # Shapes
    /// - `answers`: `[batch, tokens, channels]`
    /// - `embedding_table`: `[vocabulary, channels]`
    /// - returns: `[batch, tokens, vocabulary]`
    #[must_use]
    pub fn forward(&self, answers: Tensor<3>, embedding_table: Tensor<2>) -> Tensor<3> {
        LinearMap::new(embedding_table.transpose(), self.bias.val()).forward(answers)
    }
}
