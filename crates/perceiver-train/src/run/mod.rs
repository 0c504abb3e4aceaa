//! A run: from fresh weights, or from where an earlier one ended, to learned ones.

mod checkpoints;
mod dashboard;
mod quiet;
mod stepwise;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::module::Module as _;
use burn::optim::ModuleOptimizer;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::tensor::Device;
use burn::train::metric::{IterationSpeedMetric, LearningRateMetric, LossMetric};
use burn::train::renderer::MetricsRenderer;
use burn::train::{
    ExecutionStrategy, InferenceStep, Interrupter, Learner, MultiDeviceOptim, SupervisedTraining,
    TrainingStrategy,
};
use tempfile::NamedTempFile;

use self::checkpoints::{Checkpoints, KeepLast};
use self::dashboard::QuantityMetric;
use self::quiet::Quiet;
pub use self::stepwise::Event;
use self::stepwise::{Observer, Stepwise};
use crate::report::{LOG_NAME, Log};
use crate::{Error, Objective, Quantity, Result, Trainee};

/// Name of the folder, in a run's own, of the states from which it can go on.
pub const CHECKPOINTS_NAME: &str = "checkpoints";

/// All that a run is made of.
#[expect(missing_debug_implementations, reason = "burn's learner and loaders have none")]
pub struct Run<O: Objective> {
    /// Where the log and the checkpoints are.
    pub folder: PathBuf,
    /// Steps that an earlier run in the folder made, as [`step_reached`] tells; 0 of a new one.
    pub reached: usize,
    /// How long, and how often what.
    pub plan: Plan,
    /// What learns, with weights that are fresh or loaded.
    pub trainee: Trainee<O>,
    /// How weights follow gradients.
    pub optimiser: ModuleOptimizer,
    /// The learning rate by step.
    pub schedule: ModuleLrScheduler,
    /// Batches to learn from: `accumulation` a step on each device, `validate_every` steps a pass,
    /// beginning after those `reached`.
    pub training: Arc<dyn DataLoader<O::Batch>>,
    /// Batches to measure on.
    pub validation: Arc<dyn DataLoader<O::Batch>>,
    /// Where to train, without autodiff. Several share the batches by burn's own strategy.
    pub devices: Vec<Device>,
    /// By which the run can be stopped between two steps.
    pub interrupter: Interrupter,
    /// Whether burn's dashboard is shown on the terminal.
    pub dashboard: bool,
}

/// How long a run is, and how often it does what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Steps of the optimiser.
    pub steps: usize,
    /// Batches whose gradients make a step.
    pub accumulation: usize,
    /// Steps between two validations, and two checkpoints.
    pub validate_every: usize,
    /// Steps that a line of the log is the mean of.
    pub log_every: usize,
    /// Of what is drawn while learning.
    pub seed: u64,
    /// Whether memory-bound operations are computed again in the backward pass, not kept.
    pub gradient_checkpointing: bool,
}

/// How a run ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All steps were made, and the last of them validated.
    Complete,
    /// It was stopped, and can go on from here.
    Interrupted {
        /// Steps that were made.
        step: usize,
    },
}

/// The step after which a run in this folder goes on: that of the last checkpoint that can be
/// read, zero without one.
///
/// # Errors
/// [`Error::Io`] where the folder cannot be read.
pub fn step_reached(folder: &Path) -> Result<usize> {
    Ok(Checkpoints::new(folder.join(CHECKPOINTS_NAME)).last_readable()?.unwrap_or(0))
}

