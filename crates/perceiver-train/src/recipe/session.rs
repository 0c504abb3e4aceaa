//! A session of a recipe's run: builds the model and its batches, and trains.

mod any_data;
mod start;

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, FloatDType};
use perceiver_data::augment::{Augmentation, PreparedImages};
use perceiver_data::flow::FlowPair;
use perceiver_data::{
    Clip, LabelledImage, LabelledText, MaskedText, PerceiverImageProcessor, PerceiverTokenizer,
};
use perceiver_models::losses::{AutoencodingLoss, FlowLoss};
use perceiver_models::{
    Head, KeyMap, PerceiverConfig, PerceiverForImageClassificationConvProcessing,
    PerceiverForImageClassificationFourier, PerceiverForImageClassificationLearned, PerceiverHead,
    SaveOptions, freeze_encoder, save_pretrained,
};

use super::data::{Data, ImageOptions, TextTableData, VideosData};
use super::position_aware_init::spread_latents;
use super::sources::{BoxedSource, Files, Parts};
use super::tied::TiedRecipe;
use super::{Recipe, TrainOptions};
use crate::batch::{
    ClipBatcher, ClipPoints, FlowBatcher, ImageBatcher, MaskedTextBatcher, TextBatcher,
};
use crate::report::{CardModel, ModelCard};
use crate::run::{CHECKPOINTS_NAME, Resume, check_folder, has_checkpoint};
use crate::{
    Autoencoding, Collate, Error, Finished, FlowEstimation, ImageClassification, ImageClassifier,
    LoaderBuilder, MaskedLanguageModelling, Objective, Result, SequenceClassification,
    TrainingEvent, TrainingRun,
};

impl Recipe {
    /// Trains the recipe's model. The folder then holds the model with the lowest validation loss, as
    /// transformers loads it, beside the log, the learning curve, the model card and the checkpoints.
    ///
    /// # Errors
    /// Before the first step, in one line: if the recipe and its data contradict each other, data is
    /// missing, the folder holds a run without [`resume`](TrainOptions::resume), a run of another
    /// recipe or none with it, or a model without a run, or another process trains there. Later, if no example can be read, nothing can be written, or the loss is not finite.
    pub fn train(
        &self,
        options: TrainOptions,
        on_progress: impl Fn(TrainingEvent<'_>) + Send + Sync + 'static,
    ) -> Result<Finished> {
        let mut options = options;
        if options.devices.is_empty() {
            options.devices.push(Device::default());
        }
        // Before any data is read.
        let resume = if options.resume { Resume::Only } else { Resume::Never };
        check_folder(&options.folder, resume)?;
        Session { recipe: self, options, on_progress: Arc::new(on_progress) }.train()
    }
}

struct Session<'a> {
    recipe: &'a Recipe,
    options: TrainOptions,
    on_progress: Arc<dyn Fn(TrainingEvent<'_>) + Send + Sync>,
}

/// Makes the batches of both parts.
struct Batchers<C> {
    train: C,
    validation: C,
}

impl Session<'_> {
    /// Opens the data, and trains the head on it.
    fn train(&self) -> Result<Finished> {
        let files = Files { recipe: self.recipe, root: &self.options.data };
        match &self.recipe.settings.data {
            Data::IdxImages(data) => {
                self.images(files.idx_images(data)?, &data.classes, &data.images)
            }
            Data::ImageFolder(data) => {
                let (parts, classes) = files.image_folders(data)?;
                self.images(parts, &classes, &data.images)
            }
            Data::TextTable(data) => {
                let (parts, names) = files.text_tables(data)?;
                self.texts(parts, &names, data)
            }
            Data::Table(data) => self.any_data(files.tables(data)?),
            Data::Series(data) => self.any_data(files.series_parts(data)?),
            Data::Arrays(data) => self.any_data(files.both_arrays(data)?),
            Data::PlainText(data) => {
                let config = self.recipe.config(&[])?;
                let tokenizer = self.recipe.tokenizer(&config, data.length)?;
                let parts = files.plain_texts(data, &tokenizer)?;
                self.masked_texts(config, parts, tokenizer, data.length)
            }
            Data::GeneratedFlow(data) => {
                let config = self.recipe.config(&[])?;
                let parts = files.generated_flow(data, &config)?;
                self.pairs(config, parts, data.loss)
            }
            Data::FlowPairs(data) => {
                let config = self.recipe.config(&[])?;
                let parts = files.flow_crops(data, &config)?;
                self.pairs(config, parts, data.loss)
            }
            Data::Videos(data) => {
                let config = self.recipe.config(&[])?;
                let parts = files.videos(data, &config)?;
                self.clips(config, parts, data)
            }
        }
    }

