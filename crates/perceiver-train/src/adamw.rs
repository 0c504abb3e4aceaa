use burn::optim::{AdamWConfig, AdamWState, LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

/// Adam with decoupled weight decay.
///
/// `weight ← (1 − rate · weight_decay) weight − rate · m̂ / (√v̂ + epsilon)` with bias-corrected
/// moving averages `m̂` of gradients and `v̂` of their squares.
///
/// # Source
/// Decoupled Weight Decay Regularization, arXiv 1711.05101; the defaults are those of
/// `torch.optim.AdamW`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Share of the gradients' average that each step keeps.
    pub beta_1: f32,
    /// Share of the squares' average that each step keeps.
    pub beta_2: f32,
    /// Added to the root of the squares' average.
    pub epsilon: f32,
    /// Share of the weights that a step with a rate of one removes.
    pub weight_decay: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.01 }
    }
}

impl Optimizer for AdamW {
    /// burn's own, so that records fit either optimiser.
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        #[cfg(feature = "flex")]
        if weight.device() == Device::flex() && weight.dtype() == burn::tensor::DType::F32 {
            let (weight, state) = flex::step(self, rate, weight, gradient, state);
            return (weight, Some(state));
        }
        self.burns_own().step(rate, weight, gradient, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        burn::optim::AdamW::to_device(state, device)
    }
}

impl AdamW {
    /// burn's optimiser with these settings, for tensors on other devices.
    fn burns_own(&self) -> burn::optim::AdamW {
        AdamWConfig::new()
            .with_beta_1(self.beta_1)
            .with_beta_2(self.beta_2)
            .with_epsilon(self.epsilon)
            .with_weight_decay(self.weight_decay)
            .build()
    }
}

/// On the CPU, a tensor without other owners becomes its numbers and back without a copy.
#[cfg(feature = "flex")]
mod flex {
    use burn::optim::{AdamWState, AdaptiveMomentumState, LearningRate};
    use burn::tensor::{Tensor, TensorData};
    use multiversion::multiversion;
    use rayon::prelude::*;

    use super::AdamW;

    /// Numbers per task: four times 16 KiB stay in the second-level cache.
    const TASK: usize = 1 << 12;

    /// The numbers of one step.
    #[derive(Debug, Clone, Copy)]
    struct Update {
        beta_1: f32,
        beta_2: f32,
        /// Share of a weight that decay keeps.
        kept: f32,
        /// Learning rate divided by the bias correction of the gradients' average.
        rate: f32,
        /// Inverse of the root of the bias correction of the squares' average.
        root: f32,
        epsilon: f32,
    }

    impl Update {
        fn new(of: &AdamW, rate: LearningRate, steps: usize) -> Self {
            let correction = |beta: f32| 1.0 - f64::from(beta).powf(steps as f64);
            Self {
                beta_1: of.beta_1,
                beta_2: of.beta_2,
                kept: (1.0 - rate * f64::from(of.weight_decay)) as f32,
                rate: (rate / correction(of.beta_1)) as f32,
                root: (1.0 / correction(of.beta_2).sqrt()) as f32,
                epsilon: of.epsilon,
            }
        }
    }

    pub(super) fn step<const D: usize>(
        of: &AdamW,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, AdamWState<D>) {
        let device = weight.device();
        let moments = state.map_or_else(
            || AdaptiveMomentumState::new(0, gradient.zeros_like(), gradient.zeros_like()),
            |state| state.momentum,
        );
        let steps = moments.time + 1;
        let update = Update::new(of, rate, steps);
        let gradient = gradient.into_data();
        let mut rest = [weight, moments.moment_1, moments.moment_2].map(Tensor::into_data);
        let gradient: &[f32] = gradient.as_slice().expect("gradients have the weight's type");
        let [weight, means, squares] = rest.each_mut().map(numbers);
        weight
            .par_chunks_mut(TASK)
            .zip(means.par_chunks_mut(TASK))
            .zip(squares.par_chunks_mut(TASK))
            .zip(gradient.par_chunks(TASK))
            .for_each(|(((weight, means), squares), gradient)| {
                of_task(update, weight, means, squares, gradient);
            });
        let [weight, means, squares] = rest.map(|data| Tensor::from_data(data, &device));
        (weight, AdamWState::new(AdaptiveMomentumState::new(steps, means, squares)))
    }

