use std::path::{Path, PathBuf};

use perceiver_data::augment::{Augmentation, PreparedImages};
use perceiver_data::flow::{FlowGenerator, FlowPair, FlowPairs};
use perceiver_data::{
    ClipOptions, ClipPart, Clips, IdxImages, ImageFolder, LabelColumns, LabelledImage,
    PerceiverImageProcessor, PerceiverTokenizer, Pieces, PlainText, Source, TextColumns,
    TextPieces, TextTable, WholeWordMask,
};
use perceiver_models::losses::{AutoencodingLoss, FlowLoss};
use perceiver_models::{
    Head, PerceiverConfig, PerceiverForImageClassificationConvProcessing,
    PerceiverForImageClassificationFourier, PerceiverForImageClassificationLearned,
};

use super::Recipe;
use super::data::{
    Data, GeneratedFlowData, ImageOptions, PlainTextData, TextTableData, VideosData,
};
use super::start::{Context, Finished};
use crate::batch::{
    ClipBatcher, ClipPoints, FlowBatcher, ImageBatcher, MaskedTextBatcher, TextBatcher,
};
use crate::{
    Autoencoding, Error, FlowEstimation, ImageClassification, ImageClassifier,
    MaskedLanguageModelling, Result, SequenceClassification,
};

/// Both parts of the data, and how their batches are made.
pub(super) struct Parts<T, V, C> {
    pub train: T,
    pub validation: V,
    pub collate_train: C,
    pub collate_validation: C,
}

/// Opens the data and trains the head on it.
pub(super) fn start(context: &Context<'_>) -> Result<Finished> {
    let recipe = context.recipe;
    match &recipe.settings.data {
        Data::IdxImages(data) => {
            let open = |[images, labels]: &[PathBuf; 2]| {
                IdxImages::open(context.file(images), context.file(labels))
            };
            let (train, validation) = (open(&data.train)?, open(&data.validation)?);
            for (source, [_, labels]) in [(&train, &data.train), (&validation, &data.validation)] {
                let (found, named) = (source.classes(), data.classes.len());
                if found > named {
                    let reason = format!("label {}, but `data.classes` names {named}", found - 1);
                    return Err(Error::recipe(&context.file(labels), reason));
                }
            }
            images(context, train, validation, &data.classes, &data.images)
        }
        Data::ImageFolder(data) => {
            let train = ImageFolder::open(context.file(&data.train), None)?;
            let classes = train.class_names().to_vec();
            let validation = ImageFolder::open(context.file(&data.validation), Some(&classes))?;
            images(context, train, validation, &classes, &data.images)
        }
        Data::TextTable(data) => text_table(context, data),
        Data::PlainText(data) => plain_text(context, data),
        Data::GeneratedFlow(data) => generated_flow(context, data),
        Data::FlowPairs(data) => {
            let config = recipe.config(&[])?;
            let size = frame_size(&config);
            let train = FlowPairs::crops(context.file(&data.train), size)?;
            let validation = FlowPairs::crops(context.file(&data.validation), size)?;
            flow(context, config, train, validation, data.loss)
        }
        Data::Videos(data) => videos(context, data),
    }
}

fn images<S>(
    context: &Context<'_>,
    train: S,
    validation: S,
    classes: &[String],
    options: &ImageOptions,
) -> Result<Finished>
where
    S: Source<Example = LabelledImage> + 'static,
{
    match context.recipe.head {
        Head::ImageClassificationLearned => classify::<PerceiverForImageClassificationLearned, _>(
            context, train, validation, classes, options,
        ),
        Head::ImageClassificationConvProcessing => {
            classify::<PerceiverForImageClassificationConvProcessing, _>(
                context, train, validation, classes, options,
            )
        }
        // The recipe was checked: no other head has pictures with labels.
        _ => classify::<PerceiverForImageClassificationFourier, _>(
            context, train, validation, classes, options,
        ),
    }
}

fn classify<H, S>(
    context: &Context<'_>,
    train: S,
    validation: S,
    classes: &[String],
    options: &ImageOptions,
) -> Result<Finished>
where
    H: ImageClassifier,
    S: Source<Example = LabelledImage> + 'static,
{
    let config = context.recipe.config(classes)?;
    let [height, width] = options.size;
    let processor =
        PerceiverImageProcessor::resizing(height, width, options.mean, options.deviation);
    let batcher = |label_smoothing, mixed| ImageBatcher {
        processor: processor.clone(),
        classes: classes.len(),
        label_smoothing,
        mixed,
    };
    let parts = Parts {
        train: PreparedImages {
            source: train,
            processor: processor.clone(),
            size: options.size,
            augmentation: options.augmentation.drawn(),
        },
        validation: PreparedImages {
            source: validation,
            processor: processor.clone(),
            size: options.size,
            augmentation: Augmentation::default(),
        },
        collate_train: batcher(options.label_smoothing, options.mixed),
        collate_validation: batcher(0.0, false),
    };
    let objective = ImageClassification::new(context.head::<H>(&config)?);
    context.train(objective, config, parts, move |folder| Ok(processor.save_pretrained(folder)?))
}

