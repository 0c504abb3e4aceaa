//! The tokenizer's options and output.

/// The side that padding goes on, or that tokens are cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Side {
    /// Before the text.
    Left,
    /// After the text.
    #[default]
    Right,
}

/// The length that shorter texts are padded to with `[PAD]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Padding {
    /// No padding.
    #[default]
    None,
    /// The longest text of the batch.
    Longest,
    /// [`EncodeOptions::max_length`] or, without that, the model's maximum.
    MaxLength,
}

/// The text of a pair that tokens are cut from if the pair is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Truncation {
    /// No truncation.
    #[default]
    None,
    /// The longer text until both have the same length, then both in turn.
    LongestFirst,
    /// The first text only.
    OnlyFirst,
    /// The second text only.
    OnlySecond,
}

/// How to encode a text.
///
/// # Differences
/// A `max_length` alone makes `transformers` truncate texts silently; here only
/// [`EncodeOptions::truncation`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncodeOptions {
    /// Puts `[CLS]` and `[SEP]` around the text. On by default.
    pub add_special_tokens: bool,
    /// The length to pad to. Off by default.
    pub padding: Padding,
    /// The side to pad on, instead of the tokenizer's own.
    pub padding_side: Option<Side>,
    /// Rounds padded lengths up to a multiple of this many tokens. Zero counts as one.
    pub pad_to_multiple_of: Option<usize>,
    /// The text to cut from. Off by default.
    pub truncation: Truncation,
    /// Length to truncate and pad to, in tokens including special ones; the model's maximum by
    /// default.
    pub max_length: Option<usize>,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            add_special_tokens: true,
            padding: Padding::None,
            padding_side: None,
            pad_to_multiple_of: None,
            truncation: Truncation::None,
            max_length: None,
        }
    }
}

impl EncodeOptions {
    /// Turns `[CLS]` and `[SEP]` on or off.
    #[must_use]
    pub fn with_special_tokens(mut self, add_special_tokens: bool) -> Self {
        self.add_special_tokens = add_special_tokens;
        self
    }

    /// Sets the length to pad to.
    #[must_use]
    pub fn with_padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// Sets the side to pad on, instead of the tokenizer's own.
    #[must_use]
    pub fn with_padding_side(mut self, side: Side) -> Self {
        self.padding_side = Some(side);
        self
    }

    /// Rounds padded lengths up to a multiple of this many tokens.
    #[must_use]
    pub fn with_pad_to_multiple_of(mut self, multiple: usize) -> Self {
        self.pad_to_multiple_of = Some(multiple);
        self
    }

    /// Sets the text to cut from.
    #[must_use]
    pub fn with_truncation(mut self, truncation: Truncation) -> Self {
        self.truncation = truncation;
        self
    }

    /// Sets the length to truncate and pad to, in tokens including special ones.
    #[must_use]
    pub fn with_max_length(mut self, max_length: usize) -> Self {
        self.max_length = Some(max_length);
        self
    }
}

/// One text, or two texts encoded together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeInput<'text> {
    /// `[CLS] text [SEP]`
    Single(&'text str),
    /// `[CLS] first [SEP] second [SEP]`
    Pair(&'text str, &'text str),
}

impl<'text> From<&'text str> for EncodeInput<'text> {
    fn from(text: &'text str) -> Self {
        Self::Single(text)
    }
}

impl<'text> From<&'text String> for EncodeInput<'text> {
    fn from(text: &'text String) -> Self {
        Self::Single(text)
    }
}

impl<'text> From<(&'text str, &'text str)> for EncodeInput<'text> {
    fn from((first, second): (&'text str, &'text str)) -> Self {
        Self::Pair(first, second)
    }
}

/// The place in a text that a token comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// 0 for the only or first text, 1 for the second of a pair.
    pub text: usize,
    /// Offset of the token's first byte in the text.
    pub start: usize,
    /// Offset after the token's last byte.
    pub end: usize,
}

/// An encoded text. Every list has one entry per token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoding {
    /// Token identifiers.
    pub input_ids: Vec<u32>,
    /// 1 for tokens, 0 for padding.
    pub attention_mask: Vec<u8>,
    /// 1 for tokens added around the text and for padding; 0 for tokens of the text, including
    /// special tokens written in it.
    pub special_tokens_mask: Vec<u8>,
    /// The place that each token comes from; `None` for tokens added around the text and for
    /// padding.
    ///
    /// # Differences
    /// The reference's tokenizer has no offsets.
    pub offsets: Vec<Option<Span>>,
}

impl Encoding {
    /// Number of tokens, including padding.
    #[must_use]
    pub fn len(&self) -> usize {
        self.input_ids.len()
    }

    /// Returns true if there are no tokens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.input_ids.is_empty()
    }

    pub(super) fn push_special(&mut self, id: u32) {
        self.input_ids.push(id);
        self.attention_mask.push(1);
        self.special_tokens_mask.push(1);
        self.offsets.push(None);
    }

    pub(super) fn push_text(&mut self, tokens: &[(u32, Span)]) {
        self.input_ids.extend(tokens.iter().map(|(id, _)| id));
        self.offsets.extend(tokens.iter().map(|&(_, span)| Some(span)));
        self.attention_mask.resize(self.input_ids.len(), 1);
        self.special_tokens_mask.resize(self.input_ids.len(), 0);
    }

    pub(super) fn pad(&mut self, length: usize, side: Side, pad_id: u32) {
        let missing = length.saturating_sub(self.len());
        let at = match side {
            Side::Left => 0,
            Side::Right => self.len(),
        };
        insert(&mut self.input_ids, at, missing, pad_id);
        insert(&mut self.attention_mask, at, missing, 0);
        insert(&mut self.special_tokens_mask, at, missing, 1);
        insert(&mut self.offsets, at, missing, None);
    }
}

fn insert<T: Clone>(list: &mut Vec<T>, at: usize, count: usize, value: T) {
    list.splice(at..at, std::iter::repeat_n(value, count));
}
