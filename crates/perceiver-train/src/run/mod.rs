//! Training runs: from fresh weights, or from where an earlier session stopped, to trained ones.

mod checkpoints;
mod dashboard;
mod event;
mod folder;
mod launch;
mod loaders;
mod lock;
mod manifest;
mod null_renderer;
mod reports;
mod stepwise;
mod stop;
mod tied_settings;

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::tensor::Device;
use perceiver_data::Source;
use serde::Serialize;

pub(crate) use self::checkpoints::has_checkpoint;
pub use self::event::{Ending, Finished, TrainingEvent};
pub(crate) use self::folder::check_folder;
use self::loaders::AnyLoader;
pub use self::stop::StopHandle;
use self::tied_settings::{TiedSettings, kind_of};
use crate::report::{CardModel, CardSettings, ModelCard};
use crate::{AdamW, Collate, Error, Loader, Objective, Result, UpdateRules, save_weights};

/// Name of the folder, inside a run's folder, of the states from which the run can resume.
pub const CHECKPOINTS_NAME: &str = "checkpoints";

/// Trains any [`Objective`], on data of any [`Source`].
///
/// The folder of the run then holds the weights with the lowest validation loss, the log
/// [`metrics.jsonl`](crate::report::LOG_NAME), the [learning curve](crate::report::CURVE_NAME)
/// of the loss and the objective's first metric, checkpoints and, on request, a
/// [model card](crate::report::CARD_NAME).
///
/// ```no_run
/// # use burn::tensor::{Device, Tensor};
/// # use perceiver_train::{ChaCha8Rng, Error, LoaderBuilder, Objective, TrainingRun, load_weights};
/// # fn train<O: Objective<Batch = Tensor<2>>>(objective: O, fresh: O::Head) -> Result<(), Error> {
/// # let batch = |rows: Vec<f32>, _: &mut ChaCha8Rng, device: &Device| {
/// #     Tensor::<1>::from_floats(rows.as_slice(), device).unsqueeze()
/// # };
/// # let (examples, held_out) = (vec![0.0_f32; 100], vec![0.0_f32; 10]);
/// let training = LoaderBuilder::new(batch).batch_size(16).shuffle(7).build(examples);
/// let validation = LoaderBuilder::new(batch).batch_size(16).build(held_out);
/// let finished = TrainingRun::new("run", objective, training, validation)
///     .steps(1000)
///     .validate_every(100)
///     .learning_rate(1e-3)
///     .resume(true)
///     .train()?;
/// if let Some(best) = finished.best {
///     println!("{best}");
/// }
/// let head = load_weights(fresh, "run")?;
/// # let _ = head;
/// # Ok(())
/// # }
/// ```
///
/// A resumed run is the run that was never interrupted, bit for bit on a CPU. A [`StopHandle`] stops
/// one with a checkpoint.
#[must_use = "a run does nothing until it trains"]
#[expect(missing_debug_implementations, reason = "burn's learner and loaders have none")]
pub struct TrainingRun<O: Objective> {
    folder: PathBuf,
    objective: O,
    training: Box<dyn AnyLoader<O::Batch>>,
    validation: Box<dyn AnyLoader<O::Batch>>,
    plan: Plan,
    rules: UpdateRules,
    optimiser: ModuleOptimizer,
    /// The optimiser's type.
    optimiser_kind: &'static str,
    schedule: ModuleLrScheduler,
    devices: Vec<Device>,
    resume: Resume,
    /// The settings that saved states belong to, or why there are none.
    tied: Option<Result<TiedSettings, String>>,
    stop: StopHandle,
    dashboard: bool,
    machine: Option<String>,
    card: Option<ModelCard>,
    mark: Option<&'static str>,
    save: Save<O::Head>,
    on_progress: OnProgress,
}

/// The treatment of a run that the folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Refuses it.
    Never,
    /// Continues it, or starts one if there is none.
    IfPossible,
    /// Continues it. There has to be one.
    Only,
}

/// Saves the best weights in the run's folder.
type Save<H> = Box<dyn Fn(&H, &Path) -> Result<()> + Send + Sync>;

/// Is called at each event.
type OnProgress = Box<dyn Fn(TrainingEvent<'_>) + Send + Sync>;

/// The length of a run, and the intervals of its validations and log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    steps: usize,
    /// Batches whose gradients make a step, on each device.
    accumulation: usize,
    validate_every: usize,
    log_every: usize,
    seed: u64,
    gradient_checkpointing: bool,
}

