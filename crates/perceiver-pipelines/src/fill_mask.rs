use std::ops::Range;
use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use perceiver_core::OutputOptions;
use perceiver_data::{Encoding, PerceiverTokenizer};
use perceiver_models::{LoadOptions, PerceiverConfig, PerceiverForMaskedLM, Pretrained};

use crate::best_texts::{Choices, best_texts};
use crate::{Error, Result, text};

/// The token of byte 0; those of the others follow in order.
const FIRST_BYTE_ID: usize = 6;

/// Fills the masked bytes of a text.
///
/// Every `[MASK]` stands for one byte of UTF-8, and masks without anything between them are
/// filled together.
///
/// ```no_run
/// use burn::tensor::Device;
/// use perceiver_pipelines::FillMask;
///
/// # fn main() -> perceiver_pipelines::Result<()> {
/// # #[cfg(feature = "flex")] {
/// let pipeline = FillMask::from_pretrained("language-perceiver", &Device::flex())?;
/// let filled = pipeline.run("This is an incomplete sentence where some words are[MASK].", 5)?;
/// println!("{}", filled.text);
/// # }
/// # Ok(())
/// # }
/// ```
///
/// # Differences
/// The reference has no pipeline for this; its example pads the text to the model's length and
/// masks the padding. Masked tokens have no weight in attention, so that the unpadded text, which
/// is what runs here, gives the same scores.
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
    /// How many bytes they stand for.
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
    /// Its probability: the product of its bytes' probabilities.
    pub score: f64,
}

impl FillMask {
    /// Loads the model and the tokenizer of a folder onto a device.
    ///
    /// # Errors
    /// [`Error::Model`] where the folder is not that of a masked language model or cannot be
    /// loaded; [`Error::Data`] where the tokenizer's settings are damaged.
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
            perceiver_models::from_pretrained(folder, device, &LoadOptions::default())?;
        let warnings = report.warnings();
        Ok(Self { model, config, tokenizer, warnings, device: device.clone() })
    }

    /// What was suspicious about the weights, a line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Finds the `top_k` most probable texts of every masked span.
    ///
    /// Bytes are independent given the text, as the model sees them, so the best texts of a span
    /// are those with the greatest product; only texts of valid UTF-8 count. Probabilities are
    /// over the model's whole vocabulary, special tokens included.
    ///
    /// # Errors
    /// When the text is empty, has no mask, has more tokens than the model has positions, or has
    /// tokens that the model does not know.
    pub fn run(&self, text: &str, top_k: usize) -> Result<FilledText> {
        let encoding = text::encode(text, &self.tokenizer, &self.config)?;
        let tokens = self.masked_tokens(&encoding);
        if tokens.is_empty() {
            let mask = self.tokenizer.mask_token().to_owned();
            return Err(Error::NoMask { mask });
        }
        let places = self.choices(&encoding);
        let spans = tokens.into_iter().filter_map(|tokens| {
            let first = encoding.offsets[tokens.start]?;
            let last = encoding.offsets[tokens.end - 1]?;
            let texts = best_texts(&places[tokens.clone()], top_k);
            let candidates =
                texts.into_iter().map(|(text, score)| Candidate { text, score: score.exp() });
            Some(MaskedSpan {
                range: first.start..last.end,
                bytes: tokens.len(),
                candidates: candidates.collect(),
            })
        });
        let spans: Vec<_> = spans.collect();
        Ok(FilledText { text: fill(text, &spans), spans })
    }

    /// Runs of masks in the encoding.
    fn masked_tokens(&self, encoding: &Encoding) -> Vec<Range<usize>> {
        let mask = self.tokenizer.mask_token_id();
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (place, &id) in encoding.input_ids.iter().enumerate() {
            match runs.last_mut() {
                _ if id != mask => {}
                Some(run) if run.end == place => run.end += 1,
                _ => runs.push(place..place + 1),
            }
        }
        runs
    }

    /// For every token, the bytes it could be.
    fn choices(&self, encoding: &Encoding) -> Vec<Choices> {
        let tokens = encoding.len();
        let ids = encoding.input_ids.iter().map(|&id| i64::from(id)).collect();
        let ids = TensorData::new::<i64, _>(ids, [1, tokens]);
        let ids = Tensor::<2, Int>::from_data(ids, &self.device);
        let output = self.model.forward(ids, None, None, OutputOptions::default());
        // The query of rank i is asked about the token of rank i, however many there are.
        let logits = output.logits.narrow(1, 0, tokens).into_data();
        let logits: Vec<f64> = logits.iter::<f64>().collect();
        logits.chunks(self.config.vocab_size).map(|logits| self.byte_choices(logits)).collect()
    }

    fn byte_choices(&self, logits: &[f64]) -> Choices {
        let greatest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|logit| (logit - greatest).exp()).sum();
        let total = greatest + sum.ln();
        let bytes = logits.iter().skip(FIRST_BYTE_ID).zip(FIRST_BYTE_ID..).zip(0..=u8::MAX);
        bytes
            // An added token may have taken a byte's place in the vocabulary.
            .filter(|((_, id), _)| {
                let added = self.tokenizer.added_tokens();
                !u32::try_from(*id).is_ok_and(|id| added.contains_key(&id))
            })
            .map(|((logit, _), byte)| (byte, logit - total))
            .collect()
    }
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
        is_send::<crate::Classify>();
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
