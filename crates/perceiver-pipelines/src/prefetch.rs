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
#[cfg(target_family = "wasm")]
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
