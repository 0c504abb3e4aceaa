use burn::module::Module;
use burn::tensor::{Bool, Tensor};
use perceiver_models::losses::FlowLoss;
use perceiver_models::{PerceiverForOpticalFlow, PerceiverHead as _};

use super::{Measure, Objective, StepOutput};
use crate::Metric;

/// Predicts the motion of every pixel.
///
/// # Source
/// Perceiver IO section 4.2. Targets are divided by 20, as DeepMind's were, since the head's unit is
/// 20 pixels.
#[derive(Module, Debug)]
pub struct FlowEstimation {
    head: PerceiverForOpticalFlow,
    #[module(skip)]
    loss: FlowLoss,
}

/// Pairs of frames and the flow between them.
#[derive(Debug, Clone)]
pub struct FlowBatch {
    /// `[batch, 2, 27, height, width]`: the 3x3 patch around every pixel of two frames, in
    /// `[-1, 1]`.
    pub patches: Tensor<5>,
    /// `[batch, height, width, 2]`, in pixels, to the right and down. Values that are not known are
    /// arbitrary.
    pub flow: Tensor<4>,
    /// `[batch, height, width]`, true where the flow is known.
    pub known: Tensor<3, Bool>,
}

impl FlowEstimation {
    /// Trains a head to minimise a loss.
    #[must_use]
    pub const fn new(head: PerceiverForOpticalFlow, loss: FlowLoss) -> Self {
        Self { head, loss }
    }
}

impl Objective for FlowEstimation {
    type Head = PerceiverForOpticalFlow;
    type Batch = FlowBatch;

    fn head(&self) -> &PerceiverForOpticalFlow {
        &self.head
    }

    /// The loss is in the head's unit, the metrics are in pixels.
    fn step(&self, batch: FlowBatch) -> StepOutput {
        let FlowBatch { patches, flow, known } = batch;
        let scale = PerceiverForOpticalFlow::PIXELS;
        let found = self.head.forward(patches).logits;
        let measures = measures(found.clone().detach() * scale, flow.clone(), known.clone());
        StepOutput::new(self.loss.forward(found, flow / scale, known)).with_all(measures)
    }
}

/// End-point error and outliers over the pixels whose flow is known.
fn measures(found: Tensor<4>, flow: Tensor<4>, known: Tensor<3, Bool>) -> Vec<Measure> {
    let length = |flow: Tensor<4>| -> Tensor<3> {
        let squares: Tensor<3> = flow.square().sum_dim(3).squeeze_dim(3);
        squares.mask_fill(known.clone().bool_not(), 0.0).sqrt()
    };
    let (errors, lengths) = (length(found - flow.clone()), length(flow));
    let outliers =
        errors.clone().greater_elem(3.0).bool_and(errors.clone().greater(lengths * 0.05));
    let count = known.float().sum();
    vec![
        Measure::new(Metric::END_POINT_ERROR, errors.sum(), count.clone()),
        Measure::new(Metric::FLOW_OUTLIERS, outliers.float().sum(), count),
    ]
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Device, Int};

    use super::*;

    /// The errors are 5, 4, 4 and unknown; the second lies within a twentieth of its motion.
    #[test]
    fn errors_and_outliers_are_counted_over_known_pixels() {
        let device = Device::flex();
        let flow = [[[[0.0, 0.0], [100.0, 0.0], [50.0, 0.0], [f32::NAN, 1e30]]]];
        let found = [[[[3.0, 4.0], [104.0, 0.0], [50.0, -4.0], [0.0, 0.0]]]];
        let known = Tensor::<3, Int>::from_data([[[1, 1, 1, 0]]], &device).equal_elem(1);
        let [found, flow] = [found, flow].map(|numbers| Tensor::from_data(numbers, &device));
        let found = measures(found, flow, known);
        let value = |measure: &Measure| {
            let (total, count) = (measure.total.clone(), measure.count.clone());
            [total, count].map(Tensor::into_scalar::<f64>)
        };
        assert_eq!(value(&found[0]), [13.0, 3.0]);
        assert_eq!(value(&found[1]), [2.0, 3.0]);
    }
}
