use std::sync::Arc;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::Source;
use crate::error::Result;

/// Some examples of a source.
#[derive(Debug)]
pub struct Subset<S> {
    source: Arc<S>,
    indices: Vec<usize>,
}

/// Keeps a share of a source's examples apart, drawn by a seed: returns those to learn from, then
/// those kept apart. Both stay in the source's order.
///
/// # Panics
/// If the share is not within 0 to 1.
pub fn split<S: Source>(source: S, share: f64, seed: u64) -> (Subset<S>, Subset<S>) {
    assert!((0.0..=1.0).contains(&share), "a share of {share} is not within 0 to 1");
    let kept = (source.len() as f64 * share).round() as usize;
    let mut indices: Vec<usize> = (0..source.len()).collect();
    indices.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut rest = indices.split_off(kept);
    indices.sort_unstable();
    rest.sort_unstable();
    let source = Arc::new(source);
    (Subset { source: Arc::clone(&source), indices: rest }, Subset { source, indices })
}

impl<S: Source> Source for Subset<S> {
    type Example = S::Example;

    fn len(&self) -> usize {
        self.indices.len()
    }

    fn example(&self, index: usize, random: &mut ChaCha8Rng) -> Result<S::Example> {
        self.source.example(self.indices[index], random)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    /// Its examples are their numbers.
    struct Numbers(usize);

    impl Source for Numbers {
        type Example = usize;

        fn len(&self) -> usize {
            self.0
        }

        fn example(&self, index: usize, _random: &mut ChaCha8Rng) -> Result<usize> {
            Ok(index)
        }
    }

    fn numbers(subset: &Subset<Numbers>) -> Vec<usize> {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        (0..subset.len()).map(|index| subset.example(index, &mut random).unwrap()).collect()
    }

    #[test]
    fn every_example_is_on_one_side() {
        let (rest, kept) = split(Numbers(10), 0.3, 7);
        let (rest, kept) = (numbers(&rest), numbers(&kept));
        assert_eq!(kept.len(), 3);
        let mut all = [rest, kept].concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn the_seed_decides() {
        let kept = |seed| numbers(&split(Numbers(100), 0.5, seed).1);
        assert_eq!(kept(1), kept(1));
        assert_ne!(kept(1), kept(2));
    }
}
