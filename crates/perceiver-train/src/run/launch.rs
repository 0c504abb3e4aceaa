use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataloader::DataLoader;
use burn::module::{DisplaySettings, Module as _};
use burn::train::metric::{IterationSpeedMetric, LearningRateMetric, LossMetric};
use burn::train::renderer::MetricsRenderer;
use burn::train::{
    ExecutionStrategy, InferenceStep, Interrupter, Learner, MultiDeviceOptim, SupervisedTraining,
    TrainingStrategy,
};

use super::checkpoints::{Checkpoints, KeepLast};
use super::dashboard::DashboardMetric;
use super::folder::check_folder;
use super::lock::FolderLock;
use super::null_renderer::{NoLog, NullRenderer};
use super::reports::{open_log, write_reports, write_whole};
use super::stepwise::{Event, Observer, Stepwise};
use super::tied_settings::{SETTINGS_NAME, TiedSettings, read_saved};
use super::{
    CHECKPOINTS_NAME, Ending, Finished, OnProgress, Resume, Save, TrainingEvent, TrainingRun,
};
use crate::loader::{Passes, SkippedPlaces};
use crate::report::{LOG_NAME, TrainingSummary};
use crate::{Error, Metric, Objective, Result, Skipped, TrainingModel, UpdateRules};

/// Name of the file with the examples that could not be read, beside the checkpoints.
const SKIPPED_NAME: &str = "skipped.json";

/// The part of the settings that a run knows itself.
const OWN_PART: &str = "run";

/// The part that a module's display shows.
const OBJECTIVE_PART: &str = "objective";

