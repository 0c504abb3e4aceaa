use burn::tensor::{Int, Tensor};
use perceiver_io::MultimodalOutput;

use super::cross_entropy_sum;

/// The loss of a reconstructed clip: the weight of each modality.
///
/// # Source
/// Perceiver IO, appendix on multimodal autoencoding, which has the default weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AutoencodingLoss {
    /// Weight of the mean absolute difference of samples.
    pub audio: f64,
    /// Weight of the mean absolute difference of colours.
    pub image: f64,
    /// Weight of the label's cross-entropy.
    pub label: f64,
}

/// The targets of a clip, at the decoded points.
#[derive(Debug, Clone)]
pub struct AutoencodingTargets {
    /// `[batch, samples]`.
    pub audio: Tensor<2>,
    /// `[batch, pixels, channels]`.
    pub image: Tensor<3>,
    /// `[batch]`, [`IGNORED_LABEL`](super::IGNORED_LABEL) for a clip without a label.
    pub label: Tensor<1, Int>,
}

impl Default for AutoencodingLoss {
    fn default() -> Self {
        Self { audio: 1.0, image: 0.03, label: 1e-4 }
    }
}

impl AutoencodingLoss {
    /// The weighted sum over modalities. Labels count as zero if no clip has one.
    ///
    /// # Shapes
    /// - returns: `[1]`
    ///
    /// # Panics
    /// If the output and the targets differ in shape.
    #[must_use]
    pub fn forward(&self, found: MultimodalOutput, expected: AutoencodingTargets) -> Tensor<1> {
        assert_eq!(found.audio.dims(), expected.audio.dims(), "the sound has another shape");
        assert_eq!(found.image.dims(), expected.image.dims(), "the pictures have another shape");
        let audio = (found.audio - expected.audio).abs().mean();
        let image = (found.image - expected.image).abs().mean();
        let (label, labels) = cross_entropy_sum(found.label, expected.label);
        audio * self.audio + image * self.image + label / labels.clamp_min(1.0) * self.label
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::losses::IGNORED_LABEL;

    #[test]
    fn clips_without_a_label_are_compared_by_what_is_seen_and_heard() {
        let device = Device::flex();
        let found = MultimodalOutput {
            audio: Tensor::zeros([2, 2], &device),
            image: Tensor::zeros([2, 1, 3], &device),
            label: Tensor::from_data([[9.0, -9.0], [1.0, 2.0]], &device),
        };
        let expected = AutoencodingTargets {
            audio: Tensor::full([2, 2], 0.5, &device),
            image: Tensor::full([2, 1, 3], 0.25, &device),
            label: Tensor::full([2], IGNORED_LABEL, &device),
        };
        let loss = AutoencodingLoss { audio: 2.0, image: 4.0, label: 1.0 };
        assert_eq!(loss.forward(found, expected).into_scalar::<f32>(), 2.0);
    }
}
