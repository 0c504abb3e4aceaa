//! Prepares inputs on other threads while the model works on the previous ones.

use crate::Input;

#[cfg(target_family = "wasm")]
pub(crate) use self::inline::Prefetch;
#[cfg(not(target_family = "wasm"))]
pub(crate) use self::threads::Prefetch;

#[cfg(not(target_family = "wasm"))]
mod threads {
    use std::panic::resume_unwind;
    use std::sync::mpsc::{Receiver, sync_channel};
    use std::sync::{Arc, Mutex, PoisonError};
    use std::thread::{self, JoinHandle};

    use super::*;

    /// Batches in the order of the inputs. One is prepared while another is in use, so two are in
    /// memory, however many inputs there are.
    #[derive(Debug)]
    pub(crate) enum Prefetch<T> {
        Threads {
            batches: Receiver<Vec<T>>,
            thread: Option<JoinHandle<()>>,
        },
        /// The system had no thread to spare.
        Inline(inline::Prefetch<T>),
    }

    impl<T: Send + 'static> Prefetch<T> {
        pub(crate) fn new(
            prepare: impl Fn(&Input) -> T + Send + Sync + 'static,
            inputs: impl Iterator<Item = Input> + Send + 'static,
            batch: usize,
        ) -> Self {
            // A channel without a buffer: a prepared batch waits in its thread until it is taken.
            let (sender, batches) = sync_channel(0);
            // Shared, because a thread that cannot start takes its closure with it.
            let work = Arc::new(Mutex::new(Some((prepare, inputs))));
            let take = {
                let work = Arc::clone(&work);
                move || work.lock().unwrap_or_else(PoisonError::into_inner).take()
            };
            let thread = thread::Builder::new().spawn(move || {
                let Some((prepare, mut inputs)) = take() else { return };
                loop {
                    let batch: Vec<Input> = inputs.by_ref().take(batch).collect();
                    if batch.is_empty() || sender.send(prepare_all(&prepare, &batch)).is_err() {
                        return;
                    }
                }
            });
            let left = || work.lock().unwrap_or_else(PoisonError::into_inner).take();
            match (thread, batches) {
                (Ok(thread), batches) => Self::Threads { batches, thread: Some(thread) },
                (Err(error), _) => {
                    let (prepare, inputs) =
                        left().unwrap_or_else(|| panic!("a thread took the work: {error}"));
                    Self::Inline(inline::Prefetch::new(prepare, inputs, batch))
                }
            }
        }
    }

    impl<T: Send + 'static> Iterator for Prefetch<T> {
        type Item = Vec<T>;

        fn next(&mut self) -> Option<Vec<T>> {
            let (batches, thread) = match self {
                Self::Threads { batches, thread } => (batches, thread),
                Self::Inline(inline) => return inline.next(),
            };
            if let Ok(batch) = batches.recv() {
                return Some(batch);
            }
            if let Some(Err(panic)) = thread.take().map(JoinHandle::join) {
                resume_unwind(panic);
            }
            None
        }
    }

    fn prepare_all<T: Send>(prepare: &(impl Fn(&Input) -> T + Sync), inputs: &[Input]) -> Vec<T> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let share = inputs.len().div_ceil(threads);
        let prepared = |inputs: &[Input]| inputs.iter().map(prepare).collect::<Vec<T>>();
        thread::scope(|scope| {
            let shares = inputs.chunks(share).map(|inputs| {
                let spawned = thread::Builder::new().spawn_scoped(scope, move || prepared(inputs));
                spawned.map_err(|_| inputs)
            });
            let shares: Vec<_> = shares.collect();
            let results = shares.into_iter().map(|share| match share {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                // The system had no thread to spare.
                Err(inputs) => prepared(inputs),
            });
            results.flatten().collect()
        })
    }
}

/// WebAssembly has no threads to spawn, and another system may refuse them.
mod inline {
    use std::fmt::{self, Debug, Formatter};

    use super::*;

    /// Batches in the order of the inputs, each prepared when it is requested.
    pub(crate) struct Prefetch<T> {
        prepare: Box<dyn Fn(&Input) -> T + Send + Sync>,
        inputs: Box<dyn Iterator<Item = Input> + Send>,
        batch: usize,
    }

    impl<T: Send + 'static> Prefetch<T> {
        pub(crate) fn new(
            prepare: impl Fn(&Input) -> T + Send + Sync + 'static,
            inputs: impl Iterator<Item = Input> + Send + 'static,
            batch: usize,
        ) -> Self {
            Self { prepare: Box::new(prepare), inputs: Box::new(inputs), batch }
        }
    }

    impl<T> Iterator for Prefetch<T> {
        type Item = Vec<T>;

        fn next(&mut self) -> Option<Vec<T>> {
            let inputs = self.inputs.by_ref().take(self.batch);
            let batch: Vec<T> = inputs.map(|input| (self.prepare)(&input)).collect();
            (!batch.is_empty()).then_some(batch)
        }
    }

    impl<T> Debug for Prefetch<T> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            f.debug_struct("Prefetch").field("batch", &self.batch).finish_non_exhaustive()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::sync::Arc;

    use perceiver_models::{Head, PerceiverConfig};

    use super::*;
    use crate::Result;
    use crate::long_texts::LongTexts;
    use crate::model_files::ModelFiles;
    use crate::preparation::{Preparation, Prepared};

    /// The tokens of each text of each batch; `None` for a text that the model does not accept.
    fn tokens(batches: impl Iterator<Item = Vec<Result<Prepared>>>) -> Vec<Vec<Option<Prepared>>> {
        batches.map(|batch| batch.into_iter().map(Result::ok).collect()).collect()
    }

    #[test]
    fn batches_are_the_same_with_and_without_threads() {
        let (files, config) = (ModelFiles::memory(&[]), PerceiverConfig::default());
        let head = Head::SequenceClassification;
        let preparation = Preparation::load(files, head, &config, &mut Vec::new()).unwrap();
        let preparation = Arc::new(preparation);
        let inputs = || ["one", "", "three", "four", "five"].map(Input::from).into_iter();
        let prepare = move |input: &Input| preparation.prepare(input, LongTexts::Refuse).0;
        let threads = tokens(Prefetch::new(prepare.clone(), inputs(), 2));
        let inline = tokens(inline::Prefetch::new(prepare, inputs(), 2));
        assert_eq!(threads, inline);
        assert_eq!(threads.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(threads[0][1], None);
        let five = b"five".map(|byte| u32::from(byte) + 6);
        assert_eq!(threads[2][0], Some(Prepared::Text([&[4], &five[..], &[5]].concat())));
    }
}
