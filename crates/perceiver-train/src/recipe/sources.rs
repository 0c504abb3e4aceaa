//! Opens the data of a recipe, for training as well as for evaluation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use perceiver_data::flow::{FlowGenerator, FlowPair, FlowPairs};
use perceiver_data::{
    Clip, ClipOptions, ClipPart, Clips, IdxImages, ImageFolder, LabelColumns, LabelledImage,
    LabelledText, MaskedText, PerceiverTokenizer, Pieces, PlainText, Record, RecordArrays,
    RecordSeries, RecordTable, Source, TextColumns, TextPieces, TextTable, WholeWordMask,
};
use perceiver_models::PerceiverConfig;

use super::Recipe;
use super::data::{
    ArraysData, FlowPairsData, GeneratedFlowData, IdxImagesData, ImageFolderData, PlainTextData,
    SeriesData, TableData, TextTableData, VideosData,
};
use crate::{Error, Result};

/// A source of any type.
pub(crate) type BoxedSource<E> = Box<dyn Source<Example = E>>;

/// Examples to train on, and held-out examples.
pub(super) struct Parts<E> {
    pub(super) train: BoxedSource<E>,
    pub(super) validation: BoxedSource<E>,
}

/// The files of a recipe, whose relative paths begin at a folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) root: &'a Path,
}

/// Pairs of an epoch of generated flow, where no pair comes twice.
const EPOCH: usize = 1 << 16;

