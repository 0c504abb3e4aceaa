use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use burn::train::{InferenceStep, TrainOutput, TrainStep};

use crate::{Objective, Outcome};

/// An objective as burn's `Learner` trains it: clips by the norm of all gradients together,
/// averages accumulated gradients, and keeps a moving average of the weights.
///
/// # Differences
/// Burn clips every tensor by its own norm and sums accumulated gradients.
#[derive(Module, Debug)]
pub struct Trainee<O: Objective> {
    objective: O,
    average: Option<O>,
    #[module(skip)]
    rules: UpdateRules,
}

/// What happens to gradients before, and to weights after the optimiser's step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpdateRules {
    /// Largest norm of all gradients together; larger ones are scaled down to it.
    pub max_norm: Option<f64>,
    /// Batches whose gradients burn's learner adds up before a step, on all devices together.
    pub accumulation: usize,
    /// Part of the averaged weights that every step keeps.
    pub average_decay: Option<f64>,
}

impl Default for UpdateRules {
    fn default() -> Self {
        Self { max_norm: None, accumulation: 1, average_decay: None }
    }
}

impl<O: Objective> Trainee<O> {
    /// Makes an objective ready for burn's `Learner`.
    ///
    /// # Panics
    /// If no batch is accumulated.
    #[must_use]
    pub fn new(objective: O, rules: UpdateRules) -> Self {
        assert!(rules.accumulation > 0, "a step takes at least one batch");
        // Fresh weights are drawn when they are first asked for: both have to begin with the same.
        objective.visit(&mut Drawn);
        let average = rules.average_decay.map(|_| objective.clone().no_grad());
        Self { objective, average, rules }
    }

    /// What to evaluate and to save: the averaged weights where they are kept.
    #[must_use]
    pub fn learned(&self) -> &O {
        self.average.as_ref().unwrap_or(&self.objective)
    }
}

impl<O: Objective> TrainStep for Trainee<O> {
    type Input = O::Batch;
    type Output = Outcome;

    fn step(&self, batch: O::Batch) -> TrainOutput<Outcome> {
        let outcome = self.objective.outcome(batch);
        let gradients = outcome.loss.backward();
        TrainOutput::new(&self.objective, gradients, outcome)
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

impl<O: Objective> InferenceStep for Trainee<O> {
    type Input = O::Batch;
    type Output = Outcome;

    fn step(&self, batch: O::Batch) -> Outcome {
        self.learned().outcome(batch)
    }
}

/// The mean of accumulated gradients, of at most the norm that the rules allow.
fn prepared<M: Module>(
    module: &M,
    gradients: GradientsParams,
    rules: &UpdateRules,
) -> GradientsParams {
    let mean = 1.0 / rules.accumulation as f64;
    let scale = match rules.max_norm {
        None => mean,
        // As in PyTorch's clip_grad_norm_, the norm is kept off zero.
        Some(max) => mean * (max / (mean * norm(module, &gradients) + 1e-6)).min(1.0),
    };
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
            // Outside autodiff, whose graph would keep the averages of all steps, and search
            // them at every step.
            let average = average.without_autodiff();
            // In this form weights that stand still, such as frozen ones, keep every bit.
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
    fn all_gradients_together_are_brought_to_the_largest_norm() {
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
        // From 1 a quarter of the way to 1 - 3.
        assert_eq!(average.weight.val().into_scalar::<f32>(), 0.25);
    }
}
