use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsAccumulator;
use burn::tensor::{Device, Tensor};
use burn::train::{
    EventProcessorTraining as _, InferenceStep, Interrupter, Learner, LearnerEvent,
    SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents,
    TrainingItem, ValidLoader,
};

use super::Plan;
use crate::report::{LOG_NAME, Log, Part, Record};
use crate::totals::{Added, Totals};
use crate::training_model::scaled;
use crate::{Error, Objective, Result, TrainingModel};

/// Trains on one device. Each step is an epoch to burn, so that validations and checkpoints can follow
/// any step, and an interruption costs none.
///
/// # Differences
/// burn's own strategy loses the epoch that is interrupted.
pub(super) struct Stepwise<O: Objective> {
    device: Device,
    plan: Plan,
    /// Batches that hold every example once.
    round: usize,
    state: Mutex<State>,
    failure: Mutex<Option<Error>>,
    observer: Observer<O>,
}

/// Is called at every event.
pub(super) type Observer<O> = Arc<dyn Fn(Event<'_, O>) -> Result<()> + Send + Sync>;

/// An event of a run.
#[derive(Debug)]
pub(super) enum Event<'a, O> {
    /// A line was written to the log.
    Logged(&'a Record),
    /// These weights have the lowest validation loss so far.
    Best(&'a O),
}

/// The state of the log and of validations.
struct State {
    log: File,
    /// Seconds of the run's earlier sessions.
    before: f64,
    since: Instant,
    /// The step of the last validation, and the lowest loss of all.
    validated: Option<usize>,
    best: f64,
    /// Batches of this session up to the first in which something counted.
    uncounted: usize,
    has_counted: bool,
}

impl<O: Objective> Stepwise<O> {
    /// Continues after the records of earlier sessions.
    pub(super) fn new(
        device: Device,
        plan: Plan,
        round: usize,
        log: File,
        earlier: &Log,
        observer: Observer<O>,
    ) -> Self {
        let seconds = |records: &[Record]| records.last().map_or(0.0, |record| record.seconds);
        let state = State {
            log,
            before: seconds(&earlier.train).max(seconds(&earlier.validation)),
            since: Instant::now(),
            validated: earlier.validation.last().map(|record| record.step as usize),
            best: earlier.validation.iter().map(|r| r.loss).fold(f64::INFINITY, f64::min),
            uncounted: 0,
            has_counted: false,
        };
        Self { device, plan, round, state: Mutex::new(state), failure: Mutex::default(), observer }
    }

    /// Takes the error that ended the run.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// If true, the weights after this step have to be validated, and were not yet.
    pub(super) fn validation_is_due(&self, step: usize) -> bool {
        let due = step.is_multiple_of(self.plan.validate_every) || step == self.plan.steps;
        due && step > self.state().validated.unwrap_or(0)
    }

    /// Stops the run if there is an error.
    fn keep_failure(&self, result: Result<()>, interrupter: &Interrupter) {
        if let Err(error) = result {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            interrupter.stop(None);
        }
    }

    fn failed(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Refuses to go on if nothing has counted in this session, although every example was seen: two
    /// rounds contain each, wherever they begin.
    fn check_counted(&self, added: Added, totals: &Totals, step: usize) -> Result<()> {
        let mut state = self.state();
        state.has_counted |= added != Added::Nothing;
        state.uncounted += usize::from(!state.has_counted);
        if state.has_counted || state.uncounted < 2 * self.round {
            return Ok(());
        }
        let metric =
            totals.without_weight().map_or_else(String::new, |metric| metric.name.to_string());
        Err(Error::EmptyMetric { metric, part: Part::Train, step })
    }

    fn log(&self, step: usize, part: Part, totals: &Totals, rate: Option<f64>) -> Result<Record> {
        // A mean over a few steps may have no example of a rare kind; a validation may not.
        if let (Part::Validation, Some(metric)) = (part, totals.without_examples()) {
            return Err(Error::EmptyMetric { metric: metric.name.to_string(), part, step });
        }
        let mut state = self.state();
        let record = Record {
            step: step as u64,
            part,
            loss: totals.loss(),
            measures: totals.values(),
            learning_rate: rate,
            seconds: state.before + state.since.elapsed().as_secs_f64(),
        };
        let written = state.log.write_all(&record.line());
        // A validation waits until its line and those before it are on the disk.
        let written = match part {
            Part::Train => written,
            Part::Validation => written.and_then(|()| state.log.sync_data()),
        };
        written.map_err(Error::io(Path::new(LOG_NAME), "write"))?;
        drop(state);
        (self.observer)(Event::Logged(&record))?;
        if record.loss.is_finite() {
            return Ok(record);
        }
        Err(Error::Diverged { step })
    }

    /// Notes a validation. If true, its loss is the lowest so far.
    fn is_best(&self, step: usize, loss: f64) -> bool {
        let mut state = self.state();
        state.validated = Some(step);
        let best = loss < state.best;
        state.best = state.best.min(loss);
        best
    }
}

impl<O: Objective> SupervisedLearningStrategy<TrainingModel<O>> for Stepwise<O> {
    fn fit(
        &self,
        components: TrainingComponents<TrainingModel<O>>,
        mut learner: Learner<TrainingModel<O>>,
        training: TrainLoader<TrainingModel<O>>,
        validation: ValidLoader<TrainingModel<O>>,
        first_step: usize,
    ) -> (TrainingModel<O>, Processor<O>) {
        learner.fork(&self.device);
        let TrainingComponents { interrupter, event_processor: mut processor, .. } = components;
        let mut checkpointer = components.checkpointer;
        let reached = first_step - 1;
        let mut step = reached;
        loop {
            // An earlier session may have ended between a step and its validation.
            if self.validation_is_due(step) {
                let done = self.validate(&learner, &validation, &mut processor, &interrupter, step);
                self.keep_failure(done, &interrupter);
            }
            interrupter.fail_on_error(processor.flush());
            if self.failed() || interrupter.error().is_some() {
                break;
            }
            if let Some(checkpointer) = checkpointer.as_mut().filter(|_| step > reached) {
                checkpointer.checkpoint(&learner, step, &components.event_store);
            }
            if interrupter.should_stop() || step >= self.plan.steps {
                break;
            }
            let done = self.learn(&mut learner, &training, &mut processor, &interrupter, &mut step);
            self.keep_failure(done, &interrupter);
            if self.failed() {
                break;
            }
        }
        (learner.model(), processor)
    }
}

/// Tells a run that diverged from one whose weights are not to blame.
fn named_cause<M: Module>(error: Error, model: &M) -> Error {
    let Error::Diverged { step } = error else { return error };
    let mut weights = AreFinite(true);
    model.visit(&mut weights);
    if weights.0 { Error::NotFinite { step } } else { error }
}

/// Visits weights until one is not finite.
struct AreFinite(bool);

impl ModuleVisitor for AreFinite {
    fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<D>>) {
        self.0 = self.0 && weight.val().is_finite().all().into_scalar::<bool>();
    }
}

type Processor<O> = SupervisedTrainingEventProcessor<TrainingModel<O>>;

impl<O: Objective> Stepwise<O> {
    /// Makes the steps of one pass of the loader, or those before an interruption.
    fn learn(
        &self,
        learner: &mut Learner<TrainingModel<O>>,
        batches: &TrainLoader<TrainingModel<O>>,
        processor: &mut Processor<O>,
        interrupter: &Interrupter,
        step: &mut usize,
    ) -> Result<()> {
        let total_items = batches.num_items();
        let before = *step;
        interrupter.fail_on_error(
            processor.process_train(LearnerEvent::StartSplit { epoch_number: *step, total_items }),
        );
        let mut batches = batches.iter();
        let mut totals = Totals::default();
        let mut gradients = GradientsAccumulator::new();
        let (mut accumulated, mut counted) = (0, 0);
        while let Some(batch) = batches.next() {
            if accumulated == 0 {
                // Dropout draws from the device: the same numbers at this step in every session.
                self.device.seed(self.plan.seed.wrapping_add(*step as u64));
            }
            let batch = batch.map_err(|error| Error::Training(error.to_string()))?;
            let output = learner.train_step(batch);
            let added = totals.add(output.item.clone());
            self.check_counted(added, &totals, *step)?;
            match added {
                // A loss over nothing says nothing, and neither do its gradients.
                Added::Nothing => {}
                Added::Loss(loss) if !loss.is_finite() => {
                    let rate = learner.lr_current().base();
                    let logged = self.log(*step + 1, Part::Train, &totals, Some(rate));
                    return logged.map(drop).map_err(|error| named_cause(error, &learner.model()));
                }
                Added::Loss(_) => {
                    gradients.accumulate(&learner.model(), output.grads);
                    counted += 1;
                }
            }
            accumulated += 1;
            if accumulated == self.plan.accumulation {
                accumulated = 0;
                learner.lr_step();
                if counted > 0 {
                    // The model divides by all batches of a step; these are the mean of its own.
                    let share = self.plan.accumulation as f64 / f64::from(counted);
                    let mean = scaled(&learner.model(), gradients.grads(), share);
                    learner.optimizer_step(mean);
                }
                counted = 0;
                *step += 1;
            }
            let (progress, rate) = (batches.progress(), learner.lr_current());
            // As in burn's own strategies, the metric of speed counts from the start of the pass.
            let steps = Some(*step - before);
            let item = TrainingItem::new(output.item, progress, steps, Some(rate));
            interrupter.fail_on_error(processor.process_train(LearnerEvent::ProcessedItem(item)));
            if accumulated > 0 {
                continue;
            }
            let is_due = step.is_multiple_of(self.plan.log_every) || interrupter.should_stop();
            if is_due && !totals.is_empty() {
                let rate = learner.lr_current().base();
                self.log(*step, Part::Train, &std::mem::take(&mut totals), Some(rate))?;
            }
            if interrupter.should_stop() {
                break;
            }
        }
        if !totals.is_empty() {
            self.log(*step, Part::Train, &totals, Some(learner.lr_current().base()))?;
        }
        interrupter.fail_on_error(processor.process_train(LearnerEvent::EndSplit(*step)));
        Ok(())
    }

    /// Measures the weights on all of the validation part, and saves the best.
    fn validate(
        &self,
        learner: &Learner<TrainingModel<O>>,
        batches: &ValidLoader<TrainingModel<O>>,
        processor: &mut Processor<O>,
        interrupter: &Interrupter,
        step: usize,
    ) -> Result<()> {
        let total_items = batches.num_items();
        interrupter.fail_on_error(
            processor.process_valid(LearnerEvent::StartSplit { epoch_number: step, total_items }),
        );
        let model = learner.model().valid();
        let mut batches = batches.iter();
        let mut totals = Totals::default();
        while let Some(batch) = batches.next() {
            let batch = batch.map_err(|error| Error::Training(error.to_string()))?;
            let output = InferenceStep::step(&model, batch);
            totals.add(output.clone());
            let item = TrainingItem::new(output, batches.progress(), Some(step), None);
            interrupter.fail_on_error(processor.process_valid(LearnerEvent::ProcessedItem(item)));
            if interrupter.should_stop() {
                // Half a validation is worthless: the next session repeats it.
                return Ok(());
            }
        }
        interrupter.fail_on_error(processor.process_valid(LearnerEvent::EndSplit(step)));
        interrupter.fail_on_error(processor.process_train(LearnerEvent::EndEpoch(step)));
        let record = self.log(step, Part::Validation, &totals, None);
        let record = record.map_err(|error| named_cause(error, &model))?;
        if self.is_best(step, record.loss) {
            (self.observer)(Event::Best(model.learned()))?;
        }
        Ok(())
    }
}
