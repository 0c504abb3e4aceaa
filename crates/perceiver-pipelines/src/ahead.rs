//! Inputs made ready on other threads, while the model is busy with those before them.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use crate::preparation::{Cost, Preparation, Prepared};
use crate::{Input, Result};

/// Inputs that were prepared together, each with what it cost.
pub(crate) type Batch = Vec<(Result<Prepared>, Cost)>;

/// Batches in the order of the inputs. One is made ready while another is worked on, so that
/// two are in memory, however many inputs there are.
#[derive(Debug)]
pub(crate) struct Ahead {
    batches: Receiver<Batch>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    pub(crate) fn new(
        preparation: Arc<Preparation>,
        mut inputs: impl Iterator<Item = Input> + Send + 'static,
        batch: usize,
    ) -> Self {
        // Nothing is kept between the threads: who has a batch waits until it is taken.
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

impl Iterator for Ahead {
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
