use burn::tensor::Device;
use perceiver_data::Source;

use super::{Loader, Passes};
use crate::loader::order::Order;

/// Builds a [`Loader`], as burn's `DataLoaderBuilder` builds its loaders.
///
/// ```
/// use burn::tensor::{Device, Tensor, TensorData};
/// use perceiver_train::{ChaCha8Rng, LoaderBuilder};
///
/// /// `[batch, 2]`
/// fn batch(examples: Vec<[f32; 2]>, _random: &mut ChaCha8Rng, device: &Device) -> Tensor<2> {
///     let shape = [examples.len(), 2];
///     Tensor::from_data(TensorData::new(examples.concat(), shape), device)
/// }
///
/// let examples = vec![[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]];
/// let training = LoaderBuilder::new(batch).batch_size(2).shuffle(7).build(examples.clone());
/// let validation = LoaderBuilder::new(batch).batch_size(2).build(examples);
/// # let _ = (training, validation);
/// ```
#[derive(Debug, Clone)]
pub struct LoaderBuilder<C> {
    collate: C,
    batch_size: usize,
    seed: Option<u64>,
    workers: usize,
    device: Option<Device>,
    batches_per_pass: Option<usize>,
}

impl<C> LoaderBuilder<C> {
    /// A loader whose batches `collate` makes: a [`Collate`](super::Collate), or a function of
    /// examples, random numbers and a device.
    #[must_use]
    pub const fn new(collate: C) -> Self {
        Self {
            collate,
            batch_size: 1,
            seed: None,
            workers: 1,
            device: None,
            batches_per_pass: None,
        }
    }

    /// Examples of a batch: 1 by default.
    #[must_use]
    pub fn batch_size(self, batch_size: usize) -> Self {
        Self { batch_size, ..self }
    }

    /// Draws examples in random order, endlessly, as training needs. The order depends on the seed
    /// alone, and takes every example once before it takes one again. Without this call, each pass
    /// takes every example once, in order.
    #[must_use]
    pub fn shuffle(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// Threads that prepare batches: 1 by default. Their number does not change any batch.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// Device of the batches: burn's default device if not set. A
    /// [`TrainingRun`](crate::TrainingRun) and [`evaluate`](crate::evaluate()) use the objective's
    /// device instead.
    #[must_use]
    pub fn device(self, device: &Device) -> Self {
        Self { device: Some(device.clone()), ..self }
    }

    /// Batches of an iterator over a shuffled loader, which is an epoch of burn's learner: as many as
    /// hold every example once by default.
    #[must_use]
    pub fn batches_per_pass(self, batches: usize) -> Self {
        Self { batches_per_pass: Some(batches), ..self }
    }

    /// Builds the loader over some examples.
    ///
    /// # Panics
    /// If the source has no examples, or the batch size, the number of workers or of batches per pass
    /// is 0.
    #[must_use]
    pub fn build<S: Source>(self, source: S) -> Loader<S, C> {
        let examples = source.len();
        assert!(examples > 0, "the source has 0 examples, expected 1 or more");
        let Self { collate, batch_size, seed, workers, .. } = self;
        for (setting, value) in [("batch size", batch_size), ("number of workers", workers)] {
            assert!(value > 0, "{setting} is 0, expected 1 or more");
        }
        let epoch = examples.div_ceil(batch_size);
        let batches = match seed {
            Some(_) => self.batches_per_pass.unwrap_or(epoch),
            None => epoch,
        };
        assert!(batches > 0, "number of batches per pass is 0, expected 1 or more");
        let order = match seed {
            Some(seed) => Order::shuffled(examples, seed),
            None => Order::fixed(examples),
        };
        let end = if seed.is_some() { usize::MAX } else { epoch };
        let passes = Passes { start: 0, batches, end };
        let device = self.device.unwrap_or_default();
        Loader::new(source, collate, order, batch_size, workers, passes, device)
    }
}