/// Trains from the last checkpoint, or from the start, and writes the reports.
pub(super) fn launch<O: Objective>(run: TrainingRun<O>) -> Result<Finished> {
    check_folder(&run.folder, run.resume)?;
    check_settings(&run)?;
    let tied = tied(&run)?;
    let _lock = FolderLock::take(&run.folder)?;
    // Another process may have trained here since.
    check_folder(&run.folder, run.resume)?;
    let checkpoints = Checkpoints::new(run.folder.join(CHECKPOINTS_NAME));
    let settings_path = run.folder.join(CHECKPOINTS_NAME).join(SETTINGS_NAME);
    // A run without a checkpoint has no state that could belong to other settings.
    let is_tied = run.resume != Resume::Never && !checkpoints.steps()?.is_empty();
    let saved = if is_tied { TiedSettings::read(&settings_path)? } else { None };
    let reached = match run.resume {
        Resume::Never => 0,
        Resume::IfPossible | Resume::Only => {
            let (last, damaged) = checkpoints.last_readable()?;
            for error in damaged {
                let warning = format!("{error}; resuming from the checkpoint before it");
                (run.on_progress)(TrainingEvent::Warning(&warning));
            }
            last.unwrap_or(0)
        }
    };
    check_reached(&run, reached)?;
    let saved = saved.filter(|_| reached > 0);
    if let Some(saved) = &saved {
        tied.check(saved, &run.folder, |part| part != OWN_PART && part != OBJECTIVE_PART)?;
    }
    let left_out = left_out(&run);
    let TrainingRun { folder, objective, training, validation, plan, rules, devices, .. } = run;

    // burn adds up the gradients of devices as it adds up those of accumulated batches.
    let batches_per_step = plan.accumulation * devices.len();
    let [start, batches, end] =
        [reached, plan.validate_every, plan.steps].map(|steps| steps * batches_per_step);
    let training = training.with_passes(Passes { start, batches, end }, &devices[0]);
    let validation = validation.on(&devices[0]);
    let examples_per_step = training.batch_size() * plan.accumulation;

    let parameters = burn::module::Module::num_params(&objective);
    let model =
        TrainingModel::new(objective, UpdateRules { accumulation: batches_per_step, ..rules });
    if reached > 0 {
        checkpoints.check_model(reached, &model)?;
        if let Some(saved) = &saved {
            tied.check(saved, &folder, |_| true)?;
        }
        checkpoints.check_optimiser(reached, &run.optimiser)?;
        checkpoints.check_schedule(reached, &run.schedule)?;
    }
    if saved.is_none() {
        tied.write(&settings_path)?;
    }
    // Our strategy counts in steps, burn's own in passes of the loader.
    let steps_per_epoch = if devices.len() == 1 { 1 } else { plan.validate_every };
    let checkpoints = checkpoints.with_steps_per_epoch(steps_per_epoch);
    checkpoints.remove_unfinished()?;
    if let Some(mark) = run.mark {
        checkpoints.write_mark(mark)?;
    }
    let (log, earlier) = open_log(&folder.join(LOG_NAME), reached)?;
    let mut steps = checkpoints.steps()?;
    steps.retain(|step| *step <= reached);
    let epochs = steps.into_iter().map(|step| step / steps_per_epoch).collect();

    let skipped_path = folder.join(CHECKPOINTS_NAME).join(SKIPPED_NAME);
    if reached > 0
        && let Some([before, validated]) = read_skipped(&skipped_path)?
    {
        training.remember_skipped(before);
        validation.remember_skipped(validated);
    }

    (run.on_progress)(TrainingEvent::Parameters(parameters));
    let metrics = Arc::default();
    let observer = observer(&folder, run.save, run.on_progress, Arc::clone(&metrics));
    let interrupter = run.stop.0.clone();
    let dashboard_metrics = match run.dashboard {
        true => first_metrics(&model, validation.as_ref()),
        false => Vec::new(),
    };
    let [saved_model, saved_optimiser, saved_schedule] = checkpoints.parts();
    let mut supervised = SupervisedTraining::new(&folder, training.clone(), validation.clone())
        .metrics((LossMetric::new(),))
        .metric_train(LearningRateMetric::new())
        .metric_train(IterationSpeedMetric::new())
        .with_custom_checkpointers(saved_model, saved_optimiser, saved_schedule)
        .with_checkpointing_strategy(KeepLast::after(epochs))
        .with_interrupter(interrupter.clone())
        .with_application_logger(None)
        .renderer(renderer(run.dashboard, &interrupter, (reached > 0).then_some(reached)))
        .num_epochs(plan.steps / steps_per_epoch);
    if reached > 0 {
        supervised = supervised.checkpoint(reached / steps_per_epoch);
    }
    for metric in dashboard_metrics {
        let metric = DashboardMetric::new(metric);
        supervised = supervised.metric_train_numeric(metric.clone()).metric_valid_numeric(metric);
    }
    let (supervised, stepwise) = match devices.as_slice() {
        [device] => {
            let device = device.clone().autodiff();
            let device = match plan.gradient_checkpointing {
                true => device.gradient_checkpointing(),
                false => device,
            };
            let round = training.examples().div_ceil(training.batch_size());
            let stepwise = Stepwise::new(device, plan, round, log, &earlier, Arc::clone(&observer));
            let stepwise = Arc::new(stepwise);
            let strategy = TrainingStrategy::Custom(Arc::clone(&stepwise) as Arc<_>);
            let supervised = supervised.with_metric_logger(NoLog);
            (supervised.with_training_strategy(strategy), Some(stepwise))
        }
        devices => {
            let strategy =
                ExecutionStrategy::multi(devices.to_vec(), MultiDeviceOptim::OptimMainDevice);
            let supervised = supervised.grads_accumulation(plan.accumulation);
            let supervised = match plan.gradient_checkpointing {
                true => supervised.gradient_checkpointing(),
                false => supervised,
            };
            (supervised.with_training_strategy(strategy.into()), None)
        }
    };
    let result = supervised.launch(Learner::new(model, run.optimiser, run.schedule));

    let places = [training.skipped_places(), validation.skipped_places()];
    if places.iter().any(|places| !places.is_empty()) {
        write_whole(&skipped_path, &serde_json::to_vec(&places).unwrap_or_default())?;
    }
    if let Some(error) = stepwise.as_ref().and_then(|stepwise| stepwise.take_failure()) {
        return Err(error);
    }
    if let Some(error) = result.error {
        return Err(Error::Training(error.to_string()));
    }
    let step = checkpoints.steps()?.last().copied().unwrap_or(0);
    let unvalidated = stepwise.is_some_and(|stepwise| stepwise.validation_is_due(step));
    let ending = match step < plan.steps || unvalidated {
        true => Ending::Interrupted { step },
        false => Ending::Complete,
    };
    if devices.len() > 1 {
        // burn's strategy reports no validation, so the last weights count.
        observer(Event::Best(result.model.learned()))?;
    }
    let metrics = metrics.lock().unwrap_or_else(PoisonError::into_inner);
    let skipped = training.skipped().and(validation.skipped()).and(left_out);
    let all = || first_metrics(&result.model, validation.as_ref());
    let best = write_reports(&folder, &metrics, all, |best| {
        let (steps, machine) = (plan.steps, run.machine.as_deref());
        let summary = TrainingSummary { best, parameters, steps, examples_per_step, machine };
        run.card.as_ref().map(|card| card.markdown(&summary))
    })?;
    Ok(Finished { ending, best, skipped, parameters })
}

/// The examples of both parts that earlier sessions of a run could not read.
fn read_skipped(path: &Path) -> Result<Option<[SkippedPlaces; 2]>> {
    let Some(bytes) = read_saved(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| Error::SavedState { path: path.to_path_buf(), reason: error.to_string() })
}

