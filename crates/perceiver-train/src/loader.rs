//! Batches in an order that a seed fixes, prepared by several threads.

mod builder;
mod order;

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use perceiver_data::{Remarks, Source};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub use self::builder::LoaderBuilder;
use self::order::Order;
pub use self::order::validation_random;

/// Batches that a worker prepares in advance.
const AHEAD: usize = 2;

/// Makes a batch of examples: burn's `Batcher`, with random numbers that a seed fixes.
///
/// Functions implement it: `fn(Vec<E>, &mut ChaCha8Rng, &Device) -> Batch`.
pub trait Collate<E>: Send + Sync {
    /// Inputs and targets, on a device.
    type Batch;

    /// Makes a batch. Everything random in it (mixtures, hidden labels, points) comes from `random`
    /// alone, so that a run can be repeated.
    fn batch(&self, examples: Vec<E>, random: &mut ChaCha8Rng, device: &Device) -> Self::Batch;
}

impl<E, B, F> Collate<E> for F
where
    F: Fn(Vec<E>, &mut ChaCha8Rng, &Device) -> B + Send + Sync,
{
    type Batch = B;

    fn batch(&self, examples: Vec<E>, random: &mut ChaCha8Rng, device: &Device) -> B {
        self(examples, random, device)
    }
}

/// burn's data loader over a [`Source`]. Batch `k` is always the same, however many threads work and
/// whichever batch a run begins with. [`LoaderBuilder`] builds it.
///
/// Skips examples that cannot be read; [`skipped`](Self::skipped) counts and names them. A pass ends
/// in an error if no example can be read or a thread panics.
///
/// # Differences
/// burn's own loader returns batches in the order in which threads finish them.
#[derive(Debug)]
pub struct Loader<S, C> {
    shared: Arc<Shared<S, C>>,
    device: Device,
    passes: Passes,
    /// The index of the device that this loader serves, and the number of devices.
    share: (usize, usize),
    /// The first batch of the next iterator.
    next: AtomicUsize,
}

/// How the batches of a loader are divided among its iterators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passes {
    /// The first batch.
    pub(crate) start: usize,
    /// Batches of an iterator, which ends at the next multiple of them.
    pub(crate) batches: usize,
    /// The batch after the last.
    pub(crate) end: usize,
}

#[derive(Debug)]
struct Shared<S, C> {
    source: S,
    collate: C,
    order: Order,
    batch_size: usize,
    workers: usize,
    skipped: Mutex<SkippedPlaces>,
}

/// The examples that could not be read, which a shuffled loader meets again and again.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct SkippedPlaces {
    examples: BTreeSet<usize>,
    reasons: Vec<String>,
}

impl SkippedPlaces {
    pub(crate) fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    fn add_reason(&mut self, reason: String) {
        if self.reasons.len() < REASONS && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }
}

/// Examples that could not be read.
#[derive(Debug, Clone, Default)]
pub struct Skipped {
    /// Their number.
    pub count: usize,
    /// Why the first few could not be read.
    pub reasons: Vec<String>,
}

impl Skipped {
    /// Files that were left out when the data was opened.
    pub(crate) fn left_out(mut reasons: Vec<String>) -> Self {
        let count = reasons.len();
        reasons.truncate(REASONS);
        Self { count, reasons }
    }

    /// The examples of both.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.count += other.count;
        self.reasons.extend(other.reasons);
        self
    }
}

/// Reasons to keep.
const REASONS: usize = 10;

impl<S, C> Loader<S, C> {
    fn new(
        source: S,
        collate: C,
        order: Order,
        batch_size: usize,
        workers: usize,
        passes: Passes,
        device: Device,
    ) -> Self {
        let skipped = Mutex::default();
        let shared = Shared { source, collate, order, batch_size, workers, skipped };
        let next = AtomicUsize::new(passes.start);
        Self { shared: Arc::new(shared), device, passes, share: (0, 1), next }
    }

    /// The same examples, divided otherwise and on another device.
    pub(crate) fn with_passes(&self, passes: Passes, device: &Device) -> Self {
        let next = AtomicUsize::new(passes.start);
        Self { passes, next, ..self.sharing(self.share, device) }
    }

    pub(crate) const fn passes(&self) -> Passes {
        self.passes
    }

    /// If true, examples come in random order without end.
    pub(crate) fn is_shuffled(&self) -> bool {
        self.shared.order.repeats()
    }

    /// Examples of a batch.
    pub(crate) fn batch_size(&self) -> usize {
        self.shared.batch_size
    }

    /// Number of examples, readable or not.
    pub(crate) fn examples(&self) -> usize
    where
        S: Source,
    {
        self.shared.source.len()
    }

    /// The source's [remarks](Source::remarks).
    pub(crate) fn remarks(&self) -> Remarks
    where
        S: Source,
    {
        self.shared.source.remarks()
    }

