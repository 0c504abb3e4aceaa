//! What is on disk, as examples that a model can be measured on.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use perceiver_data::flow::{FlowGenerator, FlowPair, FlowPairs};
use perceiver_data::{
    ClipOptions, ClipPart, Clips, IdxImages, ImageFolder, LabelColumns, PerceiverTokenizer, Pieces,
    PlainText, Source, TextColumns, TextTable, WholeWordMask,
};
use perceiver_models::{Head, PerceiverConfig, ProblemType};
use perceiver_train::recipe::{Data, Recipe};
use perceiver_train::{Examples, longest_text};

/// The rate of the videos that the published model was trained on.
const FRAMES_PER_SECOND: f64 = 25.0;

/// Examples with answers.
pub(super) enum Measured {
    Examples(Examples),
    Clips {
        clips: Clips,
        /// What a recipe's runs learn from.
        learned: Option<Clips>,
    },
    Pairs(Box<dyn Source<Example = FlowPair>>),
}

/// A model's folder, and what of it tells which data fit.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) folder: PathBuf,
    pub(super) head: Head,
    pub(super) config: PerceiverConfig,
}

impl Model {
    pub(super) fn open(folder: PathBuf) -> Result<Self> {
        let config = PerceiverConfig::from_pretrained(&folder)?;
        Ok(Self { head: config.head()?, folder, config })
    }

    /// Opens files as the head takes them.
    pub(super) fn data(&self, paths: &[PathBuf]) -> Result<Measured> {
        let examples = match (self.head, paths) {
            (Head::MaskedLm, texts) => self.masked_texts(texts, usize::MAX)?,
            (Head::SequenceClassification, [table]) => {
                // Numbers stand in columns with the names of the model's labels.
                let label = match self.config.problem_type {
                    Some(ProblemType::SingleLabelClassification) => None,
                    None if self.config.num_labels() > 1 => None,
                    _ => Some(LabelColumns::Values(self.classes())),
                };
                let label = label.unwrap_or_else(|| LabelColumns::Class("label".to_owned()));
                self.texts(table, TextColumns { text: "text".to_owned(), label })?
            }
            (Head::SequenceClassification, _) => {
                bail!("{} files, expected one table of texts, *.csv or *.jsonl", paths.len())
            }
            (
                Head::ImageClassificationLearned
                | Head::ImageClassificationFourier
                | Head::ImageClassificationConvProcessing,
                paths,
            ) => match paths {
                [folder] if folder.is_dir() => self.image_folder(folder)?,
                [images, labels] => self.idx_images(images, labels)?,
                _ => bail!(
                    "expected a folder with a folder of photos for each class, or two IDX files, \
                     of images and of labels"
                ),
            },
            (Head::OpticalFlow, [folder]) => {
                return Ok(Measured::Pairs(Box::new(FlowPairs::whole(folder)?)));
            }
            (Head::OpticalFlow, _) => {
                bail!("{} paths, expected one folder of pairs of frames", paths.len())
            }
            (Head::MultimodalAutoencoding, videos) => {
                let stride = self.config.num_frames;
                let videos: Vec<_> = videos.iter().map(|video| (video.clone(), None)).collect();
                let clips = self.clips(&videos, ClipPart::Whole, FRAMES_PER_SECOND, stride)?;
                return Ok(Measured::Clips { clips, learned: None });
            }
            (head, _) => {
                let folder = self.folder.display();
                bail!("{folder}: its model is a {head}, of which nothing can be measured")
            }
        };
        Ok(Measured::Examples(examples))
    }

