use std::fmt;

use burn::train::Interrupter;

/// Stops a run between two steps: from another thread, a handler of Ctrl-C or
/// [`on_progress`](super::TrainingRun::on_progress).
///
/// ```no_run
/// use perceiver_train::{Ending, Error, Metric, Objective, StopHandle, TrainingEvent, TrainingRun};
///
/// # fn train(run: TrainingRun<impl Objective>) -> Result<(), Error> {
/// let stop = StopHandle::default();
/// let handle = stop.clone();
/// let run = run.stop_handle(&stop).on_progress(move |event| {
///     if let TrainingEvent::Logged(record) = event
///         && record.measures.get(&Metric::ACCURACY) == Some(100.0)
///     {
///         handle.stop();
///     }
/// });
/// if let Ending::Interrupted { step } = run.train()?.ending {
///     println!("stopped after step {step}; `resume(true)` continues there");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct StopHandle(pub(super) Interrupter);

impl StopHandle {
    /// Stops the run after its current step, with a checkpoint to resume from. May be called from any
    /// thread, at any time, more than once.
    pub fn stop(&self) {
        self.0.stop(None);
    }
}

impl fmt::Debug for StopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StopHandle").field(&self.0.should_stop()).finish()
    }
}
