//! What each head is trained on: a batch, and the loss and measures of the head's answers to it.

mod autoencoding;
mod classification;
pub(crate) mod image_classification;
mod masked_lm;
mod optical_flow;
mod quantity;
pub(crate) mod sequence_classification;

use std::fmt::Debug;

pub use autoencoding::{Autoencoding, Clips};
use burn::module::{Module, ModuleDisplay};
use burn::tensor::{DType, ExecutionError, Tensor};
use burn::train::ItemLazy;
use burn::train::metric::{Adaptor, LossInput};
pub use image_classification::{ImageClassification, ImageClassifier, LabelledImages};
pub use masked_lm::{MaskedLanguageModelling, MaskedTexts};
pub use optical_flow::{FlowEstimation, FlowPairs};
use perceiver_models::PerceiverHead;
pub use quantity::Quantity;
pub use sequence_classification::{LabelledTexts, SequenceClassification};

/// A head together with its loss.
pub trait Objective: Module + ModuleDisplay + 'static {
    /// The head that learns.
    type Head: PerceiverHead;
    /// Inputs and targets of some examples, on a device.
    type Batch: Debug + Send + 'static;

    /// The head, to be saved.
    fn head(&self) -> &Self::Head;

    /// Answers a batch and compares.
    ///
    /// # Panics
    /// If the batch's shapes do not fit the head or each other.
    fn outcome(&self, batch: Self::Batch) -> Outcome;
}

/// What a batch's answers were worth.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// `[1]`, what is differentiated: a mean over the batch.
    pub loss: Tensor<1>,
    /// What people read, apart from the loss.
    pub measures: Vec<Measure>,
}

impl ItemLazy for Outcome {
    /// The same numbers without the graph behind them, so that a log does not keep it alive.
    fn sync(self) -> Result<Self, ExecutionError> {
        self.loss.device().flush()?;
        let measures = self.measures.into_iter().map(|measure| Measure {
            total: measure.total.without_autodiff(),
            count: measure.count.without_autodiff(),
            ..measure
        });
        Ok(Self { measures: measures.collect(), loss: self.loss.without_autodiff() })
    }
}

impl Adaptor<LossInput> for Outcome {
    fn adapt(&self) -> LossInput {
        LossInput::new(self.loss.clone())
    }
}

/// A sum over examples, bytes or pixels and how many they were, so that batches add up.
#[derive(Debug, Clone)]
pub struct Measure {
    /// What was measured.
    pub quantity: Quantity,
    /// `[1]`
    pub total: Tensor<1>,
    /// `[1]`
    pub count: Tensor<1>,
}

impl Measure {
    /// In single precision, whatever the model is of, and outside of any graph.
    fn new(quantity: Quantity, total: Tensor<1>, count: Tensor<1>) -> Self {
        let number = |tensor: Tensor<1>| tensor.detach().cast(DType::F32);
        Self { quantity, total: number(total), count: number(count) }
    }

    /// Of every number there is.
    fn mean_of<const D: usize>(quantity: Quantity, numbers: Tensor<D>) -> Self {
        let numbers = numbers.detach().cast(DType::F32);
        let count = numbers.shape().num_elements() as f32;
        let count = Tensor::from_data([count], (&numbers.device(), DType::F32));
        Self::new(quantity, numbers.sum(), count)
    }
}
