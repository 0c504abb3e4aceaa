use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use burn::train::{InferenceStep, TrainOutput, TrainStep};

use crate::{Objective, StepOutput};

/// An objective for burn's `Learner`. Clips by the norm of all gradients together, averages
/// accumulated gradients, and can keep a moving average of the weights.
///
/// # Differences
/// burn clips each tensor by its own norm and sums accumulated gradients.
#[derive(Module, Debug)]
pub struct TrainingModel<O: Objective> {
    objective: O,
    average: Option<O>,
    #[module(skip)]
    rules: UpdateRules,
}

/// Changes to gradients before the optimiser's step, and to weights after it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpdateRules {
    /// Largest norm of all gradients together; longer ones are scaled down to it.
    pub max_norm: Option<f64>,
    /// Batches whose gradients burn's learner adds up before a step, over all devices.
    pub accumulation: usize,
    /// Share of the averaged weights that each step keeps.
    pub average_decay: Option<f64>,
}

impl Default for UpdateRules {
    fn default() -> Self {
        Self { max_norm: None, accumulation: 1, average_decay: None }
    }
}

impl<O: Objective> TrainingModel<O> {
    /// Prepares an objective for burn's `Learner`.
    ///
    /// # Panics
    /// If `rules.accumulation` is 0.
    #[must_use]
    pub fn new(objective: O, rules: UpdateRules) -> Self {
        assert!(rules.accumulation > 0, "accumulation is 0, expected 1 or more batches per step");
        // burn draws fresh weights on first use. Draw them now, so that the average starts equal.
        objective.visit(&mut Drawn);
        let average = rules.average_decay.map(|_| objective.clone().no_grad());
        Self { objective, average, rules }
    }

    /// The objective to evaluate and to save: with averaged weights if they are kept.
    #[must_use]
    pub fn learned(&self) -> &O {
        self.average.as_ref().unwrap_or(&self.objective)
    }
}

impl<O: Objective> TrainStep for TrainingModel<O> {
    type Input = O::Batch;
    type Output = StepOutput;

    fn step(&self, batch: O::Batch) -> TrainOutput<StepOutput> {
        let output = self.objective.step(batch);
        let gradients = output.loss.backward();
        TrainOutput::new(&self.objective, gradients, output)
    }

    fn optimize(
        mut self,
        optimiser: &mut ModuleOptimizer,
        rate: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Self {
        let gradients = prepared(&self.objective, gradients, &self.rules);
        self.objective = optimiser.step(rate, self.objective, gradients);
        if let (Some(average), Some(decay)) = (self.average.take(), self.rules.average_decay) {
            self.average = Some(towards(average, &self.objective, decay));
        }
        self
    }
}

impl<O: Objective> InferenceStep for TrainingModel<O> {
    type Input = O::Batch;
    type Output = StepOutput;

    fn step(&self, batch: O::Batch) -> StepOutput {
        self.learned().step(batch)
    }
}

/// The mean of accumulated gradients, scaled down to the largest norm that the rules allow.
fn prepared<M: Module>(
    module: &M,
    gradients: GradientsParams,
    rules: &UpdateRules,
) -> GradientsParams {
    let mean = 1.0 / rules.accumulation as f64;
    let scale = match rules.max_norm {
        None => mean,
        // PyTorch's clip_grad_norm_ keeps the norm off zero in the same way.
        Some(max) => mean * (max / (mean * norm(module, &gradients) + 1e-6)).min(1.0),
    };
    scaled(module, gradients, scale)
}

/// Multiplies all gradients.
pub(crate) fn scaled<M: Module>(
    module: &M,
    gradients: GradientsParams,
    scale: f64,
) -> GradientsParams {
    if scale == 1.0 {
        return gradients;
    }
    let mut scaled = Scaled { gradients, scale };
    module.visit(&mut scaled);
    scaled.gradients
}

/// The Euclidean norm of all gradients as one vector.
fn norm<M: Module>(module: &M, gradients: &GradientsParams) -> f64 {
    let mut squares = Squares { gradients, sum: 0.0 };
    module.visit(&mut squares);
    squares.sum.sqrt()
}

struct Drawn;

impl ModuleVisitor for Drawn {
    fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<D>>) {
        let _ = weight.val();
    }
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: f64,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(weight.id) {
            self.sum += gradient.square().sum().into_scalar::<f64>();
        }
    }
}

