//! From text to tokens, truncated and padded.

use super::added::{Piece, apply_token_flags, is_white_space};
use super::{
    EncodeInput, EncodeOptions, Encoding, Padding, PerceiverTokenizer, RESERVED, Side, Span,
    Truncation,
};
use crate::error::{Error, Result};

/// Longest padded text, in tokens.
const MAX_PADDED: usize = 1 << 24;

/// Lengths derived from the options, in tokens.
struct Plan {
    truncate_to: Option<usize>,
    pad_to: Option<usize>,
    multiple: usize,
}

impl PerceiverTokenizer {
    /// Encodes one text or a pair of texts.
    ///
    /// # Errors
    /// Returns an error if truncation and padding contradict each other, or the padded length
    /// exceeds 2²⁴ tokens.
    pub fn encode<'text>(
        &self,
        input: impl Into<EncodeInput<'text>>,
        options: &EncodeOptions,
    ) -> Result<Encoding> {
        let plan = self.plan(options)?;
        let mut encoding = self.encode_unpadded(input.into(), options, &plan);
        // The reference does not pad a single text without tokens.
        if !encoding.is_empty() {
            let longest = encoding.len();
            self.pad(&mut encoding, longest, options, &plan)?;
        }
        Ok(encoding)
    }

    /// Encodes several texts or pairs; [`Padding`] can bring them to one length.
    ///
    /// # Errors
    /// As [`PerceiverTokenizer::encode`].
    pub fn encode_batch<'text, Input>(
        &self,
        inputs: impl IntoIterator<Item = Input>,
        options: &EncodeOptions,
    ) -> Result<Vec<Encoding>>
    where
        Input: Into<EncodeInput<'text>>,
    {
        let plan = self.plan(options)?;
        let mut encodings: Vec<Encoding> = inputs
            .into_iter()
            .map(|input| self.encode_unpadded(input.into(), options, &plan))
            .collect();
        let longest = encodings.iter().map(Encoding::len).max().unwrap_or(0);
        for encoding in &mut encodings {
            self.pad(encoding, longest, options, &plan)?;
        }
        Ok(encodings)
    }

    fn tokens(&self, text: &str, text_index: usize) -> Vec<(u32, Span)> {
        let span = |start, end| Span { text: text_index, start, end };
        let mut pieces = if self.split_special_tokens {
            vec![Piece::new(0..text.len())]
        } else {
            let mut pieces = self.trie.split(text);
            apply_token_flags(&mut pieces, text, &self.encoder, &self.added);
            pieces
        };
        pieces.retain(|piece| !piece.is_empty());

        let mut tokens = Vec::with_capacity(text.len());
        for piece in pieces {
            let id = self.encoder.get(piece.content(text).as_ref());
            match (id, piece.span()) {
                (Some(&id), Some(range)) if !self.split_special_tokens => {
                    tokens.push((id, span(range.start, range.end)));
                }
                _ => tokens.extend(piece.byte_positions().map(|position| {
                    let id = self.byte_id(text.as_bytes()[position]);
                    (id, span(position, position + 1))
                })),
            }
        }
        tokens
    }

    /// The first `count` tokens of a text, and possibly more: of a long text, only the beginning that
    /// holds them is read.
    fn first_tokens(&self, text: &str, count: usize) -> Vec<(u32, Span)> {
        let longest = self.added.values().map(|token| token.content.len()).max().unwrap_or(0);
        let absorbs_left = self.added.values().any(|token| token.lstrip);
        // The tokens before a place depend on a few tokens after it.
        let margin = 4 * (longest + 1);
        let mut end = count.saturating_add(margin);
        while end < text.len() {
            let beginning = &text[..text.floor_char_boundary(end)];
            let mut certain = &beginning[..beginning.floor_char_boundary(end - margin)];
            if absorbs_left {
                certain = certain.trim_end_matches(is_white_space);
            }
            let mut tokens = self.tokens(beginning, 0);
            tokens.retain(|(_, span)| span.end <= certain.len());
            if tokens.len() >= count {
                return tokens;
            }
            end = end.saturating_mul(2);
        }
        self.tokens(text, 0)
    }

    /// Identifier of a byte.
    pub(crate) fn byte_id(&self, byte: u8) -> u32 {
        let mut buffer = [0; 2];
        let character: &str = char::from(byte).encode_utf8(&mut buffer);
        self.encoder.get(character).copied().unwrap_or(u32::from(byte) + RESERVED)
    }

    fn encode_unpadded(
        &self,
        input: EncodeInput<'_>,
        options: &EncodeOptions,
        plan: &Plan,
    ) -> Encoding {
        let cuts_right = options.truncation != Truncation::None
            && options.truncation != Truncation::OnlySecond
            && self.truncation_side == Side::Right;
        let limit = plan.truncate_to.filter(|&limit| limit > 0 && cuts_right);
        let (mut first, mut second) = match (input, limit) {
            // One token more shows that the text is too long.
            (EncodeInput::Single(text), Some(limit)) => {
                (self.first_tokens(text, limit.saturating_add(1)), None)
            }
            (EncodeInput::Single(text), None) => (self.tokens(text, 0), None),
            (EncodeInput::Pair(first, second), _) => {
                (self.tokens(first, 0), Some(self.tokens(second, 1)))
            }
        };
        let added = match (options.add_special_tokens, &second) {
            (false, _) => 0,
            (true, None) => 2,
            (true, Some(_)) => 3,
        };
        let total = first.len() + second.as_ref().map_or(0, Vec::len) + added;
        // As in the reference, a length of zero means no limit.
        if let Some(limit) = plan.truncate_to.filter(|&limit| limit > 0)
            && total > limit
        {
            self.truncate(&mut first, &mut second, total - limit, options.truncation);
        }

        let mut encoding = Encoding::default();
        if options.add_special_tokens {
            encoding.push_special(self.cls_token_id());
        }
        encoding.push_text(&first);
        if options.add_special_tokens {
            encoding.push_special(self.sep_token_id());
        }
        if let Some(second) = second {
            encoding.push_text(&second);
            if options.add_special_tokens {
                encoding.push_special(self.sep_token_id());
            }
        }
        encoding
    }

    fn truncate(
        &self,
        first: &mut Vec<(u32, Span)>,
        second: &mut Option<Vec<(u32, Span)>>,
        surplus: usize,
        truncation: Truncation,
    ) {
        let cut = |tokens: &mut Vec<(u32, Span)>, count: usize| {
            let kept = tokens.len().saturating_sub(count);
            match self.truncation_side {
                Side::Right => tokens.truncate(kept),
                Side::Left => drop(tokens.drain(..tokens.len() - kept)),
            }
        };
        match (truncation, second.as_mut()) {
            (Truncation::None, _) | (Truncation::OnlySecond, None) => {}
            (Truncation::OnlyFirst, _) | (Truncation::LongestFirst, None) => cut(first, surplus),
            (Truncation::OnlySecond, Some(second)) => cut(second, surplus),
            (Truncation::LongestFirst, Some(other)) => {
                let difference = first.len().abs_diff(other.len()).min(surplus);
                let rest = surplus - difference;
                let (from_first, from_second) = if first.len() > other.len() {
                    (difference + rest / 2, rest - rest / 2)
                } else {
                    (rest / 2, difference + rest - rest / 2)
                };
                let was_empty = other.is_empty();
                cut(first, from_first);
                cut(other, from_second);
                // When it cuts on the left, the reference drops an empty second text.
                if was_empty && self.truncation_side == Side::Left {
                    *second = None;
                }
            }
        }
    }

    fn plan(&self, options: &EncodeOptions) -> Result<Plan> {
        let length = options.max_length.or(self.model_max_length);
        let truncate_to = length.filter(|_| options.truncation != Truncation::None);
        let pad_to = length.filter(|_| options.padding == Padding::MaxLength);
        let multiple = options.pad_to_multiple_of.unwrap_or(1).max(1);
        if let Some(length) = truncate_to
            && options.padding != Padding::None
            && length % multiple != 0
        {
            return Err(Error::LengthNotMultiple { length, multiple });
        }
        Ok(Plan { truncate_to, pad_to, multiple })
    }

    fn pad(
        &self,
        encoding: &mut Encoding,
        longest: usize,
        options: &EncodeOptions,
        plan: &Plan,
    ) -> Result<()> {
        let length = match options.padding {
            Padding::None => return Ok(()),
            Padding::Longest => longest,
            Padding::MaxLength => match plan.pad_to {
                Some(length) => length,
                None => return Ok(()),
            },
        };
        let length = length.checked_next_multiple_of(plan.multiple).unwrap_or(usize::MAX);
        if length > encoding.len() && length > MAX_PADDED {
            return Err(Error::PaddingTooLong { length, limit: MAX_PADDED });
        }
        let side = options.padding_side.unwrap_or(self.padding_side);
        encoding.pad(length, side, self.pad_token_id());
        Ok(())
    }
}
