use burn::module::Module;
use burn::tensor::{Bool, Int, Tensor};
use perceiver_io::{MultimodalInput, MultimodalOutput, OutputPoints};
use perceiver_models::losses::{AutoencodingLoss, AutoencodingTargets, IGNORED_LABEL};
use perceiver_models::{PerceiverForMultimodalAutoencoding, PerceiverHead as _, Request};

use super::{Measure, Objective, StepOutput, classification};
use crate::Metric;

/// Reconstructs clips at some of their points.
///
/// # Source
/// Perceiver IO section 4.3, which masks half of the labels and decodes 512 pixels, 512 samples and
/// the label in each step.
///
/// # Differences
/// All clips of a batch are decoded at the same points.
#[derive(Module, Debug)]
pub struct Autoencoding {
    head: PerceiverForMultimodalAutoencoding,
    #[module(skip)]
    loss: AutoencodingLoss,
}

/// Clips, and their values at some points.
#[derive(Debug, Clone)]
pub struct ClipBatch {
    /// The clips. [`MultimodalInput::hidden_labels`] marks the labels that the head has to guess:
    /// those of clips without a label, and half of the others.
    pub input: MultimodalInput,
    /// The points: at least one of the sound and one of the pixels.
    pub points: OutputPoints,
    /// Values at the points.
    pub targets: AutoencodingTargets,
}

impl Autoencoding {
    /// Trains a head to minimise a loss.
    #[must_use]
    pub const fn new(head: PerceiverForMultimodalAutoencoding, loss: AutoencodingLoss) -> Self {
        Self { head, loss }
    }
}

impl Objective for Autoencoding {
    type Head = PerceiverForMultimodalAutoencoding;
    type Batch = ClipBatch;

    fn head(&self) -> &PerceiverForMultimodalAutoencoding {
        &self.head
    }

    fn step(&self, batch: ClipBatch) -> StepOutput {
        let ClipBatch { input, points, targets } = batch;
        let hidden_labels = input.hidden_labels.clone();
        let found = self.head.forward(Request::new(input).points(points)).logits;
        let measures = measures(&found, targets.clone(), hidden_labels);
        StepOutput::new(self.loss.forward(found, targets)).with_all(measures)
    }
}

/// Compares pictures as they are shown, clamped to their range. Counts only labels that the head did
/// not see.
fn measures(
    found: &MultimodalOutput,
    expected: AutoencodingTargets,
    hidden_labels: Option<Tensor<1, Bool>>,
) -> Vec<Measure> {
    let image = found.image.clone().detach().clamp(0.0, 1.0) - expected.image;
    let audio = found.audio.clone().detach() - expected.audio;
    let guessed: Tensor<1, Int> = match hidden_labels {
        Some(hidden) => expected.label.mask_fill(hidden.bool_not(), IGNORED_LABEL),
        None => expected.label,
    };
    let mut measures = vec![
        Measure::mean(Metric::PICTURE_PSNR, image.square()),
        Measure::mean(Metric::SOUND_PSNR, audio.square()),
    ];
    let accuracies = classification::accuracies(&found.label.clone().detach(), guessed);
    // Videos may have no labels.
    measures.extend(accuracies.into_iter().map(Measure::optional));
    measures
}
