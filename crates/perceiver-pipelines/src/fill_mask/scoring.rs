//! Candidates for masked spans, and their scores.

use std::collections::BTreeSet;

use burn::tensor::{Tensor, TensorData};
use perceiver_models::PerceiverHead as _;

use super::{FillMask, Scored};
use crate::best_texts::{Choices, best_texts};
use crate::masked_text::{MaskedText, Row};
use crate::{Result, text};

/// The token of byte 0; those of the other bytes follow in order.
const FIRST_BYTE_ID: u32 = 6;

impl FillMask {
    /// Finds the best texts of independent bytes. Returns false if the model's scores are not finite.
    pub(super) fn guess(
        &self,
        texts: &[Result<MaskedText>],
        candidates: &mut [Vec<Scored>],
        count: usize,
    ) -> bool {
        let capacity = self.capacity();
        let rows = good(texts).flat_map(|(index, text)| {
            let groups = text.groups(capacity).into_iter();
            groups.map(move |group| {
                ((index, text, group.clone()), text.row_of_group(group, capacity))
            })
        });
        self.predict(rows, |(index, text, group), choices| {
            let first = text.spans[group.start].tokens.start;
            for span in group {
                let tokens = &text.spans[span].tokens;
                let choices = &choices[tokens.start - first..tokens.end - first];
                candidates[index][span] = best_texts(choices, count);
            }
        })
    }

    /// Scores the words to choose from; words of equal length share a pass. Returns false if the
    /// model's scores are not finite.
    pub(super) fn choose(
        &self,
        texts: &[Result<MaskedText>],
        candidates: &mut [Vec<Scored>],
        count: usize,
    ) -> bool {
        let capacity = self.capacity();
        let mask = self.tokenizer.mask_token_id();
        let lengths: BTreeSet<usize> = self.words.iter().map(String::len).collect();
        let lengths = &lengths;
        let rows = good(texts).flat_map(|(index, text)| {
            (0..text.spans.len()).flat_map(move |span| {
                let focus = &text.spans[span].tokens;
                lengths.iter().map(move |&length| {
                    ((index, span), text.row(focus.clone(), &vec![mask; length], capacity))
                })
            })
        });
        self.predict(rows, |(index, span), choices| {
            let words = self.words.iter().filter(|word| word.len() == choices.len());
            let found = &mut candidates[index][span];
            found.extend(words.map(|word| {
                let bytes = word.bytes().zip(&choices);
                (word.clone(), bytes.map(|(byte, choices)| score(choices, byte)).sum())
            }));
            keep_best(found, count);
        })
    }

    /// Scores candidates again, every byte given those before it. Returns false if the model's scores
    /// are not finite.
    pub(super) fn rescore(
        &self,
        texts: &[Result<MaskedText>],
        candidates: &mut [Vec<Scored>],
    ) -> bool {
        let capacity = self.capacity();
        let mask = self.tokenizer.mask_token_id();
        // A prefix, and the number of bytes of the whole text.
        let mut prefixes: BTreeSet<(usize, usize, usize, Vec<u8>)> = BTreeSet::new();
        for (index, spans) in candidates.iter_mut().enumerate() {
            for (span, found) in spans.iter_mut().enumerate() {
                for (text, score) in found {
                    *score = 0.0;
                    let bytes = text.as_bytes();
                    prefixes.extend(
                        (0..bytes.len())
                            .map(|length| (index, span, bytes.len(), bytes[..length].to_vec())),
                    );
                }
            }
        }
        let rows = prefixes.into_iter().filter_map(|(index, span, length, prefix)| {
            let text = texts[index].as_ref().ok()?;
            let mut ids: Vec<u32> =
                prefix.iter().map(|&byte| FIRST_BYTE_ID + u32::from(byte)).collect();
            ids.resize(length, mask);
            let mut row = text.row(text.spans[span].tokens.clone(), &ids, capacity);
            let next = row.places.start + prefix.len();
            row.places = next..next + 1;
            Some(((index, span, length, prefix), row))
        });
        let is_finite = self.predict(rows, |(index, span, length, prefix), choices| {
            for (text, sum) in &mut candidates[index][span] {
                let bytes = text.as_bytes();
                if bytes.len() == length && bytes.starts_with(&prefix) {
                    *sum += score(&choices[0], bytes[prefix.len()]);
                }
            }
        });
        for found in candidates.iter_mut().flatten() {
            keep_best(found, self.top_k);
        }
        is_finite
    }

    /// Runs the model on rows in batches, and passes the choices for each row's places on. Returns
    /// false once a score is not finite.
    fn predict<K>(
        &self,
        rows: impl Iterator<Item = (K, Row)>,
        mut take: impl FnMut(K, Vec<Choices>),
    ) -> bool {
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let (keys, rows): (Vec<K>, Vec<Row>) = rows.by_ref().take(self.batch.max(1)).unzip();
            let logits = self.logits(&rows);
            for (index, (key, row)) in keys.into_iter().zip(rows).enumerate() {
                let logits = logits.clone().narrow(0, index, 1).narrow(1, 0, row.places.len());
                let logits: Vec<f64> = logits.into_data().iter::<f64>().collect();
                if !logits.iter().all(|logit| logit.is_finite()) {
                    return false;
                }
                let places = logits.chunks(self.config.vocab_size);
                take(key, places.map(|logits| self.byte_choices(logits)).collect());
            }
        }
        true
    }

    /// `[rows, places, vocabulary]` at each row's places; rows with fewer places repeat the last.
    fn logits(&self, rows: &[Row]) -> Tensor<3> {
        let texts: Vec<&[u32]> = rows.iter().map(|row| row.ids.as_slice()).collect();
        let encoded = self.model.encode(text::request(&texts, &self.device));

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
            // An added token may replace a byte in the vocabulary.
            .filter(|((_, id), _)| !self.tokenizer.added_tokens().contains_key(id))
            .map(|((logit, _), byte)| (byte, logit - total))
            .collect()
    }
}

/// Texts without errors, with their indices.
fn good(texts: &[Result<MaskedText>]) -> impl Iterator<Item = (usize, &MaskedText)> {
    texts.iter().enumerate().filter_map(|(index, text)| Some((index, text.as_ref().ok()?)))
}

/// The log-probability of a byte; minus infinity if the vocabulary does not have it.
fn score(choices: &Choices, byte: u8) -> f64 {
    let found = choices.iter().find(|(choice, _)| *choice == byte);
    found.map_or(f64::NEG_INFINITY, |(_, score)| *score)
}

fn keep_best(candidates: &mut Scored, count: usize) {
    candidates.retain(|(_, score)| *score > f64::NEG_INFINITY);
    candidates.sort_by(|one, other| other.1.total_cmp(&one.1));
    candidates.truncate(count);
}