impl Files<'_> {
    /// Both parts of IDX files.
    pub(super) fn idx_images(&self, data: &IdxImagesData) -> Result<Parts<LabelledImage>> {
        let named = format!("`data.classes` names {}", data.classes.len());
        let open = |files| self.held_out_idx_images(files, data.classes.len(), &named);
        let train = open(&data.train)?;
        self.check_classes(&data.train[1], train.only_class(), &data.classes)?;
        Ok(parts(train, open(&data.validation)?))
    }

    /// Both parts of folders of images, and the names of their classes.
    pub(super) fn image_folders(
        &self,
        data: &ImageFolderData,
    ) -> Result<(Parts<LabelledImage>, Vec<String>)> {
        let named = self.class_names();
        let train = self.image_folder(&data.train, named.as_deref())?;
        let classes = train.class_names().to_vec();
        self.check_classes(&data.train, train.only_class(), &classes)?;
        let validation = self.image_folder(&data.validation, Some(&classes))?;
        self.check_validation(
            &data.validation,
            named.is_none() && validation.labels_are_indexes(),
        )?;
        Ok((parts(train, validation), classes))
    }

    /// Both parts of a table of texts, and the names of their classes or values.
    pub(super) fn text_tables(
        &self,
        data: &TextTableData,
    ) -> Result<(Parts<LabelledText>, Vec<String>)> {
        let named = self.class_names().filter(|_| data.label.is_some());
        let train = self.text_table(&data.train, data, named.as_deref())?;
        let classes = train.class_names().to_vec();
        self.check_classes(&data.train, train.only_class(), &classes)?;
        let names = (!classes.is_empty()).then_some(classes.as_slice());
        let validation = self.text_table(&data.validation, data, names)?;
        self.check_validation(
            &data.validation,
            named.is_none() && validation.labels_are_indexes(),
        )?;
        let names = data.values.clone().unwrap_or(classes);
        let shortest = if data.random_pieces { data.shortest_piece } else { 1.0 };
        let train = TextPieces { source: train, shortest, mask_probability: data.mask_probability };
        Ok((parts(train, validation), names))
    }

    /// Both parts of a table of numbers and categories.
    pub(super) fn tables(&self, data: &TableData) -> Result<Parts<Record>> {
        Ok(parts(self.table(&data.train, data)?, self.table(&data.validation, data)?))
    }

    /// One part of a table of numbers and categories.
    pub(crate) fn table(&self, table: &Path, data: &TableData) -> Result<RecordTable> {
        let label = match (&data.label, &data.values) {
            (Some(label), _) => LabelColumns::Class(label.clone()),
            (None, values) => LabelColumns::Values(values.clone().unwrap_or_default()),
        };
        let name = data.name.as_str();
        Ok(RecordTable::open(self.path(table), name, Some(&label), &data.ignored)?)
    }

    /// Both parts of series.
    pub(super) fn series_parts(&self, data: &SeriesData) -> Result<Parts<Record>> {
        let train = self.series(&data.train, data)?;
        let validation = self.series(&data.validation, data)?;
        SeriesData::check_channels(&train, &validation)
            .map_err(|reason| Error::recipe(&self.path(&data.validation), reason))?;
        Ok(parts(train, validation))
    }

    /// One part of series.
    pub(crate) fn series(&self, file: &Path, data: &SeriesData) -> Result<RecordSeries> {
        let (path, name) = (self.path(file), data.name.as_str());
        Ok(match RecordSeries::is_ts(file) {
            true => RecordSeries::from_ts(path, name)?,
            false => RecordSeries::from_table(path, name, &data.columns())?,
        })
    }

    /// Both parts of NumPy's arrays.
    pub(super) fn both_arrays(&self, data: &ArraysData) -> Result<Parts<Record>> {
        Ok(parts(self.arrays(data.train(), data)?, self.arrays(data.validation(), data)?))
    }

    /// One part of NumPy's arrays: examples, and their labels.
    pub(crate) fn arrays(
        &self,
        (examples, labels): (&Path, Option<&Path>),
        data: &ArraysData,
    ) -> Result<RecordArrays> {
        let (name, layout) = data.layout();
        let labels = labels.map(|labels| self.path(labels));
        Ok(RecordArrays::open(self.path(examples), labels.as_deref(), name, layout)?)
    }

    /// Both parts of texts with masked words.
    pub(super) fn plain_texts(
        &self,
        data: &PlainTextData,
        tokenizer: &PerceiverTokenizer,
    ) -> Result<Parts<MaskedText>> {
        let mask = WholeWordMask {
            probability: data.mask_probability,
            masked: data.masked,
            random: data.random,
            copied: data.copied,
        };
        let (paths, length) = (self.paths(&data.train), data.length);
        let train = PlainText::open(&paths, length, Pieces::Random, tokenizer.clone(), mask)?;
        Ok(parts(train, self.held_out_texts(data, length, tokenizer.clone())?))
    }

    /// Both parts of generated flow.
    pub(super) fn generated_flow(
        &self,
        data: &GeneratedFlowData,
        config: &PerceiverConfig,
    ) -> Result<Parts<FlowPair>> {
        let train = self.flow_generator(&data.train, data, EPOCH, config)?;
        Ok(parts(train, self.held_out_flow(data, config)?))
    }

    /// Both parts of real pairs, cropped to the size that the model takes.
    pub(super) fn flow_crops(
        &self,
        data: &FlowPairsData,
        config: &PerceiverConfig,
    ) -> Result<Parts<FlowPair>> {
        let open = |folder| FlowPairs::crops(self.path(folder), frame_size(config));
        Ok(parts(open(&data.train)?, open(&data.validation)?))
    }

    /// Both parts of videos.
    pub(super) fn videos(
        &self,
        data: &VideosData,
        config: &PerceiverConfig,
    ) -> Result<Parts<Clip>> {
        let train = self.clips(data, config, data.random_crops)?;
        Ok(parts(train, self.held_out_clips(data, config)?))
    }

    /// Names of the classes in order of their numbers, if `[model]` has them: the data may then have
    /// their indexes instead.
    fn class_names(&self) -> Option<Vec<String>> {
        let names = self.recipe.settings.model.get("id2label")?.as_table()?;
        let name = |(index, name): (&String, &toml::Value)| {
            Some((index.parse::<usize>().ok()?, name.as_str()?.to_owned()))
        };
        let names: Option<BTreeMap<_, _>> = names.iter().map(name).collect();
        Some(names?.into_values().collect())
    }

    /// Refuses training data of one class: every answer would be right, and transformers would take a
    /// model of one label for a regression.
    fn check_classes(&self, path: &Path, only: Option<usize>, names: &[String]) -> Result<()> {
        let Some(name) = only.and_then(|class| names.get(class)) else { return Ok(()) };
        let reason = format!("all examples are of one class, {name:?}, expected two or more");
        Err(Error::recipe(&self.path(path), reason))
    }

    /// Refuses indexes for classes whose order nobody has chosen.
    fn check_validation(&self, path: &Path, is_unclear: bool) -> Result<()> {
        if !is_unclear {
            return Ok(());
        }
        let reason = "labels are numbers, those of the training data are names: `model.id2label` \
                      can give their order";
        Err(Error::recipe(&self.path(path), reason))
    }

    fn path(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }

    fn paths(&self, paths: &[PathBuf]) -> Vec<PathBuf> {
        paths.iter().map(|path| self.path(path)).collect()
    }

    /// Images and their labels. Refuses labels beyond the number of `known` classes, and names its
    /// origin.
    pub(crate) fn held_out_idx_images(
        &self,
        [images, labels]: &[PathBuf; 2],
        known: usize,
        named: &str,
    ) -> Result<IdxImages> {
        idx_images(&self.path(images), &self.path(labels), known, named)
    }

    /// A folder of images. Without names of classes, its folders name them.
    pub(crate) fn image_folder(
        &self,
        folder: &Path,
        classes: Option<&[String]>,
    ) -> Result<ImageFolder> {
        Ok(ImageFolder::open(self.path(folder), classes)?)
    }

    /// A table of texts. Without names of classes, its column names them.
    pub(crate) fn text_table(
        &self,
        table: &Path,
        data: &TextTableData,
        classes: Option<&[String]>,
    ) -> Result<TextTable> {
        let label = match (&data.label, &data.values) {
            (Some(label), _) => LabelColumns::Class(label.clone()),
            (None, values) => LabelColumns::Values(values.clone().unwrap_or_default()),
        };
        let columns = TextColumns { text: data.text.clone(), label };
        Ok(TextTable::open(self.path(table), &columns, classes)?)
    }

    /// Held-out texts, in pieces of a length in tokens.
    pub(crate) fn held_out_texts(
        &self,
        data: &PlainTextData,
        length: usize,
        tokenizer: PerceiverTokenizer,
    ) -> Result<PlainText> {
        let (paths, mask) = (self.paths(&data.validation), WholeWordMask::measuring());
        Ok(PlainText::open(&paths, length, Pieces::Consecutive, tokenizer, mask)?)
    }

    /// Held-out generated pairs.
    pub(crate) fn held_out_flow(
        &self,
        data: &GeneratedFlowData,
        config: &PerceiverConfig,
    ) -> Result<FlowGenerator> {
        self.flow_generator(&data.validation, data, data.validation_pairs, config)
    }

    fn flow_generator(
        &self,
        folder: &Path,
        data: &GeneratedFlowData,
        pairs: usize,
        config: &PerceiverConfig,
    ) -> Result<FlowGenerator> {
        Ok(FlowGenerator::new(self.path(folder), data.options(pairs, frame_size(config)))?)
    }

    /// Whole pairs of frames, of any size.
    pub(crate) fn whole_pairs(&self, folder: &Path) -> Result<FlowPairs> {
        Ok(FlowPairs::whole(self.path(folder))?)
    }

    /// Clips of the videos without their held-out ends.
    pub(crate) fn clips(
        &self,
        data: &VideosData,
        config: &PerceiverConfig,
        random_crops: bool,
    ) -> Result<Clips> {
        let part = ClipPart::AllBut { last_seconds: data.held_out_seconds };
        self.read_clips(data, config, part, random_crops)
    }

    /// Clips of the held-out ends of the videos.
    pub(crate) fn held_out_clips(
        &self,
        data: &VideosData,
        config: &PerceiverConfig,
    ) -> Result<Clips> {
        let part = ClipPart::Last { seconds: data.held_out_seconds };
        self.read_clips(data, config, part, false)
    }

    fn read_clips(
        &self,
        data: &VideosData,
        config: &PerceiverConfig,
        part: ClipPart,
        random_crops: bool,
    ) -> Result<Clips> {
        let videos = data.labelled(config.num_labels());
        let videos = videos.map_err(|why| Error::recipe(&self.recipe.path, why))?;
        let videos = videos.into_iter().map(|(video, label)| (self.path(video), label));
        let options = clip_options(config, data.frames_per_second, data.stride);
        Ok(Clips::read(videos, part, ClipOptions { random_crops, ..options })?)
    }
}

