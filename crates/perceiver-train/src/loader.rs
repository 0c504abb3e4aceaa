//! Batches in an order that a seed fixes, prepared by several threads.

mod order;

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use perceiver_data::Source;
use rand_chacha::ChaCha8Rng;

use order::Order;
pub use order::validation_random;

/// Batches that a worker prepares ahead of the one that is asked for.
const AHEAD: usize = 2;

/// Makes a batch of some examples.
pub trait Collate<E>: Send + Sync {
    /// Inputs and targets, on a device.
    type Batch;

    /// Puts examples together. What is drawn (mixtures, hidden labels, points) is drawn from
    /// `random` alone.
    fn batch(&self, examples: Vec<E>, random: &mut ChaCha8Rng, device: &Device) -> Self::Batch;
}

/// Burn's data loader over a [`Source`]: batch `k` is the same one however many threads work, and
/// whichever batch a run begins with.
///
/// Examples that cannot be read are left out, counted and named in [`skipped`](Self::skipped). A
/// pass in which no example can be read, or whose threads do not make all batches, ends in an
/// error.
///
/// # Differences
/// Burn's own loader hands batches out in the order in which threads finish them.
#[derive(Debug)]
pub struct Loader<S, C> {
    shared: Arc<Shared<S, C>>,
    device: Device,
    /// Batches of one iterator.
    per_pass: usize,
    /// Which of how many devices this loader serves.
    share: (usize, usize),
    /// The batch the next iterator begins with.
    next: AtomicUsize,
}

#[derive(Debug)]
struct Shared<S, C> {
    source: S,
    collate: C,
    order: Order,
    batch_size: usize,
    /// Batches there are; none beyond.
    end: usize,
    workers: usize,
    skipped: Mutex<Skipped>,
}

/// Examples that could not be read.
#[derive(Debug, Clone, Default)]
pub struct Skipped {
    /// How many.
    pub count: usize,
    /// Why, of the first few.
    pub reasons: Vec<String>,
}

/// Reasons that are kept.
const REASONS: usize = 10;

impl<S, C> Loader<S, C> {
    /// Batches for `steps` of training, `per_pass` of them in one iterator. The order runs through
    /// all examples before it repeats one.
    ///
    /// # Panics
    /// If the source or a batch is empty, or nobody works.
    pub fn training(
        source: S,
        collate: C,
        batch_size: usize,
        [steps, per_pass]: [usize; 2],
        workers: usize,
        seed: u64,
        device: &Device,
    ) -> Self
    where
        S: Source,
    {
        let order = Order::shuffled(source.len(), seed);
        Self::new(source, collate, order, batch_size, [steps, per_pass], workers, device)
    }

    /// Every example once, in order, the same way in every pass.
    ///
    /// # Panics
    /// As [`training`](Self::training).
    pub fn validation(
        source: S,
        collate: C,
        batch_size: usize,
        workers: usize,
        device: &Device,
    ) -> Self
    where
        S: Source,
    {
        let order = Order::fixed(source.len());
        let batches = source.len().div_ceil(batch_size);
        Self::new(source, collate, order, batch_size, [batches, batches], workers, device)
    }

    fn new(
        source: S,
        collate: C,
        order: Order,
        batch_size: usize,
        [end, per_pass]: [usize; 2],
        workers: usize,
        device: &Device,
    ) -> Self {
        assert!(batch_size > 0 && workers > 0 && per_pass > 0, "an empty batch or nobody to work");
        let skipped = Mutex::default();
        let shared = Shared { source, collate, order, batch_size, end, workers, skipped };
        let next = AtomicUsize::new(0);
        Self { shared: Arc::new(shared), device: device.clone(), per_pass, share: (0, 1), next }
    }

    /// Begins with a later batch, where an earlier run ended.
    #[must_use]
    pub fn starting_at(self, batch: usize) -> Self {
        self.next.store(batch, Ordering::Relaxed);
        self
    }

    /// How many examples there are, whether they can be read or not.
    pub(crate) fn examples(&self) -> usize
    where
        S: Source,
    {
        self.shared.source.len()
    }

    /// The examples that could not be read so far.
    #[must_use]
    pub fn skipped(&self) -> Skipped {
        self.shared.skipped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The batches of the next iterator: to the next multiple of `per_pass`, or to the end.
    fn pass(&self) -> Range<usize> {
        let next = self.next.load(Ordering::Relaxed);
        let next = if self.shared.order.repeats() { next } else { 0 };
        let end = (next / self.per_pass + 1) * self.per_pass;
        next..end.min(self.shared.end)
    }
}

impl<S: Source, C: Collate<S::Example>> Shared<S, C> {
    /// Batch number `index`, of the examples that can be read; none where there is no such example.
    fn batch(&self, index: usize, device: &Device) -> Option<C::Batch> {
        // Steps are counted in batches, so that one without examples takes those of the next. Two
        // rounds hold each example, wherever they begin.
        let tried = match self.order.repeats() {
            true => 2 * self.source.len().div_ceil(self.batch_size),
            false => 1,
        };
        let mut batches = (index..index + tried).map(|index| self.readable(index));
        let examples = batches.find(|examples| !examples.is_empty())?;
        Some(self.collate.batch(examples, &mut self.order.batch_random(index), device))
    }

