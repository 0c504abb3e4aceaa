mod options;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use perceiver_core::KeyMask;
use perceiver_data::PerceiverTokenizer;
use perceiver_models::{
    PerceiverConfig, PerceiverForMaskedLM, PerceiverHead as _, Pretrained, Request,
};

use crate::best_texts::{Choices, best_texts};
use crate::masked_text::{MaskedText, Row};
use crate::{Error, Result, text};

pub use self::options::FillMaskOptions;

/// The token of byte 0; those of the others follow in order.
const FIRST_BYTE_ID: u32 = 6;

/// Fills the masked bytes of a text.
///
/// Every `[MASK]` stands for one byte of UTF-8, or as many as [`FillMaskOptions::span`] says, and
/// masks without anything between them are filled together.
///
/// ```no_run
/// use burn::tensor::Device;
/// use perceiver_pipelines::{FillMask, FillMaskOptions};
///
/// # fn main() -> perceiver_pipelines::Result<()> {
/// # #[cfg(feature = "flex")] {
/// let pipeline = FillMask::from_pretrained("language-perceiver", &Device::flex())?;
/// let options = FillMaskOptions::default().with_span(8).with_top_k(3);
/// let filled = pipeline.run("Some words are[MASK].", &options)?;
/// println!("{}", filled.text);
///
/// let options = FillMaskOptions::default().with_words(["dog", "elephant"]);
/// for candidate in &pipeline.run("The [MASK] barked.", &options)?.spans[0].candidates {
///     println!("{:.6} {}", candidate.score, candidate.text);
/// }
/// # }
/// # Ok(())
/// # }
/// ```
///
/// # Differences
/// - The reference's pipeline fills every mask on its own, also with special tokens and with bytes
///   that are no text together.
/// - The reference's example pads the text to the model's length and masks the padding. Masked
///   tokens have no weight in attention, so that the unpadded text, which is what runs here, gives
///   the same scores.
/// - A text of more tokens than the model has positions is read in windows. Neighbouring spans
///   share one if they take up half of the positions at most; around them stands as much of the
///   text as there are positions left for, in whole characters, on both sides alike.
#[derive(Debug)]
pub struct FillMask {
    model: PerceiverForMaskedLM,
    config: PerceiverConfig,
    tokenizer: PerceiverTokenizer,
    warnings: Vec<String>,
    device: Device,
}

/// A text and what its masks could stand for.
#[derive(Debug, Clone, PartialEq)]
pub struct FilledText {
    /// The text with the best candidate at every span.
    pub text: String,
    /// The masked spans in the order of the text.
    pub spans: Vec<MaskedSpan>,
}

/// Masks that stand side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskedSpan {
    /// Where in the text the masks are written, in bytes.
    pub range: Range<usize>,
    /// How many bytes they stand for, where there are no words to choose from.
    pub bytes: usize,
    /// What they could stand for, best first. Fewer than were asked for where there are not as
    /// many: a single byte can only be one of the 128 characters of ASCII.
    pub candidates: Vec<Candidate>,
}

/// What a span of masks could stand for.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The whole span's text.
    pub text: String,
    /// Its probability among the texts of as many bytes: the product of its bytes' probabilities,
    /// each independent of the others or, for rescored candidates, given those before it.
    pub score: f64,
}

/// Candidates of a span, with the logarithms of their probabilities.
type Scored = Vec<(String, f64)>;

impl FillMask {
    /// Loads the model and the tokenizer of a folder onto a device.
    ///
    /// # Errors
    /// [`Error::WrongHead`] where the folder is not that of a masked language model;
    /// [`Error::Model`] where it cannot be loaded; [`Error::Data`] where the tokenizer's settings
    /// are damaged.
    pub fn from_pretrained(folder: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let folder = folder.as_ref();
        let config = PerceiverConfig::from_pretrained(folder)?;
        if let Ok(head) = config.head()
            && head != perceiver_models::Head::MaskedLm
        {
            let path = folder.to_path_buf();
            return Err(Error::WrongHead { path, head, expected: "a PerceiverForMaskedLM" });
        }
        let tokenizer = PerceiverTokenizer::from_pretrained(folder)?;
        let Pretrained { model, config, report } =
            PerceiverForMaskedLM::from_pretrained(folder, device)?;
        let warnings = report.warnings();
        Ok(Self { model, config, tokenizer, warnings, device: device.clone() })
    }

    /// What was suspicious about the weights, a line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Finds the most probable texts of every masked span.
    ///
    /// Only texts of valid UTF-8 count. Probabilities are over the model's whole vocabulary,
    /// special tokens included. While one span is filled, the others stay masked.
    ///
    /// # Errors
    /// When the text is empty, has no mask, has more masks side by side than the model has
    /// positions, or has tokens that the model does not know; and where a word to choose from is
    /// empty or too long.
    pub fn run(&self, text: &str, options: &FillMaskOptions) -> Result<FilledText> {
        self.run_all(&[text], options).remove(0)
    }

