//! A text with masks, and the part of it that the model reads around one of them.

use std::ops::Range;

use perceiver_data::Encoding;

/// A text as tokens, some of which are masks.
#[derive(Debug)]
pub(crate) struct MaskedText {
    tokens: Vec<Token>,
    /// Adjacent masks.
    pub(crate) spans: Vec<Span>,
    /// `[CLS]` and `[SEP]`.
    around: [u32; 2],
}

#[derive(Debug, Clone, Copy)]
struct Token {
    id: u32,
    /// True if a character, or a token that is not part of one, begins here.
    begins: bool,
}

/// Adjacent masks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// The tokens that they are.
    pub(crate) tokens: Range<usize>,
    /// The bytes of the text where they are written.
    pub(crate) written: Range<usize>,
}

/// Tokens for the model, and the positions among them to predict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) ids: Vec<u32>,
    pub(crate) places: Range<usize>,
}

impl MaskedText {
    /// From an encoding between `[CLS]` and `[SEP]`; each `mask` becomes `width` tokens.
    pub(crate) fn new(text: &str, encoding: &Encoding, mask: u32, width: usize) -> Self {
        let (mut tokens, mut spans) = (Vec::new(), Vec::<Span>::new());
        let ids = &encoding.input_ids;
        for (&id, offset) in ids.iter().zip(&encoding.offsets) {
            // Tokens added around the text have no place in it.
            let Some(offset) = offset else { continue };
            if id != mask {
                tokens.push(Token { id, begins: text.is_char_boundary(offset.start) });
                continue;
            }
            let first = tokens.len();
            tokens.extend(std::iter::repeat_n(Token { id, begins: true }, width));
            match spans.last_mut() {
                Some(span) if span.tokens.end == first => {
                    span.tokens.end = tokens.len();
                    span.written.end = offset.end;
                }
                _ => {
                    let written = offset.start..offset.end;
                    spans.push(Span { tokens: first..tokens.len(), written });
                }
            }
        }
        let [cls, sep] = [ids.first(), ids.last()].map(|id| id.copied().unwrap_or(mask));
        Self { tokens, spans, around: [cls, sep] }
    }

    /// Groups of spans that are read together: all spans of a text that fits, otherwise neighbours
    /// that take at most half of the model's positions, which leaves half for the surrounding text.
    pub(crate) fn groups(&self, capacity: usize) -> Vec<Range<usize>> {
        let room = if self.tokens.len() <= capacity { capacity } else { capacity / 2 };
        let mut groups: Vec<Range<usize>> = Vec::new();
        for (index, span) in self.spans.iter().enumerate() {
            match groups.last_mut() {
                Some(group) if span.tokens.end - self.spans[group.start].tokens.start <= room => {
                    group.end = index + 1;
                }
                _ => groups.push(index..index + 1),
            }
        }
        groups
    }

    /// The model's input with `ids` in place of the tokens `focus`: as much surrounding text as
    /// there are positions for, in whole characters, with equal shares on both sides unless one
    /// side has less.
    pub(crate) fn row(&self, focus: Range<usize>, ids: &[u32], capacity: usize) -> Row {
        let [before, after] = [focus.start, self.tokens.len() - focus.end];
        let room = capacity - ids.len();
        let before = before.min((room / 2).max(room.saturating_sub(after)));
        let after = after.min(room - before);
        let begins = |&place: &usize| self.tokens.get(place).is_none_or(|token| token.begins);
        let start = (focus.start - before..focus.start).find(begins).unwrap_or(focus.start);
        let end = (focus.end..=focus.end + after).rev().find(begins).unwrap_or(focus.end);

        let [cls, sep] = self.around;
        let tokens = |range: Range<usize>| self.tokens[range].iter().map(|token| token.id);
        let mut row = vec![cls];
        row.extend(tokens(start..focus.start));
        let first = row.len();
        row.extend_from_slice(ids);
        let places = first..row.len();
        row.extend(tokens(focus.end..end));
        row.push(sep);
        Row { ids: row, places }
    }