impl<O: Objective> Run<O> {
    /// Trains to the end of the plan, from the checkpoint of the steps `reached`.
    /// Tells `observer` every line of the log and every best model.
    ///
    /// # Errors
    /// Where the log or a checkpoint cannot be written, no example can be read, the loss is no
    /// longer a number, or the observer fails. The last checkpoint stays.
    pub fn start(
        self,
        observer: impl Fn(Event<'_, O>) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Ending> {
        fs::create_dir_all(&self.folder).map_err(Error::io(&self.folder, "create"))?;
        let observer: Observer<O> = Arc::new(observer);
        // Our strategy counts in steps, burn's own in passes of the loader.
        let steps_an_epoch = if self.devices.len() == 1 { 1 } else { self.plan.validate_every };
        let folder = self.folder.join(CHECKPOINTS_NAME);
        let checkpoints = Checkpoints::new(folder).with_steps_an_epoch(steps_an_epoch);
        checkpoints.remove_unfinished()?;
        let reached = self.reached;
        let (log, earlier) = open_log(&self.folder.join(LOG_NAME), reached)?;
        let mut steps = checkpoints.steps()?;
        steps.retain(|step| *step <= reached);
        let epochs = steps.into_iter().map(|step| step / steps_an_epoch).collect();

        let quantities = if self.dashboard { self.quantities() } else { Vec::new() };
        let interrupter = self.interrupter.clone();
        let [model, optimiser, schedule] = checkpoints.parts();
        let mut training = SupervisedTraining::new(&self.folder, self.training, self.validation)
            .metrics((LossMetric::new(),))
            .metric_train(LearningRateMetric::new())
            .metric_train(IterationSpeedMetric::new())
            .with_custom_checkpointers(model, optimiser, schedule)
            .with_checkpointing_strategy(KeepLast::after(epochs))
            .with_interrupter(interrupter.clone())
            .with_application_logger(None)
            .renderer(renderer(self.dashboard, &interrupter, (reached > 0).then_some(reached)))
            .num_epochs(self.plan.steps / steps_an_epoch);
        let checkpoint = (reached > 0).then_some(reached / steps_an_epoch);
        if let Some(epoch) = checkpoint {
            training = training.checkpoint(epoch);
        }
        for quantity in quantities {
            let metric = QuantityMetric::new(quantity);
            training = training.metric_train_numeric(metric.clone()).metric_valid_numeric(metric);
        }
        let (training, stepwise) = match self.devices.as_slice() {
            [device] => {
                let device = device.clone().autodiff();
                let device = match self.plan.gradient_checkpointing {
                    true => device.gradient_checkpointing(),
                    false => device,
                };
                let stepwise = Arc::new(Stepwise::new(
                    device,
                    self.plan,
                    log,
                    &earlier,
                    Arc::clone(&observer),
                ));
                let strategy = TrainingStrategy::Custom(Arc::clone(&stepwise) as Arc<_>);
                let training = training.with_metric_logger(quiet::NoLog);
                (training.with_training_strategy(strategy), Some(stepwise))
            }
            devices => {
                let strategy =
                    ExecutionStrategy::multi(devices.to_vec(), MultiDeviceOptim::OptimMainDevice);
                let training = training.grads_accumulation(self.plan.accumulation);
                let training = match self.plan.gradient_checkpointing {
                    true => training.gradient_checkpointing(),
                    false => training,
                };
                (training.with_training_strategy(strategy.into()), None)
            }
        };
        let result = training.launch(Learner::new(self.trainee, self.optimiser, self.schedule));
        if let Some(error) = stepwise.as_ref().and_then(|stepwise| stepwise.take_failure()) {
            return Err(error);
        }
        if let Some(error) = result.error {
            return Err(Error::Training(error.to_string()));
        }
        let step = checkpoints.steps()?.last().copied().unwrap_or(0);
        let unvalidated = stepwise.is_some_and(|stepwise| stepwise.validation_is_due(step));
        let ending = match step < self.plan.steps || unvalidated {
            true => Ending::Interrupted { step },
            false => Ending::Complete,
        };
        if self.devices.len() > 1 {
            // Burn's strategy tells of no validation: the last weights count.
            observer(Event::Best(result.model.learned()))?;
        }
        Ok(ending)
    }

    /// What the objective measures, seen on a first batch: the dashboard wants to know before.
    fn quantities(&self) -> Vec<Quantity> {
        let Some(Ok(batch)) = self.validation.iter().next() else { return Vec::new() };
        let outcome = InferenceStep::step(&self.trainee.valid(), batch);
        outcome.measures.iter().map(|measure| measure.quantity).collect()
    }
}

/// The log to go on writing, and what it says of the steps up to `reached`: what a run that was
/// killed wrote after its last checkpoint is made again.
fn open_log(path: &Path, reached: usize) -> Result<(File, Log)> {
    let mut log = if path.exists() { Log::read(path)? } else { Log::default() };
    for records in [&mut log.train, &mut log.validation] {
        records.retain(|record| record.step as usize <= reached);
    }
    let mut records: Vec<_> = log.train.iter().chain(&log.validation).collect();
    records.sort_by_key(|record| record.step);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder).map_err(Error::io(path, "write"))?;
    for record in records {
        file.write_all(&record.line()).map_err(Error::io(path, "write"))?;
    }
    let file = file.persist(path).map_err(|error| Error::io(path, "write")(error.error))?;
    Ok((file, log))
}

fn renderer(
    dashboard: bool,
    interrupter: &Interrupter,
    reached: Option<usize>,
) -> Box<dyn MetricsRenderer> {
    #[cfg(feature = "tui")]
    if dashboard {
        let interrupter = interrupter.clone();
        return Box::new(burn::train::renderer::tui::TuiMetricsRendererWrapper::new(
            interrupter,
            reached,
        ));
    }
    let _ = (dashboard, interrupter, reached);
    Box::new(Quiet)
}