    /// Fills several texts, in batches. What comes back has their order.
    ///
    /// # Errors
    /// Those of [`run`](Self::run), for each text on its own.
    #[must_use]
    pub fn run_all(&self, texts: &[&str], options: &FillMaskOptions) -> Vec<Result<FilledText>> {
        let masked = texts.iter().map(|text| self.masked(text, options));
        let masked: Vec<Result<MaskedText>> = masked.collect();
        let mut candidates: Vec<Vec<Scored>> = masked
            .iter()
            .map(|text| vec![Scored::new(); text.as_ref().map_or(0, |text| text.spans.len())])
            .collect();
        let count = options.top_k.max(options.rescored);
        if options.words.is_empty() {
            self.guess(&masked, &mut candidates, count, options);
        } else {
            self.choose(&masked, &mut candidates, count, options);
        }
        if options.rescored > 0 {
            self.rescore(&masked, &mut candidates, options);
        }
        let answers = texts.iter().zip(masked).zip(candidates);
        answers.map(|((text, masked), found)| Ok(filled(text, &masked?, found, options))).collect()
    }

    fn masked(&self, text: &str, options: &FillMaskOptions) -> Result<MaskedText> {
        let encoding = text::encode_of_any_length(text, &self.tokenizer, &self.config)?;
        let mask = self.tokenizer.mask_token_id();
        let masks = encoding.input_ids.iter().filter(|&&id| id == mask).count();
        if masks == 0 {
            return Err(Error::NoMask { mask: self.tokenizer.mask_token().to_owned() });
        }
        let (span, limit) = (options.span.max(1), self.capacity());
        if span > limit {
            return Err(Error::SpanTooLong { bytes: span, limit });
        }
        text::check_size(text.len().saturating_add(masks.saturating_mul(span)))?;
        let text = MaskedText::new(text, &encoding, mask, span);

        let lengths = || options.words.iter().map(String::len);
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

    /// Tokens that the model takes between `[CLS]` and `[SEP]`.
    fn capacity(&self) -> usize {
        text::limit(&self.tokenizer, &self.config).saturating_sub(2)
    }

    /// Finds the best texts of independent bytes.
    fn guess(
        &self,
        texts: &[Result<MaskedText>],
        candidates: &mut [Vec<Scored>],
        count: usize,
        options: &FillMaskOptions,
    ) {
        let capacity = self.capacity();
        let rows = good(texts).flat_map(|(index, text)| {
            let groups = text.groups(capacity).into_iter();
            groups.map(move |group| {
                ((index, text, group.clone()), text.row_of_group(group, capacity))
            })
        });
        self.ask(rows, options.batch, |(index, text, group), choices| {
            let first = text.spans[group.start].tokens.start;
            for span in group {
                let tokens = &text.spans[span].tokens;
                let choices = &choices[tokens.start - first..tokens.end - first];
                candidates[index][span] = best_texts(choices, count);
            }
        });
    }

    /// Scores the words to choose from, those of one length together.
    fn choose(
        &self,
        texts: &[Result<MaskedText>],
        candidates: &mut [Vec<Scored>],
        count: usize,
        options: &FillMaskOptions,
    ) {
        let capacity = self.capacity();
        let mask = self.tokenizer.mask_token_id();
        let lengths: BTreeSet<usize> = options.words.iter().map(String::len).collect();
        let lengths = &lengths;
        let rows = good(texts).flat_map(|(index, text)| {
            (0..text.spans.len()).flat_map(move |span| {
                let focus = &text.spans[span].tokens;
                lengths.iter().map(move |&length| {
                    ((index, span), text.row(focus.clone(), &vec![mask; length], capacity))
                })
            })
        });
        self.ask(rows, options.batch, |(index, span), choices| {
            let words = options.words.iter().filter(|word| word.len() == choices.len());
            let found = &mut candidates[index][span];
            found.extend(words.map(|word| {
                let bytes = word.bytes().zip(&choices);
                (word.clone(), bytes.map(|(byte, choices)| score(choices, byte)).sum())
            }));
            keep_best(found, count);
        });
    }

    /// Scores candidates again, every byte given those before it.
    fn rescore(
        &self,
        texts: &[Result<MaskedText>],
        candidates: &mut [Vec<Scored>],
        options: &FillMaskOptions,
    ) {
        let capacity = self.capacity();
        let mask = self.tokenizer.mask_token_id();
        // A beginning, and how many bytes it is the beginning of.
        let mut beginnings: BTreeSet<(usize, usize, usize, Vec<u8>)> = BTreeSet::new();
        for (index, spans) in candidates.iter_mut().enumerate() {
            for (span, found) in spans.iter_mut().enumerate() {
                for (text, score) in found {
                    *score = 0.0;
                    let bytes = text.as_bytes();
                    beginnings.extend(
                        (0..bytes.len())
                            .map(|length| (index, span, bytes.len(), bytes[..length].to_vec())),
                    );
                }
            }
        }
        let rows = beginnings.into_iter().filter_map(|(index, span, length, beginning)| {
            let text = texts[index].as_ref().ok()?;
            let mut ids: Vec<u32> =
                beginning.iter().map(|&byte| FIRST_BYTE_ID + u32::from(byte)).collect();
            ids.resize(length, mask);
            let mut row = text.row(text.spans[span].tokens.clone(), &ids, capacity);
            let next = row.places.start + beginning.len();
            row.places = next..next + 1;
            Some(((index, span, length, beginning), row))
        });
        self.ask(rows, options.batch, |(index, span, length, beginning), choices| {
            for (text, sum) in &mut candidates[index][span] {
                let bytes = text.as_bytes();
                if bytes.len() == length && bytes.starts_with(&beginning) {
                    *sum += score(&choices[0], bytes[beginning.len()]);
                }
            }
        });
        for found in candidates.iter_mut().flatten() {
            keep_best(found, options.top_k);
        }
    }

    /// Reads rows in batches, and gives what could stand at each row's places.
    fn ask<K>(
        &self,
        rows: impl Iterator<Item = (K, Row)>,
        batch: usize,
        mut answer: impl FnMut(K, Vec<Choices>),
    ) {
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let (keys, rows): (Vec<K>, Vec<Row>) = rows.by_ref().take(batch.max(1)).unzip();
            let logits = self.logits(&rows);
            for (index, (key, row)) in keys.into_iter().zip(rows).enumerate() {
                let logits = logits.clone().narrow(0, index, 1).narrow(1, 0, row.places.len());
                let logits: Vec<f64> = logits.into_data().iter::<f64>().collect();
                let places = logits.chunks(self.config.vocab_size);
                answer(key, places.map(|logits| self.byte_choices(logits)).collect());
            }
        }
    }