    fn numbers(data: &mut TensorData) -> &mut [f32] {
        data.as_mut_slice().expect("states have the weight's type")
    }

    #[multiversion(targets = "simd")]
    fn of_task(
        update: Update,
        weight: &mut [f32],
        means: &mut [f32],
        squares: &mut [f32],
        gradient: &[f32],
    ) {
        let Update { beta_1, beta_2, kept, rate, root, epsilon } = update;
        let numbers = weight.iter_mut().zip(means).zip(squares).zip(gradient);
        for (((weight, mean), squares), &gradient) in numbers {
            *mean = *mean * beta_1 + gradient * (1.0 - beta_1);
            *squares = *squares * beta_2 + gradient * gradient * (1.0 - beta_2);
            *weight = *weight * kept - *mean / (squares.sqrt() * root + epsilon) * rate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PyTorch's rule for each number, in double precision.
    fn expected(of: &AdamW, rate: f64, weights: &[f64], gradients: &[Vec<f64>]) -> Vec<f64> {
        let step = |index: usize, weight: f64| {
            let (mut weight, mut average, mut squares) = (weight, 0.0, 0.0);
            let [beta_1, beta_2] = [of.beta_1, of.beta_2].map(f64::from);
            for (step, gradients) in gradients.iter().enumerate() {
                let gradient = gradients[index];
                let power = step as i32 + 1;
                weight -= rate * f64::from(of.weight_decay) * weight;
                average = beta_1 * average + (1.0 - beta_1) * gradient;
                squares = beta_2 * squares + (1.0 - beta_2) * gradient * gradient;
                let mean = average / (1.0 - beta_1.powi(power));
                let variance: f64 = squares / (1.0 - beta_2.powi(power));
                weight -= rate * mean / (variance.sqrt() + f64::from(of.epsilon));
            }
            weight
        };
        weights.iter().enumerate().map(|(index, &weight)| step(index, weight)).collect()
    }

    fn assert_steps(device: &Device) {
        // More numbers than a task has.
        const COUNT: usize = 5000;
        let wave = |step: f64| (0..COUNT).map(move |i| (step * (i as f64 + 1.0)).sin());
        let weights: Vec<f64> = wave(0.7).collect();
        let gradients: Vec<Vec<f64>> =
            [0.3, 1.1, 1.9].iter().map(|&step| wave(step).collect()).collect();
        let of = AdamW { weight_decay: 0.5, ..AdamW::default() };
        let tensor = |numbers: &[f64]| {
            let numbers: Vec<f32> = numbers.iter().map(|&x| x as f32).collect();
            Tensor::<1>::from_data(numbers.as_slice(), device)
        };
        let (mut weight, mut state) = (tensor(&weights), None);
        for gradient in &gradients {
            (weight, state) = of.step(0.1, weight, tensor(gradient), state);
        }
        let found = weight.into_data();
        let expected = expected(&of, 0.1, &weights, &gradients);
        for (found, expected) in found.iter::<f64>().zip(expected) {
            assert!((found - expected).abs() <= 1e-5, "{found} is not {expected}");
        }
    }

    #[test]
    #[cfg(feature = "flex")]
    fn steps_on_the_cpu_follow_pytorch() {
        assert_steps(&Device::flex());
    }

    #[test]
    #[cfg(feature = "ndarray")]
    #[allow(
        deprecated,
        reason = "burn deprecates ndarray in 0.22; it is tested until 0.23 drops it"
    )]
    fn steps_on_other_backends_follow_pytorch() {
        assert_steps(&Device::ndarray());
    }
}