    fn images(
        &self,
        parts: Parts<LabelledImage>,
        classes: &[String],
        options: &ImageOptions,
    ) -> Result<Finished> {
        match self.recipe.head {
            Head::ImageClassificationLearned => {
                self.classify::<PerceiverForImageClassificationLearned>(parts, classes, options)
            }
            Head::ImageClassificationConvProcessing => {
                self.classify::<PerceiverForImageClassificationConvProcessing>(
                    parts, classes, options,
                )
            }
            // The recipe was checked: no other head takes images with labels.
            _ => self.classify::<PerceiverForImageClassificationFourier>(parts, classes, options),
        }
    }

    fn classify<H: ImageClassifier>(
        &self,
        parts: Parts<LabelledImage>,
        classes: &[String],
        options: &ImageOptions,
    ) -> Result<Finished> {
        let config = self.recipe.config(classes)?;
        let [height, width] = options.size;
        let processor =
            PerceiverImageProcessor::resizing(height, width, options.mean, options.deviation);
        let batcher = |label_smoothing, mixed| ImageBatcher {
            processor: processor.clone(),
            classes: classes.len(),
            label_smoothing,
            mixed,
        };
        let batchers = Batchers {
            train: batcher(options.label_smoothing, options.mixed),
            validation: batcher(0.0, false),
        };
        let prepared = |source, augmentation| -> BoxedSource<LabelledImage> {
            let (processor, size) = (processor.clone(), options.size);
            Box::new(PreparedImages { source, processor, size, augmentation })
        };
        let parts = Parts {
            train: prepared(parts.train, options.augmentation.augmentation()),
            validation: prepared(parts.validation, Augmentation::default()),
        };
        let objective = ImageClassification::new(self.head::<H>(&config)?);
        self.run(objective, config, parts, batchers, move |folder| {
            Ok(processor.save_pretrained(folder)?)
        })
    }

    fn texts(
        &self,
        parts: Parts<LabelledText>,
        names: &[String],
        data: &TextTableData,
    ) -> Result<Finished> {
        let config = self.recipe.config(names)?;
        let tokenizer = self.recipe.tokenizer(&config, data.length)?;
        let batcher = TextBatcher::new(tokenizer.clone(), data.length, data.multiple);
        let batchers = Batchers { train: batcher.clone(), validation: batcher };
        let objective = SequenceClassification::new(self.head(&config)?);
        self.run(objective, config, parts, batchers, move |folder| {
            Ok(tokenizer.save_pretrained(folder)?)
        })
    }

    fn masked_texts(
        &self,
        config: PerceiverConfig,
        parts: Parts<MaskedText>,
        tokenizer: PerceiverTokenizer,
        length: usize,
    ) -> Result<Finished> {
        let batcher = MaskedTextBatcher { multiple: length };
        let batchers = Batchers { train: batcher.clone(), validation: batcher };
        let objective = MaskedLanguageModelling::new(self.head(&config)?);
        self.run(objective, config, parts, batchers, move |folder| {
            Ok(tokenizer.save_pretrained(folder)?)
        })
    }

    fn pairs(
        &self,
        config: PerceiverConfig,
        parts: Parts<FlowPair>,
        loss: FlowLoss,
    ) -> Result<Finished> {
        let batchers = Batchers { train: FlowBatcher, validation: FlowBatcher };
        let objective = FlowEstimation::new(self.head(&config)?, loss);
        self.run(objective, config, parts, batchers, |_| Ok(()))
    }

    fn clips(
        &self,
        config: PerceiverConfig,
        parts: Parts<Clip>,
        data: &VideosData,
    ) -> Result<Finished> {
        let samples_per_patch = config.samples_per_patch;
        let samples = data.sound_patches.saturating_mul(samples_per_patch);
        let points = ClipPoints { pixels: data.pixels, samples };
        let labels = config.num_labels();
        let batcher = |points, hidden_labels| ClipBatcher {
            labels,
            samples_per_patch,
            points,
            hidden_labels,
        };
        let batchers =
            Batchers { train: batcher(Some(points), 0.5), validation: batcher(None, 1.0) };
        let objective = Autoencoding::new(self.head(&config)?, AutoencodingLoss::default());
        self.run(objective, config, parts, batchers, |_| Ok(()))
    }

