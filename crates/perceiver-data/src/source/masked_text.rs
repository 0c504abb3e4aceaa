use std::ops::Range;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::tokenizer::{EncodeOptions, PerceiverTokenizer};

/// Label of tokens that are not predicted.
const IGNORED_LABEL: i64 = -100;

/// A text's tokens, some of them masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedText {
    /// The model's input.
    pub ids: Vec<i64>,
    /// The original tokens to predict, or -100 for tokens that are not predicted.
    pub labels: Vec<i64>,
}

/// Masks whole words, with all their bytes. Words are separated by white space.
///
/// # Source
/// Perceiver IO section 4.1: whole words, each with probability 0.15. The paper does not say what
/// replaces them; the defaults are BERT's (arXiv 1810.04805, appendix A.1).
///
/// # Differences
/// BERT draws a replacement for each token, this type for each word. If no word of a text was
/// drawn, one is masked anyway.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WholeWordMask {
    /// Probability that a word is predicted.
    pub probability: f64,
    /// Share of the predicted words that become `[MASK]`s.
    pub masked: f64,
    /// Share of the predicted words that become random bytes. The rest stay unchanged.
    pub random: f64,
    /// Predicts every unchanged byte too. Copying teaches no language, but the model soon learns
    /// through which latents to find which position.
    pub copied: bool,
}

impl Default for WholeWordMask {
    fn default() -> Self {
        Self { probability: 0.15, masked: 0.8, random: 0.1, copied: false }
    }
}

/// The replacement of a word.
#[derive(Debug, Clone, Copy)]
enum Replacement {
    Mask,
    RandomBytes,
    Itself,
}

impl WholeWordMask {
    /// The masking for evaluation, independent of the one for training: every predicted word
    /// becomes `[MASK]`s.
    #[must_use]
    pub fn measuring() -> Self {
        Self { masked: 1.0, random: 0.0, ..Self::default() }
    }

    /// Masks words of a text; returns `None` if it has no words. Special tokens in the text stay.
    #[must_use]
    pub fn apply(
        &self,
        text: &str,
        tokenizer: &PerceiverTokenizer,
        random: &mut ChaCha8Rng,
    ) -> Option<MaskedText> {
        let replacements = self.replacements(text, random)?;
        // Neither pads nor truncates, and only these can fail.
        let encoding = tokenizer.encode(text, &EncodeOptions::default()).ok()?;
        let mut masked =
            MaskedText { ids: Vec::new(), labels: vec![IGNORED_LABEL; encoding.len()] };
        for (index, (&id, offset)) in encoding.input_ids.iter().zip(&encoding.offsets).enumerate() {
            let asked = offset.filter(|_| !tokenizer.is_special(id));
            let replacement = asked.and_then(|span| replacements[span.start]);
            if replacement.is_some() || (self.copied && asked.is_some()) {
                masked.labels[index] = id.into();
            }
            masked.ids.push(i64::from(match replacement {
                None | Some(Replacement::Itself) => id,
                Some(Replacement::Mask) => tokenizer.mask_token_id(),
                Some(Replacement::RandomBytes) => tokenizer.byte_id(random.random()),
            }));
        }
        Some(masked)
    }

    /// For each byte of the text, its replacement if it is predicted.
    fn replacements(
        &self,
        text: &str,
        random: &mut ChaCha8Rng,
    ) -> Option<Vec<Option<Replacement>>> {
        let words = words(text);
        if words.is_empty() {
            return None;
        }
        let mut asked: Vec<_> =
            words.iter().filter(|_| random.random_bool(self.probability)).collect();
        if asked.is_empty() {
            asked.push(&words[random.random_range(0..words.len())]);
        }
        let mut replacements = vec![None; text.len()];
        for word in asked {
            let drawn = random.random::<f64>();
            let replacement = if drawn < self.masked {
                Replacement::Mask
            } else if drawn < self.masked + self.random {
                Replacement::RandomBytes
            } else {
                Replacement::Itself
            };
            replacements[word.clone()].fill(Some(replacement));
        }
        Some(replacements)
    }
}

