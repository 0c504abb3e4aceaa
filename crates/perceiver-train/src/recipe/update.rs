use burn::lr_scheduler::LrSchedulerConfig;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use burn::module::ParamGroup;
use burn::optim::{LambConfig, ModuleOptimizer};
use serde::{Deserialize, Serialize};

use super::{SHARE, numbers};
use crate::AdamW;

/// Settings of the optimiser.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimiser {
    /// The update rule.
    pub name: OptimiserName,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// Decay of weights, except biases and parameters of norms.
    #[serde(default)]
    pub weight_decay: f32,
    /// Share of the gradients' average that each step keeps.
    #[serde(default = "first_beta")]
    pub beta_1: f32,
    /// Share of the squares' average that each step keeps.
    #[serde(default = "second_beta")]
    pub beta_2: f32,
    /// Added to the root of the squares' average; the paper's LAMB uses 1e-6.
    #[serde(default = "small")]
    pub epsilon: f32,
}

/// An update rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimiserName {
    /// Adam with decoupled weight decay.
    AdamW,
    /// Layer-wise adaptive moments, the papers' choice (arXiv 1904.00962).
    Lamb,
}

const fn first_beta() -> f32 {
    0.9
}

const fn second_beta() -> f32 {
    0.999
}

const fn small() -> f32 {
    1e-8
}

/// Parameters that do not decay, by their paths in burn's modules.
const WITHOUT_DECAY: [&str; 2] = [r"(^|\.)bias$", r"(^|\.)(gamma|beta)$"];

impl Optimiser {
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { learning_rate, weight_decay, beta_1, beta_2, epsilon, .. } = *self;
        let is_rate = learning_rate > 0.0 && learning_rate <= 1.0;
        let expected = "greater than 0, at most 1";
        numbers::check("optimiser.learning_rate", learning_rate, is_rate, expected)?;
        for (name, value) in
            [("weight_decay", weight_decay), ("beta_1", beta_1), ("beta_2", beta_2)]
        {
            let is_share = (0.0..1.0).contains(&value);
            let value = numbers::decimal(value);
            numbers::check(&format!("optimiser.{name}"), value, is_share, SHARE)?;
        }
        let is_small = epsilon > 0.0 && epsilon < 1.0;
        let expected = "greater than 0, less than 1";
        numbers::check("optimiser.epsilon", numbers::decimal(epsilon), is_small, expected)
    }

    /// The optimiser, without decay of biases and norms.
    pub(super) fn build(&self) -> Result<ModuleOptimizer, String> {
        let kept = ParamGroup::from_any_regexes(WITHOUT_DECAY.to_vec())
            .map_err(|error| format!("{error:?}"))?;
        Ok(match self.name {
            OptimiserName::AdamW => {
                let rule = |weight_decay| AdamW {
                    beta_1: self.beta_1,
                    beta_2: self.beta_2,
                    epsilon: self.epsilon,
                    weight_decay,
                };
                ModuleOptimizer::from(rule(self.weight_decay)).with_group(kept, rule(0.0), None)
            }
            OptimiserName::Lamb => {
                let rule = |weight_decay| {
                    LambConfig::new()
                        .with_beta_1(self.beta_1)
                        .with_beta_2(self.beta_2)
                        .with_epsilon(self.epsilon)
                        .with_weight_decay(weight_decay)
                };
                let decaying = rule(self.weight_decay).init();
                decaying.with_group(kept, rule(0.0).build(), None)
            }
        })
    }
}

/// The learning rate by step.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The shape after the warm-up.
    #[serde(default)]
    pub shape: ScheduleShape,
    /// Steps in which the rate rises linearly from zero.
    #[serde(default)]
    pub warmup_steps: usize,
    /// Steps at the highest rate before the cosine, for `flat-then-cosine`.
    #[serde(default)]
    pub flat_steps: usize,
}

/// The shape of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleShape {
    /// It stays constant.
    #[default]
    Constant,
    /// It falls as half a cosine, to zero at the last step.
    Cosine,
    /// It stays constant for `flat_steps`, then falls as half a cosine.
    FlatThenCosine,
}

impl Schedule {
    pub(super) fn check(&self, steps: usize, rate: f64) -> Result<(), String> {
        let before = self.warmup_steps.saturating_add(self.flat_steps);
        if before >= steps {
            return Err(format!(
                "`schedule` rises and stays flat for {before} steps, expected fewer than the {steps} of the run"
            ));
        }
        if self.flat_steps > 0 && self.shape != ScheduleShape::FlatThenCosine {
            return Err("`schedule.flat_steps` needs the shape flat-then-cosine".into());
        }
        self.build(steps, rate).map(|_| ())
    }

    /// burn's schedulers in sequence.
    pub(super) fn build(&self, steps: usize, rate: f64) -> Result<ModuleLrScheduler, String> {
        let mut parts: Vec<(LrSchedulerConfig, usize)> = Vec::new();
        let warm = self.warmup_steps;
        if warm > 0 {
            // The first step has the first fraction of the rate, the last warm-up step all of it.
            let rise = LinearLrSchedulerConfig::new(rate / warm as f64, rate, warm.max(2) - 1);
            parts.push((rise.into(), warm));
        }
        if self.flat_steps > 0 {
            parts.push((LrSchedulerConfig::Constant(rate), self.flat_steps));
        }
        let rest = steps - warm - self.flat_steps;
        parts.push(match self.shape {
            ScheduleShape::Constant => (LrSchedulerConfig::Constant(rate), rest),
            ScheduleShape::Cosine | ScheduleShape::FlatThenCosine => {
                (CosineAnnealingLrSchedulerConfig::new(rate, rest).into(), rest)
            }
        });
        let ends = parts.iter().scan(0, |end, (_, length)| {
            *end += length;
            Some(*end)
        });
        let milestones = ends.take(parts.len() - 1).collect();
        let schedulers = parts.iter().map(|(part, _)| part.clone()).collect();
        SequentialLrSchedulerConfig::new(schedulers, milestones).init()
    }
}