struct Scaled {
    gradients: GradientsParams,
    scale: f64,
}

impl ModuleVisitor for Scaled {
    fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(weight.id) {
            self.gradients.register(weight.id, gradient * self.scale);
        }
    }
}

/// `decay · average + (1 − decay) · weights`. Both share their parameters' ids.
fn towards<M: Module>(average: M, weights: &M, decay: f64) -> M {
    let mut all = GradientsParams::new();
    weights.visit(&mut Collected { weights: &mut all });
    average.map(&mut Averaged { weights: all, decay })
}

/// Weights by id, in burn's container of tensors of any rank.
struct Collected<'a> {
    weights: &'a mut GradientsParams,
}

impl ModuleVisitor for Collected<'_> {
    fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<D>>) {
        self.weights.register(weight.id, weight.val().without_autodiff());
    }
}

struct Averaged {
    weights: GradientsParams,
    decay: f64,
}

impl ModuleMapper for Averaged {
    fn map_float<const D: usize>(&mut self, average: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(weight) = self.weights.remove::<D>(average.id) else { return average };
        let share = 1.0 - self.decay;
        average.map(|average| {
            // An autodiff graph would keep the averages of all steps, and search them at each step.
            let average = average.without_autodiff();
            // In this form weights that do not change, such as frozen ones, keep every bit.
            (average.clone() + (weight - average) * share).autodiff()
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use burn::module::Param;
    use burn::nn::Linear;
    use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// A layer of one weight and one bias, 1 and 2.
    fn layer() -> Linear {
        let device = Device::flex().autodiff();
        let record = |numbers: &[f32], shape: &[usize]| TensorData::new(numbers.to_vec(), shape);
        Linear {
            weight: Param::from_data(record(&[1.0], &[1, 1]), &device),
            bias: Some(Param::from_data(record(&[2.0], &[1]), &device)),
        }
    }

    /// Gradients 3 and 4, whose norm is 5.
    fn gradients(layer: &Linear) -> GradientsParams {
        let loss = layer.weight.val().sum() * 3.0 + layer.bias.as_ref().unwrap().val().sum() * 4.0;
        GradientsParams::from_grads(loss.backward(), layer)
    }

    fn numbers(layer: &Linear, gradients: &GradientsParams) -> [f32; 2] {
        let bias = layer.bias.as_ref().unwrap();
        [
            gradients.get::<2>(layer.weight.id).unwrap().into_scalar(),
            gradients.get::<1>(bias.id).unwrap().into_scalar(),
        ]
    }

    #[test]
    fn all_gradients_together_are_scaled_to_the_largest_norm() {
        let layer = layer();
        let rules = UpdateRules { max_norm: Some(1.0), ..UpdateRules::default() };
        let [weight, bias] = numbers(&layer, &prepared(&layer, gradients(&layer), &rules));
        assert!((weight - 0.6).abs() < 1e-6 && (bias - 0.8).abs() < 1e-6, "{weight} {bias}");
    }

    #[test]
    fn smaller_gradients_are_left_alone() {
        let layer = layer();
        let rules = UpdateRules { max_norm: Some(5.5), ..UpdateRules::default() };
        assert_eq!(numbers(&layer, &prepared(&layer, gradients(&layer), &rules)), [3.0, 4.0]);
    }

    #[test]
    fn accumulated_gradients_are_averaged_before_they_are_clipped() {
        let layer = layer();
        let rules = UpdateRules { max_norm: Some(2.6), accumulation: 2, average_decay: None };
        assert_eq!(numbers(&layer, &prepared(&layer, gradients(&layer), &rules)), [1.5, 2.0]);
    }

    #[test]
    fn the_average_keeps_its_share_and_takes_the_rest_from_the_weights() {
        let weights = layer();
        let average = weights.clone().no_grad();
        let stepped = ModuleOptimizer::from(SgdConfig::new().build()).step(
            1.0,
            weights.clone(),
            gradients(&weights),
        );
        let average = towards(average, &stepped, 0.75);
        // A quarter of the way from 1 to 1 - 3.
        assert_eq!(average.weight.val().into_scalar::<f32>(), 0.25);
    }
}
