use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The example at each place of a run, and its random numbers.
#[derive(Debug)]
pub(super) struct Order {
    examples: usize,
    /// Absent if examples come in order.
    seed: Option<u64>,
    /// The last permutation used, with its number: workers need the same one many times.
    permutation: Mutex<Option<(usize, Arc<[usize]>)>>,
}

/// Streams of one seed's generator: random numbers of examples, of batches and of the order must not
/// repeat each other.
const EXAMPLES: u64 = 0;
const BATCHES: u64 = 1 << 62;
const PERMUTATIONS: u64 = 2 << 62;

impl Order {
    /// Random permutations of all examples, one after the other.
    pub(super) fn shuffled(examples: usize, seed: u64) -> Self {
        Self::new(examples, Some(seed))
    }

    /// Examples in order, once.
    pub(super) fn fixed(examples: usize) -> Self {
        Self::new(examples, None)
    }

    fn new(examples: usize, seed: Option<u64>) -> Self {
        Self { examples, seed, permutation: Mutex::default() }
    }

    /// If true, examples come again after the last.
    pub(super) const fn repeats(&self) -> bool {
        self.seed.is_some()
    }

    /// The places of a batch.
    pub(super) fn positions(&self, batch: usize, size: usize) -> Range<usize> {
        let end = (batch + 1) * size;
        batch * size..if self.repeats() { end } else { end.min(self.examples) }
    }

    /// The example at a place.
    pub(super) fn example(&self, position: usize) -> usize {
        match self.seed {
            None => position,
            Some(_) => self.permutation(position / self.examples)[position % self.examples],
        }
    }

    /// Random numbers of the example at a place.
    pub(super) fn random(&self, position: usize) -> ChaCha8Rng {
        stream(self.seed, EXAMPLES + position as u64)
    }

    /// Random numbers of a batch.
    pub(super) fn batch_random(&self, batch: usize) -> ChaCha8Rng {
        stream(self.seed, BATCHES + batch as u64)
    }

    fn permutation(&self, number: usize) -> Arc<[usize]> {
        let mut last = self.permutation.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, permutation)) = last.as_ref()
            && *known == number
        {
            return Arc::clone(permutation);
        }
        let mut examples: Vec<usize> = (0..self.examples).collect();
        examples.shuffle(&mut stream(self.seed, PERMUTATIONS + number as u64));
        let permutation: Arc<[usize]> = examples.into();
        *last = Some((number, Arc::clone(&permutation)));
        permutation
    }
}

/// Random numbers of the example at a place of a [`Loader`](super::Loader) that is not shuffled. Use
/// them to measure the same examples one by one.
#[must_use]
pub fn validation_random(position: usize) -> ChaCha8Rng {
    stream(None, EXAMPLES + position as u64)
}

fn stream(seed: Option<u64>, number: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed.unwrap_or_default());
    random.set_stream(number);
    random
}