impl<O: Objective> TrainingRun<O> {
    /// A run of 1000 steps in a folder, with [`AdamW`] and a learning rate of 1e-3. The training
    /// loader has to be [shuffled](crate::LoaderBuilder::shuffle), the validation loader not.
    ///
    /// The run adds autodiff to an objective whose device lacks it, so `device.autodiff()` is
    /// optional.
    pub fn new<T, V, C, D>(
        folder: impl AsRef<Path>,
        objective: O,
        training: Loader<T, C>,
        validation: Loader<V, D>,
    ) -> Self
    where
        T: Source + 'static,
        V: Source + 'static,
        C: Collate<T::Example, Batch = O::Batch> + 'static,
        D: Collate<V::Example, Batch = O::Batch> + 'static,
    {
        let tracked = objective.devices().iter().any(Device::is_autodiff);
        // A model that was loaded or built without autodiff has no gradients yet.
        let objective = if tracked { objective } else { Module::train(objective) };
        let devices = objective.devices().into_iter().map(Device::without_autodiff);
        Self {
            folder: folder.as_ref().to_path_buf(),
            devices: devices.take(1).collect(),
            objective,
            training: Box::new(training),
            validation: Box::new(validation),
            plan: Plan {
                steps: 1000,
                accumulation: 1,
                validate_every: 100,
                log_every: 50,
                seed: 0,
                gradient_checkpointing: false,
            },
            rules: UpdateRules::default(),
            optimiser: ModuleOptimizer::from(AdamW::default()),
            optimiser_kind: kind_of(&AdamW::default()),
            schedule: ModuleLrScheduler::from(1e-3),
            resume: Resume::Never,
            tied: None,
            stop: StopHandle::default(),
            dashboard: false,
            machine: None,
            card: None,
            mark: None,
            save: Box::new(|head, folder| save_weights(head, folder)),
            on_progress: Box::new(|_| {}),
        }
    }

    /// Steps of the optimiser: 1000 by default.
    pub fn steps(mut self, steps: usize) -> Self {
        self.plan.steps = steps;
        self
    }

    /// Steps between two validations, and between two checkpoints: 100 by default. The last step is
    /// always validated.
    pub fn validate_every(mut self, steps: usize) -> Self {
        self.plan.validate_every = steps;
        self
    }

    /// Steps that a line of the log averages over: 50 by default.
    pub fn log_every(mut self, steps: usize) -> Self {
        self.plan.log_every = steps;
        self
    }

    /// Batches whose gradients are averaged for a step: 1 by default.
    pub fn accumulation(mut self, batches: usize) -> Self {
        self.plan.accumulation = batches;
        self
    }

    /// Seed of dropout and all else that the model draws during training.
    pub fn seed(mut self, seed: u64) -> Self {
        self.plan.seed = seed;
        self
    }

    /// If true, recomputes memory-bound operations in the backward pass instead of keeping them.
    pub fn gradient_checkpointing(mut self, recompute: bool) -> Self {
        self.plan.gradient_checkpointing = recompute;
        self
    }

    /// Largest norm of all gradients together; longer ones are scaled down to it.
    pub fn max_norm(mut self, norm: impl Into<Option<f64>>) -> Self {
        self.rules.max_norm = norm.into();
        self
    }

    /// Keeps a moving average of the weights, which is then validated and saved. The decay is the
    /// share of the average that each step keeps.
    pub fn average_decay(mut self, decay: impl Into<Option<f64>>) -> Self {
        self.rules.average_decay = decay.into();
        self
    }

    /// The optimiser: [`AdamW`] by default.
    pub fn optimiser(mut self, optimiser: impl Into<ModuleOptimizer>) -> Self {
        self.optimiser_kind = kind_of(&optimiser);
        self.optimiser = optimiser.into();
        self
    }

    /// The learning rate, as a number or one of burn's schedulers: 1e-3 by default.
    ///
    /// Warm-up for 100 of 1000 steps, then a cosine:
    ///
    /// ```
    /// use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
    /// use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
    /// use burn::lr_scheduler::sequential::SequentialLrSchedulerConfig;
    /// use perceiver_train::{Error, Objective, Result, TrainingRun};
    ///
    /// fn scheduled<O: Objective>(run: TrainingRun<O>) -> Result<TrainingRun<O>> {
    ///     let rise = LinearLrSchedulerConfig::new(1e-5, 1e-3, 100);
    ///     let fall = CosineAnnealingLrSchedulerConfig::new(1e-3, 900);
    ///     // The second scheduler takes over after 100 steps.
    ///     let schedule = SequentialLrSchedulerConfig::new(vec![rise.into(), fall.into()], vec![100]);
    ///     // burn's error is a `String`.
    ///     let schedule = schedule.init().map_err(Error::Training)?;
    ///     Ok(run.steps(1000).learning_rate(schedule))
    /// }
    /// ```
    pub fn learning_rate(mut self, rate: impl Into<ModuleLrScheduler>) -> Self {
        self.schedule = rate.into();
        self
    }

    /// Devices that share the batches, by burn's own strategy: the device of the objective by
    /// default.
    pub fn devices(mut self, devices: impl IntoIterator<Item = Device>) -> Self {
        self.devices = devices.into_iter().map(Device::without_autodiff).collect();
        self
    }