    /// The head with fresh weights, or with those of the model to start from.
    fn head<H: PerceiverHead>(&self, config: &PerceiverConfig) -> Result<H> {
        let (options, settings) = (&self.options, &self.recipe.settings);
        let refused = |reason: String| Error::recipe(&self.recipe.path, reason);
        let device = options.devices[0].clone().autodiff();
        device.seed(settings.run.seed);
        let mut head =
            H::from_config(config, &device).map_err(|error| refused(error.to_string()))?;
        if settings.run.aligned_start {
            let size = settings.data.image_size();
            head = spread_latents(head, self.recipe.head, config, size).map_err(refused)?;
        }
        // Saved states replace all weights.
        let is_replaced = options.resume && has_checkpoint(&options.folder);
        if let Some(source) = options.init.as_ref().filter(|_| !is_replaced) {
            head = self.initialised(head, source)?;
        }
        if self.freezes_encoder() {
            head = freeze_encoder(head);
        }
        Ok(head)
    }

    /// If true, the encoder is frozen, in this session or since the first one of its run.
    fn freezes_encoder(&self) -> bool {
        let TrainOptions { folder, freeze_encoder, resume, .. } = &self.options;
        let mark = folder.join(CHECKPOINTS_NAME).join(FROZEN_NAME);
        *freeze_encoder || (*resume && mark.exists())
    }

    /// Trains an objective. `save_companions` writes the files that a model folder holds beside the
    /// model.
    fn run<O, E, C>(
        &self,
        objective: O,
        config: PerceiverConfig,
        parts: Parts<E>,
        batchers: Batchers<C>,
        save_companions: impl Fn(&Path) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Finished>
    where
        O: Objective<Head: PerceiverHead>,
        E: Send + 'static,
        C: Collate<E, Batch = O::Batch> + 'static,
    {
        let (recipe, options) = (self.recipe, &self.options);
        let settings = &recipe.settings;
        let run = &settings.run;
        let refused = |reason: String| Error::recipe(&recipe.path, reason);
        for (purpose, source) in [("train on", &parts.train), ("validate on", &parts.validation)] {
            if source.is_empty() {
                return Err(refused(format!("`data` has no example to {purpose}")));
            }
        }
        let loader =
            |batcher| LoaderBuilder::new(batcher).batch_size(run.batch_size).workers(run.workers);
        for note in parts.train.remarks().notes.iter().chain(&parts.validation.remarks().notes) {
            (self.on_progress)(TrainingEvent::Warning(note));
        }
        let training = loader(batchers.train).shuffle(run.seed).build(parts.train);
        let validation = loader(batchers.validation).build(parts.validation);
        let schedule = settings.schedule.build(run.steps, settings.optimiser.learning_rate);
        let dtype = run.half_precision.then_some(FloatDType::F16);
        let on_progress = Arc::clone(&self.on_progress);
        let saved_config = recipe.saved_config(&config);
        TrainingRun::new(&options.folder, objective, training, validation)
            .steps(run.steps)
            .validate_every(run.validate_every)
            .log_every(run.log_every)
            .accumulation(run.accumulation)
            .seed(run.seed)
            .max_norm(run.max_norm)
            .average_decay(run.average_decay)
            .gradient_checkpointing(run.gradient_checkpointing)
            .optimiser(settings.optimiser.build().map_err(refused)?)
            .learning_rate(schedule.map_err(refused)?)
            .devices(options.devices.clone())
            .tied_to(&TiedRecipe::new(recipe, &config))
            .resume_only(options.resume)
            .stop_handle(&options.stop)
            .dashboard(options.dashboard)
            .reports(self.card(), options.machine.clone())
            .mark(self.freezes_encoder().then_some(FROZEN_NAME))
            .save_with(move |head, folder| {
                let options = SaveOptions { dtype, ..SaveOptions::default() };
                save_pretrained(head, &saved_config, folder, &KeyMap::PERCEIVER, &options)?;
                save_companions(folder)
            })
            .on_progress(move |event| on_progress(event))
            .train()
    }

    fn card(&self) -> Option<ModelCard> {
        let settings = &self.recipe.settings;
        Some(ModelCard {
            name: settings.name.clone(),
            model: CardModel::Pretrained(self.recipe.head),
            settings: settings.card.clone()?,
            recipe: Some(self.recipe.text.clone()),
        })
    }
}

/// Marks, among the checkpoints, a run whose encoder is frozen.
const FROZEN_NAME: &str = "encoder-is-frozen";