    fn readable(&self, batch: usize) -> Vec<S::Example> {
        let mut examples = Vec::with_capacity(self.batch_size);
        for position in self.order.positions(batch, self.batch_size) {
            let example = self.order.example(position);
            match self.source.example(example, &mut self.order.random(position)) {
                Ok(example) => examples.push(example),
                Err(error) => self.skip(error.to_string()),
            }
        }
        examples
    }

    fn skip(&self, reason: String) {
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.count += 1;
        if skipped.reasons.len() < REASONS && !skipped.reasons.contains(&reason) {
            skipped.reasons.push(reason);
        }
    }
}

/// Why a pass ends before its last batch.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no example could be read: {first}")]
    NothingReadable { first: String },
    #[error("a thread that prepares batches has ended: {made} of {expected} were prepared")]
    ThreadEnded { made: usize, expected: usize },
}

impl<S, C> DataLoader<C::Batch> for Loader<S, C>
where
    S: Source + 'static,
    C: Collate<S::Example, Batch: Send + 'static> + 'static,
{
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<C::Batch> + 'a> {
        let pass = self.pass();
        let (first, devices) = self.share;
        let workers = self.shared.workers.min(pass.len().max(1));
        let receivers = (0..workers).map(|worker| {
            let (sender, receiver) = sync_channel(AHEAD);
            let (shared, device) = (Arc::clone(&self.shared), self.device.clone());
            let mut batches =
                pass.clone().skip(first + worker * devices).step_by(workers * devices);
            std::thread::spawn(move || {
                // Ends when all are made, or when nobody listens any more.
                while let Some(index) = batches.next()
                    && sender.send(shared.batch(index, &device)).is_ok()
                {}
            });
            receiver
        });
        let own = pass.len().saturating_sub(first).div_ceil(devices);
        Box::new(Pass {
            receivers: receivers.collect(),
            loader: self,
            taken: 0,
            read: false,
            batches: own,
            pass,
        })
    }

    fn num_items(&self) -> usize {
        self.pass().len().div_ceil(self.share.1) * self.shared.batch_size
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<C::Batch>> {
        Arc::new(self.sharing(self.share, device))
    }

    /// One of equal parts, as burn cuts a loader for several devices.
    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<C::Batch>> {
        let length = end.saturating_sub(start).max(1);
        let parts = (self.num_items() / length).max(1);
        let part = (start / length).min(parts - 1);
        Arc::new(self.sharing((part, parts), &self.device))
    }
}

impl<S, C> Loader<S, C> {
    fn sharing(&self, share: (usize, usize), device: &Device) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            device: device.clone(),
            per_pass: self.per_pass,
            share,
            next: AtomicUsize::new(self.next.load(Ordering::Relaxed)),
        }
    }
}

/// One iterator: takes batches from the workers in turn.
struct Pass<'a, S, C, B> {
    /// Nothing instead of a batch without a readable example.
    receivers: Vec<Receiver<Option<B>>>,
    loader: &'a Loader<S, C>,
    taken: usize,
    /// Whether there was a readable example.
    read: bool,
    batches: usize,
    pass: Range<usize>,
}

impl<S, C, B> Iterator for Pass<'_, S, C, B> {
    type Item = Result<B, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.taken < self.batches {
            // A worker that hung up has panicked; there is nothing left to wait for.
            let Ok(batch) = self.receivers[self.taken % self.receivers.len()].recv() else {
                let (made, expected) = (self.taken, self.batches);
                return self.fail(Failure::ThreadEnded { made, expected });
            };
            self.taken += 1;
            let reached = self.pass.start + self.taken * self.loader.share.1;
            self.loader.next.store(reached.min(self.pass.end), Ordering::Relaxed);
            self.read |= batch.is_some();
            if let Some(batch) = batch {
                return Some(Ok(batch));
            }
            // For a batch to learn from, every example was tried.
            let all_tried = self.taken == self.batches || self.loader.shared.order.repeats();
            if all_tried && !self.read {
                let first = self.loader.skipped().reasons.into_iter().next();
                return self.fail(Failure::NothingReadable { first: first.unwrap_or_default() });
            }
        }
        None
    }
}

impl<S, C, B> Pass<'_, S, C, B> {
    /// The last that is handed out.
    fn fail(&mut self, failure: Failure) -> Option<Result<B, DatasetError>> {
        self.taken = self.batches;
        Some(Err(DatasetError::new(failure)))
    }
}

impl<S, C, B> DataLoaderIterator<B> for Pass<'_, S, C, B> {
    fn progress(&self) -> Progress {
        let size = self.loader.shared.batch_size;
        Progress::new(self.taken * size, self.batches * size, Some("examples".to_owned()))
    }
}

#[cfg(test)]
#[path = "loader/tests.rs"]
mod tests;
