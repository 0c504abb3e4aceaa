//! Prepares inputs on other threads while the model works on the previous ones.

use std::sync::Arc;

use crate::preparation::{Cost, Preparation, Prepared};
use crate::{Input, Result};

#[cfg(target_family = "wasm")]
pub(crate) use self::inline::Prefetch;
#[cfg(not(target_family = "wasm"))]
pub(crate) use self::threads::Prefetch;

/// Inputs that were prepared together, each with its cost.
pub(crate) type Batch = Vec<(Result<Prepared>, Cost)>;

#[cfg(not(target_family = "wasm"))]
mod threads {
    use std::panic::resume_unwind;
    use std::sync::mpsc::{Receiver, sync_channel};
    use std::thread::{self, JoinHandle};

    use super::*;

    /// Batches in the order of the inputs. One is prepared while another is in use, so two are in
    /// memory, however many inputs there are.
    #[derive(Debug)]
    pub(crate) struct Prefetch {
        batches: Receiver<Batch>,
        thread: Option<JoinHandle<()>>,
    }

    impl Prefetch {
        pub(crate) fn new(
            preparation: Arc<Preparation>,
            mut inputs: impl Iterator<Item = Input> + Send + 'static,
            batch: usize,
        ) -> Self {
            // A channel without a buffer: a prepared batch waits in its thread until it is taken.
            let (sender, batches) = sync_channel(0);
            let thread = thread::spawn(move || {
                loop {
                    let batch: Vec<Input> = inputs.by_ref().take(batch).collect();
                    if batch.is_empty() || sender.send(prepare(&preparation, &batch)).is_err() {
                        return;
                    }
                }
            });
            Self { batches, thread: Some(thread) }
        }
    }

    impl Iterator for Prefetch {
        type Item = Batch;

        fn next(&mut self) -> Option<Batch> {
            if let Ok(batch) = self.batches.recv() {
                return Some(batch);
            }
            if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
                resume_unwind(panic);
            }
            None
        }
    }

    fn prepare(preparation: &Preparation, inputs: &[Input]) -> Batch {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let share = inputs.len().div_ceil(threads);
        thread::scope(|scope| {
            let shares = inputs.chunks(share).map(|inputs| {
                scope.spawn(|| inputs.iter().map(|input| preparation.prepare(input)).collect())
            });
            let shares: Vec<thread::ScopedJoinHandle<'_, Batch>> = shares.collect();
            let prepared = shares.into_iter().map(|share| share.join());
            prepared.flat_map(|share| share.unwrap_or_else(|panic| resume_unwind(panic))).collect()
        })
    }
}

/// WebAssembly has no threads to spawn.
#[cfg(any(test, target_family = "wasm"))]
mod inline {
    use std::fmt::{self, Debug, Formatter};

    use super::*;

    /// Batches in the order of the inputs, each prepared when it is requested.
    pub(crate) struct Prefetch {
        preparation: Arc<Preparation>,
        inputs: Box<dyn Iterator<Item = Input> + Send>,
        batch: usize,
    }

    impl Prefetch {
        pub(crate) fn new(
            preparation: Arc<Preparation>,
            inputs: impl Iterator<Item = Input> + Send + 'static,
            batch: usize,
        ) -> Self {
            Self { preparation, inputs: Box::new(inputs), batch }
        }
    }

    impl Iterator for Prefetch {
        type Item = Batch;

        fn next(&mut self) -> Option<Batch> {
            let inputs = self.inputs.by_ref().take(self.batch);
            let batch: Batch = inputs.map(|input| self.preparation.prepare(&input)).collect();
            (!batch.is_empty()).then_some(batch)
        }
    }

    impl Debug for Prefetch {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            f.debug_struct("Prefetch").field("batch", &self.batch).finish_non_exhaustive()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use perceiver_models::{Head, PerceiverConfig};

    use super::*;
    use crate::model_files::ModelFiles;

    /// The tokens of each text of each batch; `None` for a text that the model does not accept.
    fn tokens(batches: impl Iterator<Item = Batch>) -> Vec<Vec<Option<Prepared>>> {
        let batch = |batch: Batch| batch.into_iter().map(|(prepared, _)| prepared.ok()).collect();
        batches.map(batch).collect()
    }

    #[test]
    fn batches_are_the_same_with_and_without_threads() {
        let (files, config) = (ModelFiles::Memory(&[]), PerceiverConfig::default());
        let head = Head::SequenceClassification;
        let preparation = Preparation::load(files, head, &config, &mut Vec::new()).unwrap();
        let preparation = Arc::new(preparation);
        let inputs = || ["one", "", "three", "four", "five"].map(Input::from).into_iter();
        let threads = tokens(Prefetch::new(Arc::clone(&preparation), inputs(), 2));
        let inline = tokens(inline::Prefetch::new(preparation, inputs(), 2));
        assert_eq!(threads, inline);
        assert_eq!(threads.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(threads[0][1], None);
        let five = b"five".map(|byte| u32::from(byte) + 6);
        assert_eq!(threads[2][0], Some(Prepared::Text([&[4], &five[..], &[5]].concat())));
    }
}