/// Clips of the model's size, without random crops.
pub(crate) fn clip_options(
    config: &PerceiverConfig,
    frames_per_second: f64,
    stride: usize,
) -> ClipOptions {
    ClipOptions {
        frames: config.num_frames,
        side: config.output_shape[2] as u32,
        samples_per_frame: config.audio_samples_per_frame,
        frames_per_second,
        stride,
        random_crops: false,
    }
}

/// Images and their labels. Refuses labels beyond the number of `known` classes, and names its origin.
pub(crate) fn idx_images(
    images: &Path,
    labels: &Path,
    known: usize,
    named: &str,
) -> Result<IdxImages> {
    let source = IdxImages::open(images, labels)?;
    match source.classes() {
        found if found > known => {
            Err(Error::recipe(labels, format!("label {}, but {named} classes", found - 1)))
        }
        _ => Ok(source),
    }
}

fn parts<E>(
    train: impl Source<Example = E> + 'static,
    validation: impl Source<Example = E> + 'static,
) -> Parts<E> {
    Parts { train: Box::new(train), validation: Box::new(validation) }
}

/// Height and width of the frames that the model takes.
fn frame_size(config: &PerceiverConfig) -> [usize; 2] {
    [config.train_size[0], config.train_size[1]]
}

impl Recipe {
    /// The reference's tokenizer, for a model that takes as many tokens as the data has.
    pub(super) fn tokenizer(
        &self,
        config: &PerceiverConfig,
        length: usize,
    ) -> Result<PerceiverTokenizer> {
        let places = config.max_position_embeddings;
        if length > places {
            let reason = format!(
                "`data.length` is {length}, expected at most the {places} of \
                 `model.max_position_embeddings`"
            );
            return Err(Error::recipe(&self.path, reason));
        }
        let tokenizer = PerceiverTokenizer::default();
        if config.vocab_size < tokenizer.vocabulary_size() {
            let (found, expected) = (config.vocab_size, tokenizer.vocabulary_size());
            let reason = format!("[model]: `vocab_size` is {found}, expected {expected} or more");
            return Err(Error::recipe(&self.path, reason));
        }
        Ok(tokenizer.with_model_max_length(places))
    }
}
