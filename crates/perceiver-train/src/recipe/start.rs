use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataloader::DataLoader;
use burn::module::{Module, ParamGroup};
use burn::tensor::{Device, FloatDType};
use burn::train::Interrupter;
use perceiver_data::Source;
use perceiver_models::{
    CONFIG_NAME, Checkpoint, KeyMap, LoadOptions, PerceiverConfig, PerceiverHead, SaveOptions,
    load_module, save_pretrained,
};

use super::aligned::align;
use super::prepare::Parts;
use super::{Recipe, RunSettings};
use crate::report::{LOG_NAME, Record};
use crate::run::{CHECKPOINTS_NAME, Ending, Event, Plan, Run, step_reached};
use crate::{Collate, Error, Loader, Objective, Result, Skipped, Trainee, UpdateRules};

/// What a training is told beside its recipe.
#[derive(Debug)]
pub struct Start {
    /// Where the model, the log and the checkpoints are written.
    pub folder: PathBuf,
    /// Where relative paths of the recipe begin.
    pub data: PathBuf,
    /// On what to train; several share the batches.
    pub devices: Vec<Device>,
    /// A model folder to begin from. Of a model with another head, all that fits is taken.
    pub init: Option<PathBuf>,
    /// Whether preprocessor, latents and encoder stay as they are; a run that goes on keeps to what
    /// it began with.
    pub freeze_encoder: bool,
    /// Whether to go on from the folder's last checkpoint.
    pub resume: bool,
    /// Whether burn's dashboard is shown on the terminal.
    pub dashboard: bool,
    /// By which the run can be stopped.
    pub interrupter: StopHandle,
}

/// By which a run is stopped between two steps, from another thread.
#[derive(Clone, Default)]
pub struct StopHandle(pub(super) Interrupter);

impl StopHandle {
    /// Stops the run after the step it is at; it can go on from there.
    pub fn stop(&self) {
        self.0.stop(None);
    }
}

impl std::fmt::Debug for StopHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StopHandle").field(&self.0.should_stop()).finish()
    }
}

/// What is told while a training goes.
#[derive(Debug)]
pub enum Progress<'a> {
    /// Numbers that were learned, before the first step.
    Parameters(usize),
    /// Parameters that the checkpoint to begin from does not have.
    Fresh(&'a [String]),
    /// A line was written to the log.
    Logged(&'a Record),
    /// The model so far was written: it is the best.
    Saved,
}

/// How a training ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Whether all steps were made.
    pub ending: Ending,
    /// The validation of the model that is in the folder; none when there was none yet.
    pub best: Option<Record>,
    /// Examples that could not be read.
    pub skipped: Skipped,
    /// Numbers that were learned.
    pub parameters: usize,
}