    /// The model's input for some spans.
    pub(crate) fn row_of_group(&self, group: Range<usize>, capacity: usize) -> Row {
        let focus = self.spans[group.start].tokens.start..self.spans[group.end - 1].tokens.end;
        let ids: Vec<u32> = self.tokens[focus.clone()].iter().map(|token| token.id).collect();
        self.row(focus, &ids, capacity)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use perceiver_data::{EncodeOptions, PerceiverTokenizer};

    use super::*;

    const MASK: u32 = 3;

    fn masked(text: &str, width: usize) -> MaskedText {
        let tokenizer = PerceiverTokenizer::default();
        let encoding = tokenizer.encode(text, &EncodeOptions::default()).unwrap();
        MaskedText::new(text, &encoding, MASK, width)
    }

    /// A row as text, with `_` for a mask.
    fn shown(row: &Row) -> String {
        let [first, .., last] = row.ids[..] else { panic!("{row:?}") };
        assert_eq!([first, last], [4, 5]);
        let ids = &row.ids[1..row.ids.len() - 1];
        let bytes = ids.iter().map(|&id| if id == MASK { b'_' } else { (id - 6) as u8 });
        String::from_utf8(bytes.collect()).unwrap()
    }

    #[test]
    fn a_mask_stands_for_as_many_bytes_as_are_wanted() {
        let text = masked("é[MASK]b[MASK][MASK]", 3);
        let spans = [Span { tokens: 2..5, written: 2..8 }, Span { tokens: 6..12, written: 9..21 }];
        assert_eq!(text.spans, spans);
        let row = text.row_of_group(0..2, 12);
        assert_eq!(shown(&row), "é___b______");
        assert_eq!(row.places, 3..13);
    }

    #[test]
    fn a_text_that_fits_is_read_whole() {
        let text = masked("ab[MASK]cd[MASK]e", 1);
        assert_eq!(text.groups(7), vec![0..2]);
        assert_eq!(shown(&text.row_of_group(0..2, 7)), "ab_cd_e");
    }

    #[test]
    fn windows_leave_half_of_the_positions_to_the_text_around_the_masks() {
        let text = masked("abcdefgh[MASK]i[MASK]jklm[MASK]nopqrstu", 1);
        // The third mask would be the eighth token of the first's group.
        assert_eq!(text.groups(8), [0..2, 2..3]);
        let row = text.row_of_group(0..2, 8);
        assert_eq!((shown(&row).as_str(), row.places), ("gh_i_jkl", 3..6));
        let row = text.row_of_group(2..3, 8);
        assert_eq!((shown(&row).as_str(), row.places), ("klm_nopq", 4..5));
    }

    #[test]
    fn a_window_at_an_end_takes_what_the_other_side_has() {
        let text = masked("[MASK]abcdefgh[MASK]", 1);
        assert_eq!(text.groups(5), [0..1, 1..2]);
        assert_eq!(shown(&text.row_of_group(0..1, 5)), "_abcd");
        assert_eq!(shown(&text.row_of_group(1..2, 5)), "efgh_");
    }

    #[test]
    fn windows_cut_no_character() {
        let text = masked("aéé[MASK]世世", 1);
        // Five before and six after it; an even share would cut one on either side.
        assert_eq!(shown(&text.row_of_group(0..1, 8)), "é_世");
        assert_eq!(shown(&text.row_of_group(0..1, 4)), "_");
    }

    #[test]
    fn other_tokens_can_take_the_place_of_a_span() {
        let text = masked("abcdef[MASK]ghijkl[MASK]", 1);
        let row = text.row(6..7, &[MASK, 120, MASK], 7);
        assert_eq!(row.ids, [4, 107, 108, MASK, 120, MASK, 109, 110, 5]);
        assert_eq!(row.places, 3..6);
    }

    #[test]
    fn every_mask_of_a_long_text_is_in_one_window() {
        let text = masked(&"ab[MASK]cdefg[MASK][MASK]h".repeat(50), 2);
        for capacity in [4, 5, 9, 30, 100, 800, 1000] {
            let groups = text.groups(capacity);
            let spans: Vec<usize> = groups.iter().cloned().flatten().collect();
            assert_eq!(spans, (0..100).collect::<Vec<_>>());
            for group in groups {
                let row = text.row_of_group(group.clone(), capacity);
                assert!(row.ids.len() <= capacity + 2);
                let masks = row.ids[row.places].iter().filter(|&&id| id == MASK).count();
                let spans = &text.spans[group];
                assert_eq!(masks, spans.iter().map(|span| span.tokens.len()).sum::<usize>());
            }
        }
    }
}
