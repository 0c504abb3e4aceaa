use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use perceiver_models::losses::soft_cross_entropy;
use perceiver_models::{HeadRequest, ImageInput, PerceiverClassifierOutput, PerceiverHead};

use super::{Objective, StepOutput, classification};

/// Classifies images; targets may be smoothed or mixed.
///
/// # Source
/// Perceiver IO section 4.4.
#[derive(Module, Debug)]
pub struct ImageClassification<H: Module> {
    head: H,
}

/// Images, and the share of every class in each.
#[derive(Debug, Clone)]
pub struct LabelledImages {
    /// `[batch, 3, height, width]`, normalised.
    pub pixels: Tensor<4>,
    /// `[batch, labels]`, each row sums to one.
    pub targets: Tensor<2>,
}

/// A head that scores the classes of images: each of this library's three, and any of your own with
/// the same input and output.
pub trait ImageClassifier:
    PerceiverHead<Input = ImageInput, Output = PerceiverClassifierOutput<Tensor<2>>>
    + ModuleDisplay
    + 'static
{
}

impl<H> ImageClassifier for H where
    H: PerceiverHead<Input = ImageInput, Output = PerceiverClassifierOutput<Tensor<2>>>
        + ModuleDisplay
        + 'static
{
}

impl<H: ImageClassifier> ImageClassification<H> {
    /// Trains a head.
    #[must_use]
    pub const fn new(head: H) -> Self {
        Self { head }
    }
}

impl<H: ImageClassifier> Objective for ImageClassification<H> {
    type Head = H;
    type Batch = LabelledImages;

    fn head(&self) -> &H {
        &self.head
    }

    /// The right class of an image is the one with the largest share.
    fn step(&self, batch: LabelledImages) -> StepOutput {
        let LabelledImages { pixels, targets } = batch;
        compare(self.head.forward(HeadRequest::<H>::new(pixels.into())).logits, targets)
    }
}

/// # Shapes
/// - `scores`, `targets`: `[batch, labels]`
pub(crate) fn compare(scores: Tensor<2>, targets: Tensor<2>) -> StepOutput {
    let classes = targets.clone().argmax(1).squeeze_dim(1);
    let measures = classification::accuracies(&scores.clone().detach(), classes);
    StepOutput::new(soft_cross_entropy(scores, targets)).with_all(measures)
}
