use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{LabelledText, Source};
use crate::Result;

/// A random piece of each text, half of its words or more, so that what is learned does not hang
/// on where a text begins.
#[derive(Debug, Clone)]
pub struct TextPieces<S> {
    /// Where texts come from.
    pub source: S,
}

impl<S: Source<Example = LabelledText>> Source for TextPieces<S> {
    type Example = LabelledText;

    fn len(&self) -> usize {
        self.source.len()
    }

    fn example(&self, index: usize, random: &mut ChaCha8Rng) -> Result<LabelledText> {
        let LabelledText { text, label } = self.source.example(index, random)?;
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.len() < 2 {
            return Ok(LabelledText { text, label });
        }
        let count = random.random_range(words.len().div_ceil(2)..=words.len());
        let start = random.random_range(0..=words.len() - count);
        Ok(LabelledText { text: words[start..start + count].join(" "), label })
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

    fn piece(text: &'static str, seed: u64) -> LabelledText {
        let pieces = TextPieces { source: One(text) };
        pieces.example(0, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap()
    }

    #[test]
    fn pieces_are_half_of_the_words_or_more_from_anywhere() {
        let mut seen: Vec<String> = (0..64).map(|seed| piece("a b c", seed).text).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, ["a b", "a b c", "b c"]);
    }

    #[test]
    fn a_single_word_stays_with_its_label() {
        let expected = LabelledText { text: "alone".into(), label: Label::Class(2) };
        assert_eq!(piece("alone", 0), expected);
    }
}
