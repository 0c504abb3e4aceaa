//! Texts that are longer than a model's input.

use perceiver_data::Encoding;

/// How a text is read that has more tokens than the model has positions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LongTexts {
    /// It is refused with [`Error::TextTooLong`](crate::Error::TextTooLong).
    #[default]
    Refuse,
    /// Its beginning is read, cut at a byte as in training and evaluation.
    Truncate,
    /// All of it is read in windows of about equal length, which end between characters. The scores of
    /// the windows, or their latents, are averaged.
    Windows,
}

/// The tokens of a text in windows of at most `limit`, each between `[CLS]` and `[SEP]`; none if there is
/// no room for a window.
pub(crate) fn windows(text: &str, encoding: &Encoding, limit: usize) -> Vec<Vec<u32>> {
    let (Some(capacity @ 1..), [first, tokens @ .., last]) =
        (limit.checked_sub(2), encoding.input_ids.as_slice())
    else {
        return Vec::new();
    };
    let begins = |token: usize| {
        let span = encoding.offsets.get(token + 1).copied().flatten();
        span.is_none_or(|span| text.is_char_boundary(span.start))
    };
    let mut windows = Vec::new();
    let mut start = 0;
    while start < tokens.len() {
        let left = tokens.len() - start;
        let longest = start + left.div_ceil(left.div_ceil(capacity));
        // A character that is longer than a window is cut.
        let end = (start + 1..=longest).rev().find(|&end| end == tokens.len() || begins(end));
        let end = end.unwrap_or(longest);
        windows.push([&[*first], &tokens[start..end], &[*last]].concat());
        start = end;
    }
    windows
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use perceiver_data::{EncodeOptions, PerceiverTokenizer};

    use super::*;

    /// The windows as text, without the tokens around them.
    fn texts(text: &str, limit: usize) -> Vec<String> {
        let tokenizer = PerceiverTokenizer::default();
        let encoding = tokenizer.encode(text, &EncodeOptions::default()).unwrap();
        let windows = windows(text, &encoding, limit).into_iter().map(|ids| {
            assert!(ids.len() <= limit, "{ids:?} has more than {limit} tokens");
            let inside = ids[1..ids.len() - 1].to_vec();
            assert_eq!([ids[0], ids[ids.len() - 1]], [4, 5]);
            String::from_utf8(tokenizer.decode_bytes(&inside, false).unwrap()).unwrap()
        });
        windows.collect()
    }

    #[test]
    fn windows_are_of_about_equal_length_and_end_between_characters() {
        assert_eq!(texts("abcdefghij", 6), ["abcd", "efg", "hij"]);
        assert_eq!(texts("abcdefgh", 6), ["abcd", "efgh"]);
        assert_eq!(texts("aéébé", 6), ["aé", "éb", "é"]);
        assert_eq!(texts("[MASK]a[MASK]b", 4), ["[MASK]a", "[MASK]b"]);
    }

    #[test]
    fn every_byte_is_in_one_window() {
        let text = "Füße, naïve, 日本語, 🦀 and more of it. ".repeat(7);
        for limit in 6..60 {
            assert_eq!(texts(&text, limit).concat(), text, "with {limit} tokens");
        }
    }

    #[test]
    fn without_room_there_is_no_window() {
        assert!(texts("abc", 2).is_empty());
    }
}
