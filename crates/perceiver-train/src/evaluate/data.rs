//! Opens held-out data for a model.

use std::path::{Path, PathBuf};

use perceiver_data::flow::{FlowPair, FlowPairs};
use perceiver_data::{
    Clip, ClipPart, Clips, ImageFolder, LabelColumns, LabelledImage, LabelledText, MaskedText,
    PerceiverTokenizer, Pieces, PlainText, Record, Source, TextColumns, TextTable, WholeWordMask,
};
use perceiver_models::{Head, ProblemType};

use super::{Evaluator, longest_text};
use crate::recipe::sources::{BoxedSource, Files, clip_options, idx_images};
use crate::recipe::{Data, Recipe, compatibility};
use crate::{Error, Result};

/// Frame rate of the videos that the published model was trained on.
const FRAMES_PER_SECOND: f64 = 25.0;

/// Held-out data that fits a model.
#[expect(missing_debug_implementations, reason = "sources need none")]
pub enum EvaluationData {
    /// Examples that [`Evaluator::evaluate`] measures.
    Examples(Examples),
    /// Pairs of frames of any size, for [`FlowEvaluation`](super::FlowEvaluation).
    FlowPairs(BoxedSource<FlowPair>),
}

/// Examples by the kind of head.
#[expect(missing_debug_implementations, reason = "sources need none")]
pub enum Examples {
    /// For heads that classify images.
    Images(BoxedSource<LabelledImage>),
    /// For sequence classification.
    Texts(BoxedSource<LabelledText>),
    /// For data of any kind.
    Records(BoxedSource<Record>),
    /// For masked language modelling.
    MaskedTexts(BoxedSource<MaskedText>),
    /// For autoencoding.
    Clips {
        /// The clips.
        clips: BoxedSource<Clip>,
        /// Clips of the training part, whose mean frame is the baseline; without them, that of
        /// `clips`.
        train: Option<BoxedSource<Clip>>,
    },
}

