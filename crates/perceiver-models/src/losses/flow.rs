use burn::tensor::ops::PadMode;
use burn::tensor::{Bool, Tensor};
use serde::{Deserialize, Serialize};

/// The loss of flow, where the truth is known.
///
/// # Source
/// PWC-Net (arXiv 1709.02371). The Perceiver IO paper does not name its loss of flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowLoss {
    /// The distance of a pixel's flow from the truth.
    pub distance: FlowDistance,
    /// Number of smaller sizes at which flow is compared too, each half the one before. A pixel there
    /// is the mean of the known pixels it covers. All sizes have the same weight.
    pub smaller_sizes: usize,
}

/// The distance of a pixel's flow from the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlowDistance {
    /// `√(u² + v²)`, the end-point error, with which PWC-Net is trained. (1e-12 is added under
    /// the root, so that the slope is zero without an error.)
    #[default]
    EndPoint,
    /// `|u| + |v|`.
    Absolute,
    /// `(|u| + |v| + 0.01)^0.4`, with which PWC-Net is fine-tuned: large errors count less.
    Robust,
}

impl FlowLoss {
    /// Mean distance over the pixels whose truth is known; zero if none is.
    ///
    /// Unknown pixels have no effect, even if they are NaN.
    ///
    /// # Shapes
    /// - `found`, `expected`: `[batch, height, width, 2]`, in the same unit; the constants of the
    ///   distances assume twentieths of a pixel
    /// - `known`: `[batch, height, width]`
    /// - returns: `[1]`
    ///
    /// # Panics
    /// If the shapes differ.
    #[must_use]
    pub fn forward(
        &self,
        found: Tensor<4>,
        expected: Tensor<4>,
        known: Tensor<3, Bool>,
    ) -> Tensor<1> {
        assert_eq!(found.dims(), expected.dims(), "the true flow has another shape");
        let known: Tensor<4, Bool> = known.unsqueeze_dim(3);
        let mut counts = known.clone().float().cast(found.dtype());
        let unknown = known.bool_not().expand(found.dims());
        let mut sums = (found - expected).mask_fill(unknown, 0.0);
        let mut loss = self.distance.mean(sums.clone(), counts.clone());
        for _ in 0..self.smaller_sizes {
            (sums, counts) = (halved(sums), halved(counts));
            loss = loss + self.distance.mean(sums.clone(), counts.clone());
        }
        loss / (self.smaller_sizes + 1) as f64
    }
}

impl FlowDistance {
    /// Mean over the pixels with a positive count; `sums` are sums of that many differences.
    fn mean(self, sums: Tensor<4>, counts: Tensor<4>) -> Tensor<1> {
        let differences = sums / counts.clone().clamp_min(1.0);
        let distances = match self {
            Self::EndPoint => (differences.square().sum_dim(3) + 1e-12).sqrt(),
            Self::Absolute => differences.abs().sum_dim(3),
            Self::Robust => (differences.abs().sum_dim(3) + 0.01).powf_scalar(0.4),
        };
        let known = counts.clamp_max(1.0);
        (distances * known.clone()).sum() / known.sum().clamp_min(1.0)
    }
}

/// Sums over squares of four pixels, `[batch, height, width, channels]`, with zeros beyond the
/// border.
fn halved(pixels: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = pixels.dims();
    let padding = [(0, 0), (0, height % 2), (0, width % 2), (0, 0)];
    let pixels = pixels.pad(padding, PadMode::Constant(0.0));
    let [height, width] = [height, width].map(|side| side.div_ceil(2));
    let rows: Tensor<5> = pixels.reshape([batch, height, 2, 2 * width, channels]).sum_dim(2);
    let cells: Tensor<5> = rows.reshape([batch, height, width, 2, channels]).sum_dim(3);
    cells.squeeze_dim(3)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn without_a_known_pixel_there_is_no_loss() {
        let device = Device::flex();
        let flow = Tensor::full([1, 2, 3, 2], f32::NAN, &device);
        let known = Tensor::<3>::zeros([1, 2, 3], &device).greater_elem(0.5);
        let loss = FlowLoss { distance: FlowDistance::Robust, smaller_sizes: 1 };
        let loss = loss.forward(Tensor::zeros([1, 2, 3, 2], &device), flow, known);
        assert_eq!(loss.into_scalar::<f32>(), 0.0);
    }
}
