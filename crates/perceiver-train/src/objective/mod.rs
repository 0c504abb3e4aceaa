//! What each head is trained on: a batch, and the loss and measures of the head's answers to it.

mod autoencoding;
mod classification;
mod image_classification;
mod masked_lm;
mod optical_flow;
mod sequence_classification;

use std::fmt::Debug;

pub use autoencoding::{Autoencoding, Clips};
use burn::module::{Module, ModuleDisplay};
use burn::tensor::{DType, ExecutionError, Tensor};
use burn::train::ItemLazy;
use burn::train::metric::{Adaptor, LossInput};
pub use image_classification::{ImageClassification, ImageClassifier, LabelledImages};
pub use masked_lm::{MaskedLanguageModelling, MaskedTexts};
pub use optical_flow::{FlowEstimation, FlowPairs};
use perceiver_models::PretrainedModel;
pub use sequence_classification::{LabelledTexts, SequenceClassification};

/// A head together with its loss.
pub trait Objective: Module + ModuleDisplay {
    /// The head that learns.
    type Head: PretrainedModel;
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

/// What people read off a training run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quantity {
    /// Examples whose highest score is the right class's; where an example has several labels, the
    /// labels whose score is on the right side.
    Accuracy,
    /// Examples whose right class is among the five highest scores.
    TopFiveAccuracy,
    /// Squared error of a regression.
    SquaredError,
    /// Negative binary logarithm of the probability of masked bytes.
    BitsPerByte,
    /// Distance between flow and truth, in pixels.
    EndPointError,
    /// Pixels whose flow is off by more than three pixels and more than a twentieth (`Fl-all`).
    FlowOutliers,
    /// Squared error of pictures in 0 to 1; read as peak signal-to-noise ratio.
    PictureError,
    /// Squared error of sound in -1 to 1; read as peak signal-to-noise ratio.
    SoundError,
}

impl Quantity {
    /// As it stands in tables and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::TopFiveAccuracy => "top-5 accuracy",
            Self::SquaredError => "squared error",
            Self::BitsPerByte => "bits per byte",
            Self::EndPointError => "end-point error",
            Self::FlowOutliers => "Fl-all",
            Self::PictureError => "picture PSNR",
            Self::SoundError => "sound PSNR",
        }
    }

    /// Unit of [`value`](Self::value), empty for a plain number.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Accuracy | Self::TopFiveAccuracy | Self::FlowOutliers => "%",
            Self::SquaredError => "",
            Self::BitsPerByte => "bits",
            Self::EndPointError => "px",
            Self::PictureError | Self::SoundError => "dB",
        }
    }

    /// Whether more is better.
    #[must_use]
    pub const fn rises(self) -> bool {
        match self {
            Self::Accuracy | Self::TopFiveAccuracy | Self::PictureError | Self::SoundError => true,
            Self::SquaredError | Self::BitsPerByte | Self::EndPointError | Self::FlowOutliers => {
                false
            }
        }
    }

    /// What people read, from a sum and a count.
    #[must_use]
    pub fn value(self, total: f64, count: f64) -> f64 {
        let mean = total / count;
        match self {
            Self::Accuracy | Self::TopFiveAccuracy | Self::FlowOutliers => 100.0 * mean,
            Self::SquaredError | Self::BitsPerByte | Self::EndPointError => mean,
            // The peak is 1 of pictures, and 2 between the ends of sound, of which DeepMind's
            // measure takes 1.
            Self::PictureError | Self::SoundError => -10.0 * mean.log10(),
        }
    }
}