/// Byte ranges of a text's words, which are separated by white space.
pub(super) fn words(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let pieces = text.split_inclusive(char::is_whitespace).map(|piece| {
        let range = start..start + piece.trim_end().len();
        start += piece.len();
        range
    });
    pieces.filter(|range| !range.is_empty()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    const MASKS: WholeWordMask =
        WholeWordMask { probability: 0.5, masked: 1.0, random: 0.0, copied: false };

    fn masked(mask: WholeWordMask, text: &str, seed: u64) -> Option<MaskedText> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        mask.apply(text, &PerceiverTokenizer::default(), &mut random)
    }

    /// The model's input, with `_` for a mask.
    fn shown(masked: &MaskedText) -> String {
        let ids = &masked.ids[1..masked.ids.len() - 1];
        let bytes = ids.iter().map(|&id| if id == 3 { b'_' } else { (id - 6) as u8 }).collect();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn words_are_masked_whole_and_white_space_stays() {
        let seen: std::collections::BTreeSet<String> = (0..64)
            .map(|seed| shown(&masked(MASKS, "né  du\u{2003}\nto", seed).unwrap()))
            .collect();
        let forms = |word: &str| [word.to_owned(), "_".repeat(word.len())];
        let mut possible = std::collections::BTreeSet::new();
        for first in forms("né") {
            for second in forms("du") {
                for third in forms("to") {
                    possible.insert(format!("{first}  {second}\u{2003}\n{third}"));
                }
            }
        }
        possible.remove("né  du\u{2003}\nto");
        assert_eq!(seen, possible);
    }

    #[test]
    fn labels_are_what_was_there_and_only_where_it_was_asked_for() {
        let MaskedText { ids, labels } = masked(MASKS, "ab cd", 3).unwrap();
        let encoded = [4, 103, 104, 38, 105, 106, 5];
        for (index, &original) in encoded.iter().enumerate() {
            if ids[index] == 3 {
                assert_eq!(labels[index], original);
            } else {
                assert_eq!((ids[index], labels[index]), (original, IGNORED_LABEL));
            }
        }
    }

    #[test]
    fn shares_are_those_asked_for() {
        let text = "wxyz ".repeat(20_000);
        let MaskedText { ids, labels } = masked(WholeWordMask::default(), &text, 1).unwrap();
        let (mut asked, mut masks, mut kept) = (0.0, 0.0, 0.0);
        // Bytes of a word share its fate: one of them stands for it.
        for index in (1..ids.len() - 1).step_by(5) {
            let word = index..index + 4;
            let is_asked = labels[index] != IGNORED_LABEL;
            assert!(labels[word.clone()].iter().all(|l| (*l != IGNORED_LABEL) == is_asked));
            asked += f64::from(is_asked);
            masks += f64::from(ids[word.clone()].iter().all(|id| *id == 3));
            kept += f64::from(is_asked && ids[word.clone()] == labels[word]);
        }
        assert!((asked / 20_000.0 - 0.15).abs() < 0.01, "{asked}");
        assert!((masks / asked - 0.8).abs() < 0.03, "{masks} of {asked}");
        assert!((kept / asked - 0.1).abs() < 0.03, "{kept} of {asked}");
    }

    #[test]
    fn random_bytes_are_never_special_tokens() {
        let noise = WholeWordMask { masked: 0.0, random: 1.0, probability: 1.0, ..MASKS };
        let MaskedText { ids, .. } = masked(noise, &"x".repeat(5000), 2).unwrap();
        let bytes = &ids[1..ids.len() - 1];
        assert_eq!(bytes.iter().min(), Some(&6));
        assert_eq!(bytes.iter().max(), Some(&261));
    }

    #[test]
    fn special_tokens_written_in_a_text_are_not_asked_for() {
        let all = WholeWordMask { probability: 1.0, ..MASKS };
        let MaskedText { ids, labels } = masked(all, "a[SEP]", 0).unwrap();
        assert_eq!(ids, [4, 3, 5, 5]);
        assert_eq!(labels, [IGNORED_LABEL, 103, IGNORED_LABEL, IGNORED_LABEL]);
    }

    #[test]
    fn a_word_is_asked_for_even_where_none_was_drawn() {
        let never = WholeWordMask { probability: 0.0, ..MASKS };
        for seed in 0..8 {
            let shown = shown(&masked(never, "a b", seed).unwrap());
            assert!(["_ b", "a _"].contains(&shown.as_str()), "{shown}");
        }
    }

    #[test]
    fn what_is_copied_is_asked_for_wherever_a_byte_stands() {
        let copied = WholeWordMask { copied: true, ..MASKS };
        let MaskedText { ids, labels } = masked(copied, "ab cd ef", 3).unwrap();
        assert!(ids.contains(&3), "{ids:?}");
        let bytes: Vec<i64> = b"ab cd ef".iter().map(|&byte| i64::from(byte) + 6).collect();
        assert_eq!(labels[1..9], bytes);
        assert_eq!([labels[0], labels[9]], [IGNORED_LABEL; 2]);
    }

    #[test]
    fn white_space_alone_has_nothing_to_mask() {
        assert_eq!(masked(MASKS, " \n\u{2003}", 0), None);
        assert_eq!(masked(MASKS, "", 0), None);
    }

    proptest! {
        #[test]
        fn any_text_has_as_many_labels_as_tokens(text in "[^\\[]{0,40}", seed in any::<u64>()) {
            if let Some(masked) = masked(WholeWordMask::default(), &text, seed) {
                prop_assert_eq!(masked.ids.len(), masked.labels.len());
                prop_assert!(masked.labels.iter().any(|label| *label != IGNORED_LABEL));
            }
        }
    }
}