    /// If true, continues after the last checkpoint in the folder, or starts if there is none.
    /// Otherwise refuses a folder that holds a run.
    ///
    /// A saved run belongs to its settings: it is refused if [`tied_to`](Self::tied_to), the shapes of
    /// parameters, the kind of optimiser, `batch_size`, `accumulation`, `seed`, `max_norm` or
    /// `average_decay` differ. Steps, intervals, workers and devices may change.
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = if resume { Resume::IfPossible } else { Resume::Never };
        self
    }

    /// As [`resume`](Self::resume), but refuses a folder that holds no run, such as one misspelt.
    pub fn resume_only(self, resume: bool) -> Self {
        Self { resume: if resume { Resume::Only } else { Resume::Never }, ..self }
    }

    /// Ties saved states to settings of your own, such as the model's configuration and the learning
    /// rate: a run with others is not resumed, and the error names the first that differs. Without
    /// any, states are tied to the structure of the objective, as burn displays it.
    ///
    /// ```
    /// use perceiver_train::{Objective, TrainingRun};
    /// use perceiver_train::models::PerceiverConfig;
    ///
    /// #[derive(serde::Serialize)]
    /// struct Settings { heads: usize, learning_rate: f64 }
    ///
    /// fn tied<O: Objective>(run: TrainingRun<O>, config: &PerceiverConfig) -> TrainingRun<O> {
    ///     let heads = config.num_cross_attention_heads;
    ///     run.tied_to(&Settings { heads, learning_rate: 1e-3 }).learning_rate(1e-3)
    /// }
    /// ```
    pub fn tied_to(self, settings: &impl Serialize) -> Self {
        let settings = TiedSettings::new(settings);
        Self { tied: Some(settings.map_err(|error| error.to_string())), ..self }
    }

    /// The handle that stops the run.
    pub fn stop_handle(mut self, handle: &StopHandle) -> Self {
        self.stop = handle.clone();
        self
    }

    /// If true, shows burn's dashboard on the terminal. Needs the feature `tui`.
    pub fn dashboard(mut self, show: bool) -> Self {
        self.dashboard = show;
        self
    }

    /// Saves the best weights by a function of the head and the folder: [`save_weights`] by default.
    /// The function replaces what it saved before.
    pub fn save_with<E: Into<Error>>(
        mut self,
        save: impl Fn(&O::Head, &Path) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.save = Box::new(move |head, folder| save(head, folder).map_err(Into::into));
        self
    }

    /// Writes a model card, `README.md`, beside the weights.
    ///
    /// ```
    /// use perceiver_train::report::{CardData, CardModel, CardSettings};
    /// use perceiver_train::{Objective, TrainingRun};
    ///
    /// fn documented<O: Objective>(run: TrainingRun<O>) -> TrainingRun<O> {
    ///     let model = CardModel::Custom {
    ///         class: "PointClassifier".into(),
    ///         usage: "`load_weights(PointClassifier::new(&device), folder)` loads it.".into(),
    ///     };
    ///     let settings = CardSettings {
    ///         summary: "Tells spheres from cubes.".into(),
    ///         limits: "Knows two shapes, centred at the origin.".into(),
    ///         licence: "mit".into(),
    ///         measured_on: "64 generated clouds".into(),
    ///         baseline: Some("50 % by guessing".into()),
    ///         data: vec![CardData {
    ///             name: "clouds".into(),
    ///             licence: "mit".into(),
    ///             origin: "examples/point_cloud.rs".into(),
    ///             parts: "320 clouds to train, 64 to validate".into(),
    ///         }],
    ///     };
    ///     run.model_card("Shapes", model, settings).machine("one core of an AMD EPYC")
    /// }
    /// ```
    pub fn model_card(
        self,
        name: impl Into<String>,
        model: CardModel,
        settings: CardSettings,
    ) -> Self {
        let card = ModelCard { name: name.into(), model, settings, recipe: None };
        Self { card: Some(card), ..self }
    }

    /// The machine, for the model card: `one core of an AMD EPYC`.
    pub fn machine(self, machine: impl Into<String>) -> Self {
        Self { machine: Some(machine.into()), ..self }
    }

    /// Sets the card and the machine, if there are any.
    pub(crate) fn reports(self, card: Option<ModelCard>, machine: Option<String>) -> Self {
        Self { card, machine, ..self }
    }

    /// Calls a function at each event.
    pub fn on_progress(
        mut self,
        on_progress: impl Fn(TrainingEvent<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.on_progress = Box::new(on_progress);
        self
    }

    /// Puts an empty file of this name among the checkpoints, for later sessions of the run.
    pub(crate) fn mark(mut self, name: Option<&'static str>) -> Self {
        self.mark = name;
        self
    }

    /// Trains to the last step, or until the run is stopped.
    ///
    /// # Errors
    /// Before the first step, if settings contradict each other, the folder holds a run and
    /// [`resume`](Self::resume) is not set, another process trains in it, or the run to resume is
    /// damaged or has other settings. Later, if no example can be read, a metric counts no examples,
    /// nothing can be written, or the loss is not finite. The last checkpoint stays.
    pub fn train(self) -> Result<Finished> {
        launch::launch(self)
    }
}