/// Trains what a recipe says. The folder then holds the model with the lowest validation loss, as
/// transformers loads it, beside the log and the checkpoints.
///
/// # Errors
/// Before the first step, in one line: where the recipe and its data do not fit each other, data is
/// missing, or the folder holds a run and `resume` is not set, or a model without a run. Later,
/// where no example can be read, nothing can be written, or the loss is no longer a number.
pub fn start(
    recipe: &Recipe,
    start: Start,
    told: impl Fn(Progress<'_>) + Send + Sync + 'static,
) -> Result<Finished> {
    super::prepare::start(&Context { recipe, start, told: Arc::new(told) })
}

/// What every head's training begins with.
pub(super) struct Context<'a> {
    pub(super) recipe: &'a Recipe,
    start: Start,
    told: Arc<dyn Fn(Progress<'_>) + Send + Sync>,
}

impl Context<'_> {
    /// A file of the data, by the recipe's name for it.
    pub(super) fn file(&self, path: &Path) -> PathBuf {
        self.start.data.join(path)
    }

    fn refuse(&self, reason: impl std::fmt::Display) -> Error {
        Error::recipe(&self.recipe.path, reason)
    }

    /// The head with fresh weights, or those of the model to begin from.
    pub(super) fn head<H: PerceiverHead>(&self, config: &PerceiverConfig) -> Result<H> {
        let device = self.start.devices[0].clone().autodiff();
        device.seed(self.recipe.settings.run.seed);
        let mut head = H::from_config(config, &device).map_err(|error| self.refuse(error))?;
        if self.recipe.settings.run.aligned_start {
            let name = H::NAME.parse().map_err(|error| self.refuse(error))?;
            head = align(head, name, config, self.recipe.settings.data.image_size())
                .map_err(|error| self.refuse(error))?;
        }
        if let Some(folder) = &self.start.init {
            let checkpoint = Checkpoint::open(folder)?;
            let options = LoadOptions { partial: true, ..LoadOptions::default() };
            let (loaded, report) = load_module(head, &checkpoint, &KeyMap::PERCEIVER, &options)?;
            (self.told)(Progress::Fresh(&report.fresh));
            head = loaded;
        }
        if self.freezes_encoder() {
            let encoder = ParamGroup::from_regex(ENCODER);
            let encoder = encoder.map_err(|error| self.refuse(format!("{error:?}")))?;
            head = head.freeze_group(encoder);
        }
        (self.told)(Progress::Parameters(head.num_params()));
        Ok(head)
    }

    /// Whether the encoder stays as it is, by this start or by the one of the run that goes on.
    fn freezes_encoder(&self) -> bool {
        self.start.freeze_encoder || (self.start.resume && self.frozen_mark().exists())
    }

    /// What tells a later start that the encoder is frozen.
    fn frozen_mark(&self) -> PathBuf {
        self.start.folder.join(CHECKPOINTS_NAME).join(FROZEN_NAME)
    }

    /// Checks that nobody's run or model is lost in the folder.
    fn check_folder(&self) -> Result<()> {
        let path = self.start.folder.clone();
        let holds = |name: &str| path.join(name).exists();
        let holds_run = holds(LOG_NAME) || holds(CHECKPOINTS_NAME);
        if holds_run && !self.start.resume {
            return Err(Error::RunExists { path });
        }
        if !holds_run && holds(CONFIG_NAME) {
            return Err(Error::ModelExists { path });
        }
        Ok(())
    }

    /// Trains an objective on its parts. `companions` writes what a model folder holds beside
    /// the model.
    pub(super) fn train<O, T, V, C>(
        &self,
        objective: O,
        config: PerceiverConfig,
        parts: Parts<T, V, C>,
        companions: impl Fn(&Path) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Finished>
    where
        O: Objective,
        T: Source + 'static,
        V: Source<Example = T::Example> + 'static,
        C: Collate<T::Example, Batch = O::Batch> + 'static,
    {
        let folder = &self.start.folder;
        let parameters = Module::num_params(&objective);
        let run = &self.recipe.settings.run;
        let reached = if self.start.resume { step_reached(folder)? } else { 0 };
        self.check_folder()?;
        let devices = &self.start.devices;
        let every = run.validate_every;
        if devices.len() > 1 && !(run.steps.is_multiple_of(every) && reached.is_multiple_of(every))
        {
            return Err(self.refuse(format!(
                "several devices stop at whole validations alone: {reached} steps were made, {} are \
                 asked for, expected multiples of the {every} of `run.validate_every`",
                run.steps
            )));
        }
        // Burn adds up the gradients of all devices, as it does those of accumulated batches.
        let step = run.accumulation * devices.len();
        let loaders = Loaders::new(parts, run, [reached, step], &devices[0]);
        let loaders = loaders.map_err(|why| self.refuse(why))?;
        let rules = UpdateRules {
            max_norm: run.max_norm,
            accumulation: step,
            average_decay: run.average_decay,
        };
        let settings = &self.recipe.settings;
        let schedule = settings.schedule.build(run.steps, settings.optimiser.learning_rate);
        let run = Run {
            folder: folder.clone(),
            reached,
            plan: Plan {
                steps: run.steps,
                accumulation: run.accumulation,
                validate_every: run.validate_every,
                log_every: run.log_every,
                seed: run.seed,
                gradient_checkpointing: run.gradient_checkpointing,
            },
            trainee: Trainee::new(objective, rules),
            optimiser: settings.optimiser.build().map_err(|why| self.refuse(why))?,
            schedule: schedule.map_err(|why| self.refuse(why))?,
            training: loaders.training.clone(),
            validation: loaders.validation.clone(),
            devices: self.start.devices.clone(),
            interrupter: self.start.interrupter.0.clone(),
            dashboard: self.start.dashboard,
        };
        if self.freezes_encoder() {
            keep(&self.frozen_mark())?;
        }
        let best = Arc::new(Mutex::new(None));
        let (place, told, kept) = (folder.clone(), Arc::clone(&self.told), Arc::clone(&best));
        let last = Mutex::new(None);
        let dtype = settings.run.half_precision.then_some(FloatDType::F16);
        let ending = run.start(move |event| {
            match event {
                Event::Logged(record) => {
                    *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(record.clone());
                    told(Progress::Logged(record));
                }
                Event::Best(objective) => {
                    let options = SaveOptions { dtype, ..SaveOptions::default() };
                    save_pretrained(
                        objective.head(),
                        &config,
                        &place,
                        &KeyMap::PERCEIVER,
                        &options,
                    )?;
                    companions(&place)?;
                    let record = last.lock().unwrap_or_else(PoisonError::into_inner).take();
                    *kept.lock().unwrap_or_else(PoisonError::into_inner) = record;
                    told(Progress::Saved);
                }
            }
            Ok(())
        })?;
        let best = best.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(Finished { ending, best, skipped: loaders.skipped(), parameters })
    }
}

/// Parameters of preprocessor, latents and encoder, by their paths in burn's modules.
const ENCODER: &str = r"(^|\.)perceiver\.(input_preprocessor|embeddings|encoder)\.";

/// Name of the mark, among the checkpoints, of a run whose encoder is frozen.
const FROZEN_NAME: &str = "encoder-is-frozen";

/// Writes an empty file, which says all by its name.
fn keep(mark: &Path) -> Result<()> {
    if let Some(folder) = mark.parent() {
        fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
    }
    fs::write(mark, "").map_err(Error::io(mark, "write"))
}

/// Loaders of both parts, and what they could not read.
struct Loaders<B> {
    training: Arc<dyn DataLoader<B>>,
    validation: Arc<dyn DataLoader<B>>,
    skipped: Vec<Box<dyn Fn() -> Skipped>>,
}

impl<B: Send + 'static> Loaders<B> {
    fn new<T, V, C>(
        parts: Parts<T, V, C>,
        run: &RunSettings,
        [reached, batches_a_step]: [usize; 2],
        device: &Device,
    ) -> Result<Self, String>
    where
        T: Source + 'static,
        V: Source<Example = T::Example> + 'static,
        C: Collate<T::Example, Batch = B> + 'static,
    {
        let Parts { train, validation, collate_train, collate_validation } = parts;
        if train.is_empty() || validation.is_empty() {
            let part = if train.is_empty() { "learn from" } else { "be measured on" };
            return Err(format!("`data` has no example to {part}"));
        }
        let batches = [run.steps, run.validate_every].map(|steps| steps * batches_a_step);
        let (size, workers) = (run.batch_size, run.workers);
        let training =
            Loader::training(train, collate_train, size, batches, workers, run.seed, device);
        let training = Arc::new(training.starting_at(reached * batches_a_step));
        let validation =
            Arc::new(Loader::validation(validation, collate_validation, size, workers, device));
        let (first, second) = (Arc::clone(&training), Arc::clone(&validation));
        let skipped: Vec<Box<dyn Fn() -> Skipped>> =
            vec![Box::new(move || first.skipped()), Box::new(move || second.skipped())];
        Ok(Self { training, validation, skipped })
    }

    fn skipped(&self) -> Skipped {
        self.skipped.iter().fold(Skipped::default(), |mut sum, part| {
            let part = part();
            sum.count += part.count;
            sum.reasons.extend(part.reasons);
            sum
        })
    }
}