    /// Examples that could not be read so far. One that is met again counts once.
    #[must_use]
    pub fn skipped(&self) -> Skipped {
        let skipped = self.shared.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        Skipped { count: skipped.examples.len(), reasons: skipped.reasons.clone() }
    }

    /// Those of [`skipped`](Self::skipped) by their places.
    pub(crate) fn skipped_places(&self) -> SkippedPlaces {
        self.shared.skipped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts what an earlier session of a run could not read.
    pub(crate) fn remember_skipped(&self, places: SkippedPlaces) {
        let mut skipped = self.shared.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.examples.extend(places.examples);
        for reason in places.reasons {
            skipped.add_reason(reason);
        }
    }

    /// Begins to count skipped examples anew.
    pub(crate) fn forget_skipped(&self) {
        *self.shared.skipped.lock().unwrap_or_else(PoisonError::into_inner) =
            SkippedPlaces::default();
    }

    /// The batches of the next iterator: up to the next multiple of a pass, or to the end.
    fn pass(&self) -> Range<usize> {
        let next = self.next.load(Ordering::Relaxed);
        let next = if self.shared.order.repeats() { next } else { 0 };
        let Passes { batches, end, .. } = self.passes;
        next..((next / batches + 1) * batches).min(end)
    }
}

impl<S: Source, C: Collate<S::Example>> Shared<S, C> {
    /// Batch number `index` of the examples that can be read; none if there is no such example.
    fn batch(&self, index: usize, device: &Device) -> Option<C::Batch> {
        // A run counts its steps in batches. So a batch without readable examples takes those of a
        // later one. Two rounds contain each example, wherever they begin.
        let tried = match self.order.repeats() {
            true => 2 * self.source.len().div_ceil(self.batch_size),
            false => 1,
        };
        let mut batches = (index..index + tried).map(|index| self.readable(index));
        let examples = batches.find(|examples| !examples.is_empty())?;
        Some(self.collate.batch(examples, &mut self.order.batch_random(index), device))
    }

    fn readable(&self, batch: usize) -> Vec<S::Example> {
        let mut examples = Vec::new();
        for position in self.order.positions(batch, self.batch_size) {
            let example = self.order.example(position);
            match self.source.example(example, &mut self.order.random(position)) {
                Ok(example) => examples.push(example),
                Err(error) => self.skip(example, error.to_string()),
            }
        }
        examples
    }

    fn skip(&self, example: usize, reason: String) {
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.examples.insert(example);
        skipped.add_reason(reason);
    }
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no example could be read: {first}")]
    NothingReadable { first: String },
    #[error("cannot start a thread that prepares batches: {0}")]
    NoThread(io::Error),
    #[error("a thread that prepares batches panicked after {made} of {expected} batches")]
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
        let mut refused = None;
        let receivers = (0..workers).map(|worker| {
            let (sender, receiver) = sync_channel(AHEAD);
            let (shared, device) = (Arc::clone(&self.shared), self.device.clone());
            let mut batches =
                pass.clone().skip(first + worker * devices).step_by(workers * devices);
            let spawned = std::thread::Builder::new().spawn(move || {
                // Ends after the last batch, or when the iterator is dropped.
                while let Some(index) = batches.next()
                    && sender.send(shared.batch(index, &device)).is_ok()
                {}
            });
            refused = refused.take().or(spawned.err());
            receiver
        });
        let receivers = receivers.collect();
        let own = pass.len().saturating_sub(first).div_ceil(devices);
        Box::new(Pass {
            receivers,
            refused,
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

    /// One of equal parts: burn cuts a loader into slices for several devices.
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
            passes: self.passes,
            share,
            next: AtomicUsize::new(self.next.load(Ordering::Relaxed)),
        }
    }
}

/// An iterator that takes batches from the workers in turn.
struct Pass<'a, S, C, B> {
    /// None stands for a batch without a readable example.
    receivers: Vec<Receiver<Option<B>>>,
    /// The error of a worker that could not start.
    refused: Option<io::Error>,
    loader: &'a Loader<S, C>,
    taken: usize,
    /// If true, there was a readable example.
    read: bool,
    batches: usize,
    pass: Range<usize>,
}

impl<S, C, B> Iterator for Pass<'_, S, C, B> {
    type Item = Result<B, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.taken < self.batches {
            // A worker that hung up has panicked, if it ever started.
            let Ok(batch) = self.receivers[self.taken % self.receivers.len()].recv() else {
                let (made, expected) = (self.taken, self.batches);
                let ended = Failure::ThreadEnded { made, expected };
                let failure = self.refused.take().map_or(ended, Failure::NoThread);
                return self.fail(failure);
            };
            self.taken += 1;
            let reached = self.pass.start + self.taken * self.loader.share.1;
            self.loader.next.store(reached.min(self.pass.end), Ordering::Relaxed);
            self.read |= batch.is_some();
            if let Some(batch) = batch {
                return Some(Ok(batch));
            }
            // A shuffled batch has tried every example.
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
    /// Ends the pass with an error.
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
