use std::ops::Range;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::masked_text::words;
use super::{LabelledText, Remarks, Source};
use crate::Result;

/// A random piece of each text with some words masked, so that a model depends neither on where a
/// text begins nor on any single word.
///
/// A masked word becomes one `[MASK]` per byte. White space stays.
#[derive(Debug, Clone)]
pub struct TextPieces<S> {
    /// The source of texts.
    pub source: S,
    /// Smallest share of a text's words in a piece; 1 keeps texts whole.
    pub shortest: f64,
    /// Probability that a word is masked.
    pub mask_probability: f64,
}

impl<S: Source<Example = LabelledText>> Source for TextPieces<S> {
    type Example = LabelledText;

    fn len(&self) -> usize {
        self.source.len()
    }

    fn example(&self, index: usize, random: &mut ChaCha8Rng) -> Result<LabelledText> {
        let LabelledText { text, label } = self.source.example(index, random)?;
        let words = words(&text);
        if words.is_empty() {
            return Ok(LabelledText { text, label });
        }
        let shortest = (words.len() as f64 * self.shortest).ceil() as usize;
        let count = random.random_range(shortest.max(1)..=words.len());
        let start = random.random_range(0..=words.len() - count);
        let text = self.hide(&text, &words[start..start + count], random);
        Ok(LabelledText { text, label })
    }

    fn remarks(&self) -> Remarks {
        self.source.remarks()
    }
}

impl<S> TextPieces<S> {
    /// The text from the first to the last of the given words.
    fn hide(&self, text: &str, words: &[Range<usize>], random: &mut ChaCha8Rng) -> String {
        let mut piece = String::new();
        let mut end = words[0].start;
        for word in words {
            piece += &text[end..word.start];
            if random.random_bool(self.mask_probability) {
                piece += &"[MASK]".repeat(word.len());
            } else {
                piece += &text[word.clone()];
            }
            end = word.end;
        }
        piece
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::source::Label;

    struct One(&'static str);

    impl Source for One {
        type Example = LabelledText;

        fn len(&self) -> usize {
            1
        }

        fn example(&self, _: usize, _: &mut ChaCha8Rng) -> Result<LabelledText> {
            Ok(LabelledText { text: self.0.into(), label: Label::Class(2) })
        }
    }

    fn piece(text: &'static str, mask_probability: f64, seed: u64) -> LabelledText {
        let pieces = TextPieces { source: One(text), shortest: 0.5, mask_probability };
        pieces.example(0, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap()
    }

    /// All pieces that are drawn.
    fn pieces(text: &'static str, mask_probability: f64) -> Vec<String> {
        let mut seen: Vec<_> =
            (0..64).map(|seed| piece(text, mask_probability, seed).text).collect();
        seen.sort();
        seen.dedup();
        seen
    }

    #[test]
    fn pieces_are_half_of_the_words_or_more_from_anywhere() {
        assert_eq!(pieces(" a b\n\nc ", 0.0), ["a b", "a b\n\nc", "b\n\nc"]);
    }

    #[test]
    fn a_hidden_word_is_a_mask_for_each_byte() {
        assert_eq!(pieces("ö", 0.5), ["[MASK][MASK]", "ö"]);
    }

    #[test]
    fn a_single_word_stays_with_its_label() {
        let expected = LabelledText { text: "alone".into(), label: Label::Class(2) };
        assert_eq!(piece("alone", 0.0, 0), expected);
    }

    #[test]
    fn a_text_without_words_stays() {
        assert_eq!(piece(" \n", 0.5, 0).text, " \n");
    }
}
