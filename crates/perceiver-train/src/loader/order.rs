use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Which example stands at which place of a run, and what is drawn there.
#[derive(Debug)]
pub(super) struct Order {
    examples: usize,
    /// None where examples come as they stand.
    seed: Option<u64>,
    /// The last permutation that was asked for, with its number: workers ask for the same one
    /// many times.
    permutation: Mutex<Option<(usize, Arc<[usize]>)>>,
}

/// Streams of one seed's generator: what is drawn for examples, for batches and for the order
/// must not repeat each other.
const EXAMPLES: u64 = 0;
const BATCHES: u64 = 1 << 62;
const PERMUTATIONS: u64 = 2 << 62;

impl Order {
    /// Random permutations of all examples, one after the other.
    pub(super) fn shuffled(examples: usize, seed: u64) -> Self {
        Self::new(examples, Some(seed))
    }

    /// Examples as they stand, once.
    pub(super) fn fixed(examples: usize) -> Self {
        Self::new(examples, None)
    }

    fn new(examples: usize, seed: Option<u64>) -> Self {
        assert!(examples > 0, "there is no example");
        Self { examples, seed, permutation: Mutex::default() }
    }

    /// Whether examples come again after the last.
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

    /// What an example draws from at a place.
    pub(super) fn random(&self, position: usize) -> ChaCha8Rng {
        stream(self.seed, EXAMPLES + position as u64)
    }

    /// What a batch draws from.
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

/// What the example at a place of [`Loader::validation`](super::Loader::validation) draws from, for
/// who measures the same examples one by one.
#[must_use]
pub fn validation_random(position: usize) -> ChaCha8Rng {
    stream(None, EXAMPLES + position as u64)
}

fn stream(seed: Option<u64>, number: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed.unwrap_or_default());
    random.set_stream(number);
    random
}