impl Examples {
    /// Number of examples.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Images(source) => source.len(),
            Self::Texts(source) => source.len(),
            Self::Records(source) => source.len(),
            Self::MaskedTexts(source) => source.len(),
            Self::Clips { clips, .. } => clips.len(),
        }
    }

    /// If true, there are no examples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Evaluator {
    /// Opens files that the head takes: a folder with a folder of images per class or two IDX files, a
    /// table of texts, texts, a folder of pairs of frames, or videos.
    ///
    /// # Errors
    /// If files are missing or damaged, or the head takes others.
    pub fn open_files(&self, paths: &[PathBuf]) -> Result<EvaluationData> {
        let examples = match (self.head, paths) {
            (Head::MaskedLm, texts) => self.masked_texts(texts)?,
            (Head::SequenceClassification, [table]) => self.text_table(table)?,
            (Head::SequenceClassification, _) => {
                let expected = "expected one table of texts, such as *.csv or *.jsonl";
                return Err(found_several(paths, "files", expected));
            }
            (head, paths) if classifies_images(head) => match paths {
                [folder] if folder.is_dir() => {
                    let source = ImageFolder::open(folder, Some(&self.classes()))?;
                    Examples::Images(Box::new(source))
                }
                [images, labels] => {
                    let source = idx_images(images, labels, self.known(), &self.named())?;
                    Examples::Images(Box::new(source))
                }
                _ => {
                    let expected = "expected a folder with a folder of photos per class, or two \
                                    IDX files, of images and of labels";
                    return Err(found_several(paths, "paths", expected));
                }
            },
            (Head::OpticalFlow, [folder]) => {
                return Ok(EvaluationData::FlowPairs(Box::new(FlowPairs::whole(folder)?)));
            }
            (Head::OpticalFlow, _) => {
                let expected = "expected one folder of pairs of frames";
                return Err(found_several(paths, "paths", expected));
            }
            (Head::MultimodalAutoencoding, videos) => {
                let videos = videos.iter().map(|video| (video.clone(), None));
                let stride = self.config.num_frames;
                let options = clip_options(&self.config, FRAMES_PER_SECOND, stride);
                let clips = Clips::read(videos, ClipPart::Whole, options);
                let clips = Box::new(clips.map_err(|error| self.unreadable(error))?);
                Examples::Clips { clips, train: None }
            }
            (Head::AnyData, _) => {
                let expected = "expected a recipe, *.toml, for its validation data";
                return Err(
                    self.refused(format!("a {} is evaluated on records, {expected}", self.head))
                );
            }
            (head, _) => return Err(self.refused(format!("cannot evaluate a {head}"))),
        };
        Ok(EvaluationData::Examples(examples))
    }

    /// Opens the validation part of a recipe, whose relative paths begin at a folder.
    ///
    /// # Errors
    /// If the recipe is for another head, or its files are missing or damaged.
    pub fn open_recipe(&self, recipe: &Recipe, root: &Path) -> Result<EvaluationData> {
        if recipe.head != self.head {
            let (path, expected) = (recipe.path.display(), recipe.head);
            return Err(self.refused(format!("a {}, but {path} is for a {expected}", self.head)));
        }
        if self.head == Head::AnyData {
            compatibility::targets(&self.config, &recipe.settings.data)
                .map_err(|reason| Error::recipe(&recipe.path, reason))?;
        }
        let files = Files { recipe, root };
        let examples = match &recipe.settings.data {
            Data::IdxImages(data) => {
                let validation = &data.validation;
                let source = files.held_out_idx_images(validation, self.known(), &self.named())?;
                Examples::Images(Box::new(source))
            }
            Data::ImageFolder(data) => {
                let classes = self.classes();
                let source = files.image_folder(&data.validation, Some(&classes))?;
                Examples::Images(Box::new(source))
            }
            Data::TextTable(data) => {
                let classes = data.label.is_some().then(|| self.classes());
                let source = files.text_table(&data.validation, data, classes.as_deref())?;
                Examples::Texts(Box::new(source))
            }
            Data::Table(data) => Examples::Records(Box::new(files.table(&data.validation, data)?)),
            Data::Series(data) => {
                Examples::Records(Box::new(files.series(&data.validation, data)?))
            }
            Data::Arrays(data) => {
                Examples::Records(Box::new(files.arrays(data.validation(), data)?))
            }
            Data::PlainText(data) => {
                let (length, tokenizer) = self.pieces(data.length)?;
                let source = files.held_out_texts(data, length, tokenizer)?;
                Examples::MaskedTexts(Box::new(source))
            }
            Data::GeneratedFlow(data) => {
                let pairs = files.held_out_flow(data, &self.config)?;
                return Ok(EvaluationData::FlowPairs(Box::new(pairs)));
            }
            Data::FlowPairs(data) => {
                let pairs = files.whole_pairs(&data.validation)?;
                return Ok(EvaluationData::FlowPairs(Box::new(pairs)));
            }
            Data::Videos(data) => {
                let clips = Box::new(files.held_out_clips(data, &self.config)?);
                let train = Box::new(files.clips(data, &self.config, false)?);
                Examples::Clips { clips, train: Some(train) }
            }
        };
        Ok(EvaluationData::Examples(examples))
    }

    fn classes(&self) -> Vec<String> {
        self.config.id2label.values().cloned().collect()
    }

    fn known(&self) -> usize {
        self.config.num_labels()
    }

    fn named(&self) -> String {
        format!("the model has {}", self.known())
    }

    fn text_table(&self, table: &Path) -> Result<Examples> {
        // Numbers stand in columns with the names of the model's labels.
        let (label, classes) = match self.config.problem_type {
            Some(ProblemType::SingleLabelClassification) => (None, Some(self.classes())),
            None if self.known() > 1 => (None, Some(self.classes())),
            _ => (Some(LabelColumns::Values(self.classes())), None),
        };
        let label = label.unwrap_or_else(|| LabelColumns::Class("label".to_owned()));
        let is_one_value = matches!(&label, LabelColumns::Values(names) if names.len() == 1);
        let open = |label| {
            let columns = TextColumns { text: "text".to_owned(), label };
            TextTable::open(table, &columns, classes.as_deref())
        };
        let source = match open(label) {
            // A model with one value may have no name for it other than LABEL_0.
            Err(error) if is_one_value => {
                open(LabelColumns::Values(vec!["label".to_owned()])).or(Err(error))
            }
            source => source,
        };
        Ok(Examples::Texts(Box::new(source?)))
    }

    fn masked_texts(&self, paths: &[PathBuf]) -> Result<Examples> {
        let (length, tokenizer) = self.pieces(usize::MAX)?;
        let mask = WholeWordMask::measuring();
        let source = PlainText::open(paths, length, Pieces::Consecutive, tokenizer, mask)?;
        Ok(Examples::MaskedTexts(Box::new(source)))
    }

    /// Tokens of a piece of text, at most `longest`, and the model's tokenizer.
    fn pieces(&self, longest: usize) -> Result<(usize, PerceiverTokenizer)> {
        let tokenizer = PerceiverTokenizer::from_pretrained(&self.folder)?;
        let length = longest.min(longest_text(&self.folder, &tokenizer, &self.config)?);
        if length < PlainText::SHORTEST {
            let shortest = PlainText::SHORTEST;
            let reason = format!("the model takes {length} tokens, expected {shortest} or more");
            return Err(self.refused(reason));
        }
        Ok((length, tokenizer))
    }

    /// The error of data none of which can be read.
    fn unreadable(&self, error: perceiver_data::Error) -> Error {
        use perceiver_data::Error::{Image, Sound, Video};
        match error {
            Image { .. } | Sound { .. } | Video { .. } => {
                let reason = format!("no example could be read: {error}");
                Error::NoResult { path: self.folder.clone(), reason }
            }
            error => error.into(),
        }
    }

    pub(super) fn refused(&self, reason: impl std::fmt::Display) -> Error {
        Error::evaluation(&self.folder, reason)
    }
}

/// The error about a wrong number of paths, which names the first of them.
fn found_several(paths: &[PathBuf], what: &str, expected: &str) -> Error {
    const NAMED: usize = 3;
    let named = paths.iter().take(NAMED).map(|path| path.display().to_string());
    let named = named.collect::<Vec<_>>().join(", ");
    Error::evaluation(Path::new(&named), format!("found {} {what}, {expected}", paths.len()))
}

const fn classifies_images(head: Head) -> bool {
    matches!(
        head,
        Head::ImageClassificationLearned
            | Head::ImageClassificationFourier
            | Head::ImageClassificationConvProcessing
    )
}
