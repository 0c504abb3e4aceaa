use burn::module::Module;
use burn::tensor::{Bool, Int, Tensor};
use perceiver_io::{MultimodalInput, MultimodalOutput, OutputPoints};
use perceiver_models::losses::{AutoencodingLoss, AutoencodingTargets, IGNORED_LABEL};
use perceiver_models::{PerceiverForMultimodalAutoencoding, PerceiverHead as _, Request};

use super::{Measure, Objective, Outcome, Quantity, classification};

/// Re-creating clips at some of their points.
///
/// # Source
/// Perceiver IO section 4.3, where half of the labels are masked and each step asks for 512 pixels,
/// 512 samples and the label.
///
/// # Differences
/// All clips of a batch are asked at the same points.
#[derive(Module, Debug)]
pub struct Autoencoding {
    head: PerceiverForMultimodalAutoencoding,
    #[module(skip)]
    loss: AutoencodingLoss,
}

/// Clips, and what they are at some points.
#[derive(Debug, Clone)]
pub struct Clips {
    /// The clips. [`MultimodalInput::hidden_labels`] says whose label is to be guessed: of clips
    /// without a label, and of half of the others.
    pub input: MultimodalInput,
    /// The points, of sound and of pixels at least one.
    pub points: OutputPoints,
    /// What is there.
    pub targets: AutoencodingTargets,
}

impl Autoencoding {
    /// For a head to learn, with the loss it makes small.
    #[must_use]
    pub const fn new(head: PerceiverForMultimodalAutoencoding, loss: AutoencodingLoss) -> Self {
        Self { head, loss }
    }
}

impl Objective for Autoencoding {
    type Head = PerceiverForMultimodalAutoencoding;
    type Batch = Clips;

    fn head(&self) -> &PerceiverForMultimodalAutoencoding {
        &self.head
    }

    fn outcome(&self, batch: Clips) -> Outcome {
        let Clips { input, points, targets } = batch;
        let hidden_labels = input.hidden_labels.clone();
        let found = self.head.forward(Request::new(input).points(points)).logits;
        let measures = measures(&found, targets.clone(), hidden_labels);
        Outcome { loss: self.loss.forward(found, targets), measures }
    }
}

/// Pictures are compared as they are shown, within their range. Labels that the head was shown are
/// not counted.
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
        Measure::mean_of(Quantity::PictureError, image.square()),
        Measure::mean_of(Quantity::SoundError, audio.square()),
    ];
    measures.extend(classification::accuracies(&found.label.clone().detach(), guessed));
    measures
}
