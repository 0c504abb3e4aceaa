//! Loss and metrics of the classifier.

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::activation::softmax;
use burn::tensor::{Int, Tensor};
use perceiver_train::models::PerceiverHead as _;
use perceiver_train::{Measure, Metric, Objective, StepOutput};

use crate::PointClassifier;

/// Mean probability of the right shape.
pub const CONFIDENCE: Metric = Metric::percentage("confidence").higher_is_better();

/// Trains a classifier of points.
#[derive(Module, Debug)]
pub struct PointClassification {
    head: PointClassifier,
}

/// Clouds and their shapes.
#[derive(Debug, Clone)]
pub struct CloudBatch {
    /// `[batch, points, dims]`.
    pub points: Tensor<3>,
    /// `[batch]`.
    pub shapes: Tensor<1, Int>,
}

impl PointClassification {
    /// Trains a head.
    #[must_use]
    pub const fn new(head: PointClassifier) -> Self {
        Self { head }
    }
}

impl Objective for PointClassification {
    type Head = PointClassifier;
    type Batch = CloudBatch;

    fn head(&self) -> &PointClassifier {
        &self.head
    }

    fn step(&self, CloudBatch { points, shapes }: CloudBatch) -> StepOutput {
        let scores = self.head.forward(points);
        let loss = CrossEntropyLossConfig::new().init(&scores.device());
        let loss = loss.forward(scores.clone(), shapes.clone());
        let right = scores.clone().argmax(1).squeeze_dim(1).equal(shapes.clone());
        let confidence = softmax(scores, 1).gather(1, shapes.unsqueeze_dim(1));
        StepOutput::new(loss)
            .with(Measure::mean(CONFIDENCE, confidence))
            .with(Measure::mean(Metric::ACCURACY, right.float()))
    }
}
