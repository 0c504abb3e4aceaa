mod scoring;

use std::collections::VecDeque;
use std::iter;
use std::ops::Range;
use std::path::Path;

use burn::tensor::Device;
use perceiver_data::PerceiverTokenizer;
use perceiver_models::{Head, LoadReport, PerceiverConfig, PerceiverForMaskedLM, hub};

use crate::masked_text::MaskedText;
use crate::model_files::{ModelFiles, Opened};
use crate::{Error, Result, text};

/// Fills in the masked bytes of a text.
///
/// Each `[MASK]` stands for one byte of UTF-8, or for as many as [`span`](Self::span) sets, and
/// adjacent masks are filled in together.
///
/// ```no_run
/// use burn::tensor::Device;
/// use perceiver_pipelines::FillMask;
///
/// # fn main() -> perceiver_pipelines::Result<()> {
/// # #[cfg(feature = "flex")] {
/// let pipeline = FillMask::from_pretrained("language-perceiver", &Device::flex())?;
/// println!("{}", pipeline.run("Some words are[MASK][MASK][MASK][MASK][MASK].")?.text);
///
/// let pipeline = pipeline.words(["dog", "elephant"]);
/// for candidate in &pipeline.run("The [MASK] barked.")?.spans[0].candidates {
///     println!("{:.6} {}", candidate.score, candidate.text);
/// }
/// # }
/// # Ok(())
/// # }
/// ```
///
/// # Differences
/// - The reference's pipeline fills each mask on its own, even with special tokens or with bytes
///   that are not text together.
/// - The reference's example pads the text to the model's length and masks the padding. Masked
///   tokens have no weight in attention, so the unpadded text that this pipeline reads gives the
///   same scores.
/// - A text longer than the model's input is read in windows. Neighbouring spans share a window if
///   they take at most half of the positions; the rest is surrounding text, in whole characters and
///   equal parts on both sides.
#[derive(Debug, Clone)]
pub struct FillMask {
    model: PerceiverForMaskedLM,
    config: PerceiverConfig,
    tokenizer: PerceiverTokenizer,
    report: LoadReport,
    warnings: Vec<String>,
    device: Device,
    top_k: usize,
    span: usize,
    words: Vec<String>,
    rescored: usize,
    batch: usize,
}

/// A text and the candidates for its masks.
#[derive(Debug, Clone, PartialEq)]
pub struct FilledText {
    /// The text with the best candidate in every span.
    pub text: String,
    /// The masked spans in the order of the text.
    pub spans: Vec<MaskedSpan>,
}

/// Adjacent masks.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskedSpan {
    /// The bytes of the text where the masks are written.
    pub range: Range<usize>,
    /// Number of bytes that the masks stand for, unless there are words to choose from.
    pub bytes: usize,
    /// Candidates, best first. There may be fewer than requested: a single byte can only be one of
    /// the 128 ASCII characters.
    pub candidates: Vec<Candidate>,
}

/// A text that could replace a span of masks.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The text of the whole span.
    pub text: String,
    /// Its probability among texts of the same number of bytes: the product of its bytes'
    /// probabilities, independent of each other or, if rescored, given the previous bytes.
    pub score: f64,
}

/// Candidates of a span with their log-probabilities.
type Scored = Vec<(String, f64)>;

impl FillMask {
    /// Loads a model with its tokenizer from a folder, or by a hub id such as
    /// `deepmind/language-perceiver`.
    ///
    /// # Errors
    /// [`Error::WrongHead`] if the model is not a masked language model; [`Error::Model`] if it
    /// cannot be loaded; [`Error::Data`] if the tokenizer's settings are invalid.
    pub fn from_pretrained(source: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::load(ModelFiles::folder(&hub::folder(source)?), device)
    }

    /// Loads a model from files in memory: names and contents of `config.json`,
    /// `model.safetensors` and `tokenizer_config.json`.
    ///
    /// # Errors
    /// As [`from_pretrained`](Self::from_pretrained).
    pub fn from_files(files: &[(&str, &[u8])], device: &Device) -> Result<Self> {
        Self::load(ModelFiles::memory(files), device)
    }

    fn load(files: ModelFiles<'_>, device: &Device) -> Result<Self> {
        files.config(|head| head == Head::MaskedLm, "a PerceiverForMaskedLM")?;
        let tokenizer = files.tokenizer()?;
        let Opened { head: model, config, report } = files.open(device)?;
        let (warnings, device) = (report.warnings(), device.clone());
        let (top_k, span, words, rescored, batch) = (5, 1, Vec::new(), 0, 8);
        Ok(Self {
            model,
            config,
            tokenizer,
            report,
            warnings,
            device,
            top_k,
            span,
            words,
            rescored,
            batch,
        })
    }

