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
/// not see. Videos may have no labels; where they have, these come first in reports.
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
    let accuracies = classification::accuracies(&found.label.clone().detach(), guessed);
    let errors = [
        Measure::mean(Metric::PICTURE_PSNR, image.square()),
        Measure::mean(Metric::SOUND_PSNR, audio.square()),
    ];
    accuracies.into_iter().map(Measure::optional).chain(errors).collect()
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::totals::Totals;

    /// Names of the metrics of two clips, as a log lists them.
    fn logged(labels: [i64; 2]) -> Vec<String> {
        let device = Device::flex();
        let audio = Tensor::<2>::ones([2, 4], &device) * 0.5;
        let image = Tensor::<3>::ones([2, 5, 3], &device) * 0.5;
        let label = Tensor::zeros([2, 7], &device);
        let found = MultimodalOutput { audio: audio.clone(), image: image.clone(), label };
        let label = Tensor::from_ints(labels, &device);
        let expected = AutoencodingTargets { audio: -audio, image: image * 2.0, label };
        let output = StepOutput::new(Tensor::ones([1], &device));
        let mut totals = Totals::default();
        totals.add(output.with_all(measures(&found, expected, None)));
        assert_eq!(totals.loss(), 1.0);
        totals.values().iter().map(|(metric, _)| metric.name.clone().into_owned()).collect()
    }

    #[test]
    fn labels_come_first_where_clips_have_them() {
        let errors = ["picture PSNR", "sound PSNR"];
        assert_eq!(logged([IGNORED_LABEL; 2]), errors);
        let labelled = logged([3, IGNORED_LABEL]);
        assert_eq!(labelled[..2], ["accuracy", "top-5 accuracy"]);
        assert_eq!(labelled[2..], errors);
    }
}