    /// `[rows, places, vocabulary]`, of each row's own places; the last again where they are few.
    fn logits(&self, rows: &[Row]) -> Tensor<3> {
        let texts: Vec<&[u32]> = rows.iter().map(|row| row.ids.as_slice()).collect();
        let (ids, mask) = text::stack(&texts, self.tokenizer.pad_token_id());
        let ids = Tensor::<2, Int>::from_data(ids, &self.device);
        let mask =
            mask.map(|mask| KeyMask::from_attention_mask(Tensor::from_data(mask, &self.device)));
        let encoded = self.model.encode(Request::new(ids).mask(mask));

        let count = rows.iter().map(|row| row.places.len()).max().unwrap_or(0);
        let places = rows.iter().flat_map(|row| {
            (0..count).map(|rank| (row.places.start + rank).min(row.places.end - 1) as i64)
        });
        let places = TensorData::new(places.collect::<Vec<_>>(), [rows.len(), count]);
        self.model.decode(&encoded, Tensor::from_data(places, &self.device))
    }

    fn byte_choices(&self, logits: &[f64]) -> Choices {
        let greatest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|logit| (logit - greatest).exp()).sum();
        let total = greatest + sum.ln();
        let bytes = logits.iter().skip(FIRST_BYTE_ID as usize).zip(FIRST_BYTE_ID..);
        bytes
            .zip(0..=u8::MAX)
            // An added token may have taken a byte's place in the vocabulary.
            .filter(|((_, id), _)| !self.tokenizer.added_tokens().contains_key(id))
            .map(|((logit, _), byte)| (byte, logit - total))
            .collect()
    }
}

/// Texts without errors, with their places.
fn good(texts: &[Result<MaskedText>]) -> impl Iterator<Item = (usize, &MaskedText)> {
    texts.iter().enumerate().filter_map(|(index, text)| Some((index, text.as_ref().ok()?)))
}

/// The logarithm of a byte's probability; minus infinity where the model has no such byte.
fn score(choices: &Choices, byte: u8) -> f64 {
    let found = choices.iter().find(|(choice, _)| *choice == byte);
    found.map_or(f64::NEG_INFINITY, |(_, score)| *score)
}

fn keep_best(candidates: &mut Scored, count: usize) {
    candidates.retain(|(_, score)| *score > f64::NEG_INFINITY);
    candidates.sort_by(|one, other| other.1.total_cmp(&one.1));
    candidates.truncate(count);
}

fn filled(
    text: &str,
    masked: &MaskedText,
    candidates: Vec<Scored>,
    options: &FillMaskOptions,
) -> FilledText {
    let spans = masked.spans.iter().zip(candidates).map(|(span, candidates)| {
        let candidates = candidates.into_iter().take(options.top_k);
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

/// The text with the best candidate in place of every span; a span without any stays as it is.
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