    /// Opens what the runs of a recipe are measured on. Its paths begin at `root`.
    pub(super) fn held_out(&self, recipe: &Recipe, root: &Path) -> Result<Measured> {
        if recipe.head != self.head {
            let (folder, path) = (self.folder.display(), recipe.path.display());
            bail!("{folder}: its model is a {}, {path} is for a {}", self.head, recipe.head);
        }
        let place = |path: &PathBuf| root.join(path);
        let examples = match &recipe.settings.data {
            Data::IdxImages(data) => {
                let [images, labels] = data.validation.each_ref().map(place);
                self.idx_images(&images, &labels)?
            }
            Data::ImageFolder(data) => self.image_folder(&place(&data.validation))?,
            Data::TextTable(data) => {
                let label = match (&data.label, &data.values) {
                    (Some(label), _) => LabelColumns::Class(label.clone()),
                    (None, values) => LabelColumns::Values(values.clone().unwrap_or_default()),
                };
                let columns = TextColumns { text: data.text.clone(), label };
                self.texts(&place(&data.validation), columns)?
            }
            Data::PlainText(data) => {
                let paths: Vec<_> = data.validation.iter().map(place).collect();
                self.masked_texts(&paths, data.length)?
            }
            Data::GeneratedFlow(data) => {
                let size = [self.config.train_size[0], self.config.train_size[1]];
                let options = data.options(data.validation_pairs, size);
                let pairs = FlowGenerator::new(place(&data.validation), options)?;
                return Ok(Measured::Pairs(Box::new(pairs)));
            }
            Data::FlowPairs(data) => {
                let pairs = FlowPairs::whole(place(&data.validation))?;
                return Ok(Measured::Pairs(Box::new(pairs)));
            }
            Data::Videos(data) => {
                let videos = data.labelled(self.config.num_labels());
                let videos = videos.map_err(|why| anyhow!("{}: {why}", recipe.path.display()))?;
                let videos: Vec<_> =
                    videos.into_iter().map(|(video, label)| (root.join(video), label)).collect();
                let seconds = data.held_out_seconds;
                let read = |part| self.clips(&videos, part, data.frames_per_second, data.stride);
                let clips = read(ClipPart::Last { seconds })?;
                let learned = Some(read(ClipPart::AllBut { last_seconds: seconds })?);
                return Ok(Measured::Clips { clips, learned });
            }
        };
        Ok(Measured::Examples(examples))
    }

    pub(super) fn class_name(&self, class: usize) -> String {
        let name = i64::try_from(class).ok().and_then(|id| self.config.id2label.get(&id));
        name.map_or_else(|| format!("LABEL_{class}"), String::clone)
    }

    fn classes(&self) -> Vec<String> {
        self.config.id2label.values().cloned().collect()
    }

    fn image_folder(&self, folder: &Path) -> Result<Examples> {
        let source = ImageFolder::open(folder, Some(&self.classes()))?;
        Ok(Examples::Images(Box::new(source)))
    }

    fn idx_images(&self, images: &Path, labels: &Path) -> Result<Examples> {
        let source = IdxImages::open(images, labels)?;
        let (found, known) = (source.classes(), self.config.num_labels());
        if found > known {
            let (labels, label) = (labels.display(), found - 1);
            bail!("{labels}: label {label}, but the model has {known} classes from 0");
        }
        Ok(Examples::Images(Box::new(source)))
    }

    fn texts(&self, table: &Path, columns: TextColumns) -> Result<Examples> {
        let classes = match &columns.label {
            LabelColumns::Class(_) => Some(self.classes()),
            LabelColumns::Values(_) => None,
        };
        let source = TextTable::open(table, &columns, classes.as_deref())?;
        Ok(Examples::Texts(Box::new(source)))
    }

    fn masked_texts(&self, paths: &[PathBuf], length: usize) -> Result<Examples> {
        let tokenizer = PerceiverTokenizer::from_pretrained(&self.folder)?;
        let length = length.min(longest_text(&self.folder, &tokenizer, &self.config)?);
        if length < PlainText::SHORTEST {
            let (folder, shortest) = (self.folder.display(), PlainText::SHORTEST);
            bail!("{folder}: the model takes {length} tokens, expected {shortest} or more");
        }
        let mask = WholeWordMask::measuring();
        let source = PlainText::open(paths, length, Pieces::Consecutive, tokenizer, mask)?;
        Ok(Examples::MaskedTexts(Box::new(source)))
    }

    fn clips(
        &self,
        videos: &[(PathBuf, Option<usize>)],
        part: ClipPart,
        frames_per_second: f64,
        stride: usize,
    ) -> Result<Clips> {
        let options = ClipOptions {
            frames: self.config.num_frames,
            side: self.config.output_shape[2] as u32,
            samples_per_frame: self.config.audio_samples_per_frame,
            frames_per_second,
            stride,
            random_crops: false,
        };
        Ok(Clips::read(videos.iter().cloned(), part, options)?)
    }
}