    /// Sets the largest number of candidates per span. 5 by default.
    #[must_use]
    pub fn top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k;
        self
    }

    /// Sets the number of bytes that each mask stands for; zero counts as one. 1 by default.
    #[must_use]
    pub fn span(mut self, bytes: usize) -> Self {
        self.span = bytes;
        self
    }

    /// Sets the only texts to choose from, of any length. Each is scored with as many masks as it
    /// has bytes; texts with bytes that are not in the model's vocabulary are dropped.
    #[must_use]
    pub fn words<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words = words.into_iter().map(Into::into).collect();
        self
    }

    /// Sets how many candidates, and at least `top_k`, are scored again as a whole. Zero, the
    /// default, turns this off.
    ///
    /// The model predicts masked bytes independently of each other, so the best candidate may mix
    /// two words. Rescoring predicts each byte given the previous ones, at the cost of one pass per
    /// distinct prefix of the candidates.
    ///
    /// # Source
    /// PLL-word-l2r in "A Better Way to Do Masked Language Model Scoring", Kauf and Ivanova 2023.
    #[must_use]
    pub fn rescored(mut self, candidates: usize) -> Self {
        self.rescored = candidates;
        self
    }

    /// Sets how many texts, or windows of them, go through the model at once; zero counts as one.
    /// 8 by default.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Warnings about the model's files, one line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Finds the most probable texts for every masked span.
    ///
    /// Candidates are valid UTF-8. Probabilities are over the model's whole vocabulary, including
    /// special tokens. While one span is filled in, the others stay masked.
    ///
    /// # Errors
    /// Returns an error if the text is empty, has no mask, has more adjacent masks than the model
    /// has positions, or has tokens outside the model's vocabulary; or if a word to choose from is
    /// empty or too long.
    pub fn run(&self, text: &str) -> Result<FilledText> {
        self.fill(&[text]).remove(0)
    }

    /// Fills in many texts in batches, in order.
    ///
    /// # Errors
    /// Each text has its own result, with the errors of [`run`](Self::run).
    pub fn run_all<I>(&self, texts: I) -> impl Iterator<Item = Result<FilledText>> + use<'_, I>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let mut texts = texts.into_iter();
        let mut ready = VecDeque::new();
        iter::from_fn(move || {
            if ready.is_empty() {
                let batch: Vec<I::Item> = texts.by_ref().take(self.batch.max(1)).collect();
                ready.extend(self.fill(&batch));
            }
            ready.pop_front()
        })
    }

    fn fill(&self, texts: &[impl AsRef<str>]) -> Vec<Result<FilledText>> {
        let masked = texts.iter().map(|text| self.masked(text.as_ref()));
        let masked: Vec<Result<MaskedText>> = masked.collect();
        let mut candidates: Vec<Vec<Scored>> = masked
            .iter()
            .map(|text| vec![Scored::new(); text.as_ref().map_or(0, |text| text.spans.len())])
            .collect();
        let count = self.top_k.max(self.rescored);
        let mut is_finite = match self.words.is_empty() {
            true => self.guess(&masked, &mut candidates, count),
            false => self.choose(&masked, &mut candidates, count),
        };
        if self.rescored > 0 && is_finite {
            is_finite = self.rescore(&masked, &mut candidates);
        }
        let filled = texts.iter().zip(masked).zip(candidates);
        filled
            .map(|((text, masked), found)| match masked? {
                _ if !is_finite => Err(self.report.not_finite().into()),
                masked => Ok(filled_text(text.as_ref(), &masked, found, self.top_k)),
            })
            .collect()
    }

    fn masked(&self, text: &str) -> Result<MaskedText> {
        let encoding = text::encode_of_any_length(text, &self.tokenizer, &self.config)?;
        let mask = self.tokenizer.mask_token_id();
        let masks = encoding.input_ids.iter().filter(|&&id| id == mask).count();
        if masks == 0 {
            return Err(Error::NoMask { mask: self.tokenizer.mask_token().to_owned() });
        }
        let (span, limit) = (self.span.max(1), self.capacity());
        if span > limit {
            return Err(Error::SpanTooLong { bytes: span, limit });
        }
        text::check_size(text.len().saturating_add(masks.saturating_mul(span)))?;
        let text = MaskedText::new(text, &encoding, mask, span);

        let lengths = || self.words.iter().map(String::len);
        if lengths().any(|length| length == 0) {
            return Err(Error::EmptyWord);
        }
        let longest = match lengths().max() {
            None => text.spans.iter().map(|span| span.tokens.len()).max(),
            longest => longest,
        };
        match longest {
            Some(bytes) if bytes > limit => Err(Error::SpanTooLong { bytes, limit }),
            _ => Ok(text),
        }
    }

    /// Most tokens that the model accepts between `[CLS]` and `[SEP]`.
    fn capacity(&self) -> usize {
        text::limit(&self.tokenizer, &self.config).saturating_sub(2)
    }
}

fn filled_text(
    text: &str,
    masked: &MaskedText,
    candidates: Vec<Scored>,
    top_k: usize,
) -> FilledText {
    let spans = masked.spans.iter().zip(candidates).map(|(span, candidates)| {
        let candidates = candidates.into_iter().take(top_k);
        let candidates = candidates.map(|(text, score)| Candidate { text, score: score.exp() });
        MaskedSpan {
            range: span.written.clone(),
            bytes: span.tokens.len(),
            candidates: candidates.collect(),
        }
    });
    let spans: Vec<_> = spans.collect();
    FilledText { text: fill(text, &spans), spans }
}

/// The text with the best candidate in place of each span; a span without candidates stays.
fn fill(text: &str, spans: &[MaskedSpan]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut end = 0;
    for span in spans {
        let best = span.candidates.first().map(|candidate| candidate.text.as_str());
        filled.push_str(&text[end..span.range.start]);
        filled.push_str(best.unwrap_or(&text[span.range.clone()]));
        end = span.range.end;
    }
    filled.push_str(&text[end..]);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipelines_can_be_sent_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<FillMask>();
        is_send::<crate::Attend>();
        is_send::<crate::Classify>();
        is_send::<crate::Features>();
        is_send::<crate::OpticalFlow>();
    }

    #[test]
    fn the_best_candidates_take_the_place_of_the_masks() {
        let span = |range, text: &str| MaskedSpan {
            range,
            bytes: 1,
            candidates: vec![Candidate { text: text.to_owned(), score: 0.5 }],
        };
        let spans = [span(1..7, "b"), span(8..14, "d")];
        assert_eq!(fill("a[MASK]c[MASK]", &spans), "abcd");
    }
}
