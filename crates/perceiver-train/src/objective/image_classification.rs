use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use perceiver_models::losses::soft_cross_entropy;
use perceiver_models::{
    PerceiverForImageClassificationConvProcessing, PerceiverForImageClassificationFourier,
    PerceiverForImageClassificationLearned, PerceiverHead,
};

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

/// A head that scores the classes of images.
pub trait ImageClassifier: PerceiverHead + ModuleDisplay + 'static {
    /// Scores of all classes.
    ///
    /// # Shapes
    /// - `pixels`: `[batch, 3, height, width]`
    /// - returns: `[batch, labels]`
    ///
    /// # Panics
    /// If the head cannot take images of that size.
    fn scores(&self, pixels: Tensor<4>) -> Tensor<2>;
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
        compare(self.head.scores(pixels), targets)
    }
}

/// # Shapes
/// - `scores`, `targets`: `[batch, labels]`
pub(crate) fn compare(scores: Tensor<2>, targets: Tensor<2>) -> StepOutput {
    let classes = targets.clone().argmax(1).squeeze_dim(1);
    let measures = classification::accuracies(&scores.clone().detach(), classes);
    StepOutput::new(soft_cross_entropy(scores, targets)).with_all(measures)
}

impl ImageClassifier for PerceiverForImageClassificationLearned {
    fn scores(&self, pixels: Tensor<4>) -> Tensor<2> {
        self.forward(pixels).logits
    }
}

impl ImageClassifier for PerceiverForImageClassificationFourier {
    fn scores(&self, pixels: Tensor<4>) -> Tensor<2> {
        self.forward(pixels).logits
    }
}

impl ImageClassifier for PerceiverForImageClassificationConvProcessing {
    fn scores(&self, pixels: Tensor<4>) -> Tensor<2> {
        self.forward(pixels).logits
    }
}