fn text_table(context: &Context<'_>, data: &TextTableData) -> Result<Finished> {
    let recipe = context.recipe;
    let label = match (&data.label, &data.values) {
        (Some(label), _) => LabelColumns::Class(label.clone()),
        (None, values) => LabelColumns::Values(values.clone().unwrap_or_default()),
    };
    let columns = TextColumns { text: data.text.clone(), label };
    let train = TextTable::open(context.file(&data.train), &columns, None)?;
    let classes = train.class_names().to_vec();
    let names = (!classes.is_empty()).then_some(classes.as_slice());
    let validation = TextTable::open(context.file(&data.validation), &columns, names)?;
    let config = recipe.config(data.values.as_deref().unwrap_or(&classes))?;
    let tokenizer = tokenizer(recipe, &config, data.length)?;
    let batcher = TextBatcher::new(tokenizer.clone(), data.length, data.multiple);
    let objective = SequenceClassification::new(context.head(&config)?);
    let companions = move |folder: &Path| Ok(tokenizer.save_pretrained(folder)?);
    let (collate_train, collate_validation) = (batcher.clone(), batcher);
    let shortest = if data.random_pieces { data.shortest_piece } else { 1.0 };
    let train = TextPieces { source: train, shortest, mask_probability: data.mask_probability };
    let parts = Parts { train, validation, collate_train, collate_validation };
    context.train(objective, config, parts, companions)
}

fn plain_text(context: &Context<'_>, data: &PlainTextData) -> Result<Finished> {
    let recipe = context.recipe;
    let config = recipe.config(&[])?;
    let tokenizer = tokenizer(recipe, &config, data.length)?;
    let mask = WholeWordMask {
        probability: data.mask_probability,
        masked: data.masked,
        random: data.random,
        copied: data.copied,
    };
    let open = |paths: &[PathBuf], pieces, mask| {
        let paths: Vec<_> = paths.iter().map(|path| context.file(path)).collect();
        PlainText::open(&paths, data.length, pieces, tokenizer.clone(), mask)
    };
    let batcher = MaskedTextBatcher { tokenizer: tokenizer.clone(), multiple: data.length };
    let parts = Parts {
        train: open(&data.train, Pieces::Random, mask)?,
        validation: open(&data.validation, Pieces::Consecutive, WholeWordMask::measuring())?,
        collate_train: batcher.clone(),
        collate_validation: batcher,
    };
    let objective = MaskedLanguageModelling::new(context.head(&config)?);
    context.train(objective, config, parts, move |folder| Ok(tokenizer.save_pretrained(folder)?))
}

/// The reference's tokenizer, for a model that takes as many tokens as the data has.
fn tokenizer(
    recipe: &Recipe,
    config: &PerceiverConfig,
    length: usize,
) -> Result<PerceiverTokenizer> {
    let places = config.max_position_embeddings;
    if length > places {
        let reason = format!(
            "`data.length` is {length}, beyond the model's `max_position_embeddings`, {places}"
        );
        return Err(Error::recipe(&recipe.path, reason));
    }
    let tokenizer = PerceiverTokenizer::default();
    if config.vocab_size < tokenizer.vocabulary_size() {
        let (found, expected) = (config.vocab_size, tokenizer.vocabulary_size());
        let reason = format!("[model]: `vocab_size` is {found}, expected {expected} or more");
        return Err(Error::recipe(&recipe.path, reason));
    }
    Ok(tokenizer.with_model_max_length(places))
}

/// Pairs of an epoch, which means nothing where no pair comes twice.
const EPOCH: usize = 1 << 16;

fn generated_flow(context: &Context<'_>, data: &GeneratedFlowData) -> Result<Finished> {
    let recipe = context.recipe;
    let config = recipe.config(&[])?;
    let size = frame_size(&config);
    let train = FlowGenerator::new(context.file(&data.train), data.options(EPOCH, size))?;
    let validation = FlowGenerator::new(
        context.file(&data.validation),
        data.options(data.validation_pairs, size),
    )?;
    flow(context, config, train, validation, data.loss)
}

fn flow<S>(
    context: &Context<'_>,
    config: PerceiverConfig,
    train: S,
    validation: S,
    loss: FlowLoss,
) -> Result<Finished>
where
    S: Source<Example = FlowPair> + 'static,
{
    let parts =
        Parts { train, validation, collate_train: FlowBatcher, collate_validation: FlowBatcher };
    let objective = FlowEstimation::new(context.head(&config)?, loss);
    context.train(objective, config, parts, |_: &Path| Ok(()))
}

/// Height and width of the frames that the model takes.
fn frame_size(config: &PerceiverConfig) -> [usize; 2] {
    [config.train_size[0], config.train_size[1]]
}

fn videos(context: &Context<'_>, data: &VideosData) -> Result<Finished> {
    let recipe = context.recipe;
    let config = recipe.config(&[])?;
    let options = ClipOptions {
        frames: config.num_frames,
        side: config.output_shape[2] as u32,
        samples_per_frame: config.audio_samples_per_frame,
        frames_per_second: data.frames_per_second,
        stride: data.stride,
        random_crops: false,
    };
    let learned = ClipOptions { random_crops: data.random_crops, ..options };
    let classes = config.num_labels();
    let files = data.labelled(classes).map_err(|why| Error::recipe(&recipe.path, why))?;
    let files = || files.iter().map(|(path, label)| (context.file(path), *label));
    let seconds = data.held_out_seconds;
    let samples_per_patch = config.samples_per_patch;
    let points = ClipPoints {
        pixels: data.pixels,
        samples: data.sound_patches.saturating_mul(samples_per_patch),
    };
    let batcher = |points, hidden_labels| ClipBatcher {
        labels: classes,
        samples_per_patch,
        points,
        hidden_labels,
    };
    let parts = Parts {
        train: Clips::read(files(), ClipPart::AllBut { last_seconds: seconds }, learned)?,
        validation: Clips::read(files(), ClipPart::Last { seconds }, options)?,
        collate_train: batcher(Some(points), 0.5),
        collate_validation: batcher(None, 1.0),
    };
    let objective = Autoencoding::new(context.head(&config)?, AutoencodingLoss::default());
    context.train(objective, config, parts, |_: &Path| Ok(()))
}
