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
    /// Batches whose gradients burn's learner adds up before a step.
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
        self.weights.register(weight.id, weight.val().detach());
    }
}

struct Averaged {
    weights: GradientsParams,
    decay: f64,
}

impl ModuleMapper for Averaged {
    fn map_float<const D: usize>(&mut self, average: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(weight) = self.weights.remove::<D>(average.id) else { return average };
        let decay = self.decay;
        average.map(|average| average * decay + weight * (1.0 - decay))
    }
}