/// Reports events, saves the best weights, and collects the metrics of the log.
fn observer<O: Objective>(
    folder: &Path,
    save: Save<O::Head>,
    on_progress: OnProgress,
    metrics: Arc<Mutex<Vec<Metric>>>,
) -> Observer<O> {
    let folder = folder.to_path_buf();
    Arc::new(move |event| {
        match event {
            Event::Logged(record) => {
                let mut metrics = metrics.lock().unwrap_or_else(PoisonError::into_inner);
                for (metric, _) in record.measures.iter() {
                    if !metrics.contains(metric) {
                        metrics.push(metric.clone());
                    }
                }
                drop(metrics);
                on_progress(TrainingEvent::Logged(record));
            }
            Event::Best(objective) => {
                save(objective.head(), &folder)?;
                on_progress(TrainingEvent::Saved);
            }
        }
        Ok(())
    })
}

/// The settings that this run's saved states belong to: those of the caller and its own. Without any
/// of the caller's, also the structure of the objective.
fn tied<O: Objective>(run: &TrainingRun<O>) -> Result<TiedSettings> {
    let given = match &run.tied {
        Some(tied) => tied.clone().map_err(|reason| refused(run, reason))?,
        None => {
            let display = run.objective.format(DisplaySettings::default());
            let mut objective = TiedSettings::default();
            objective.extend(OBJECTIVE_PART, TiedSettings::of_module(&display));
            objective
        }
    };
    let mut own = TiedSettings::default();
    own.insert("optimiser", run.optimiser_kind);
    own.insert("batch_size", run.training.batch_size());
    own.insert("accumulation", run.plan.accumulation);
    own.insert("seed", run.plan.seed);
    own.insert("max_norm", run.rules.max_norm);
    own.insert("average_decay", run.rules.average_decay);
    let mut all = given;
    all.extend(OWN_PART, own);
    Ok(all)
}

/// Files that neither part has examples of.
fn left_out<O: Objective>(run: &TrainingRun<O>) -> Skipped {
    let [mut training, validation] =
        [run.training.remarks(), run.validation.remarks()].map(|remarks| remarks.left_out);
    // Both parts may come from one file.
    let validation = validation.into_iter().filter(|reason| !training.contains(reason));
    let validation: Vec<_> = validation.collect();
    training.extend(validation);
    Skipped::left_out(training)
}

fn refused<O: Objective>(run: &TrainingRun<O>, reason: String) -> Error {
    Error::Settings { folder: run.folder.clone(), reason }
}

fn check_settings<O: Objective>(run: &TrainingRun<O>) -> Result<()> {
    let refused = |reason: String| Err(refused(run, reason));
    let plan = &run.plan;
    for (name, value) in [
        ("steps", plan.steps),
        ("validate_every", plan.validate_every),
        ("log_every", plan.log_every),
        ("accumulation", plan.accumulation),
        ("number of devices", run.devices.len()),
    ] {
        if value == 0 {
            return refused(format!("{name} is 0, expected 1 or more"));
        }
    }
    if !run.training.is_shuffled() {
        return refused("training loader has a fixed order, expected a shuffled one".to_owned());
    }
    if run.validation.is_shuffled() {
        return refused("validation loader is shuffled, expected a fixed order".to_owned());
    }
    check_reached(run, 0)
}

/// Checks the settings against the step of the last checkpoint.
fn check_reached<O: Objective>(run: &TrainingRun<O>, reached: usize) -> Result<()> {
    let (steps, every) = (run.plan.steps, run.plan.validate_every);
    if reached > steps {
        let reason = format!("steps is {steps}, expected the {reached} of the saved run or more");
        return Err(refused(run, reason));
    }
    let whole = steps.is_multiple_of(every) && reached.is_multiple_of(every);
    if run.devices.len() > 1 && !whole {
        let reason = format!(
            "several devices stop only at validations: {reached} of {steps} steps are done, expected \
             multiples of the {every} steps between validations"
        );
        return Err(refused(run, reason));
    }
    Ok(())
}

/// All metrics of the objective: those of the first batch. burn's dashboard needs them before the
/// first step, and the reports of a session that made no step need their units.
fn first_metrics<O: Objective, L: DataLoader<O::Batch> + ?Sized>(
    model: &TrainingModel<O>,
    validation: &L,
) -> Vec<Metric> {
    let Some(Ok(batch)) = validation.iter().next() else { return Vec::new() };
    let output = InferenceStep::step(&model.valid(), batch);
    output.measures.into_iter().map(|measure| measure.metric).collect()
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
    Box::new(NullRenderer)
}
