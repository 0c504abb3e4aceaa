//! Text to token identifiers and back.

mod added;
mod config;
mod encoding;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde_json::{Map, Value};

pub use self::added::AddedToken;
use self::added::{Piece, Trie, apply_token_flags};
pub use self::encoding::{EncodeInput, EncodeOptions, Encoding, Padding, Side, Span, Truncation};
use crate::error::{Error, Result};
use crate::json::read_bounded;

/// Identifiers before those of the bytes: `[PAD]`, `[BOS]`, `[EOS]`, `[MASK]`, `[CLS]`, `[SEP]`.
const RESERVED: u32 = 6;

/// Texts are padded up to this many tokens.
const MAX_PADDED: usize = 1 << 24;

/// Text files are read up to this size, in bytes.
const MAX_TEXT_FILE: u64 = 1 << 30;

/// The tokenizer of Perceiver's text models: one token for each byte of the text's UTF-8.
///
/// Byte *b* has identifier *b* + 6. Identifiers 0 to 5 are `[PAD]`, `[BOS]`, `[EOS]`, `[MASK]`,
/// `[CLS]` and `[SEP]`; written in a text, each is one token.
///
/// ```
/// use perceiver_data::{EncodeOptions, PerceiverTokenizer};
///
/// let tokenizer = PerceiverTokenizer::default();
/// let encoding = tokenizer.encode("hi [MASK]", &EncodeOptions::default())?;
/// assert_eq!(encoding.input_ids, [4, 110, 111, 38, 3, 5]);
/// assert_eq!(tokenizer.decode(&encoding.input_ids, true)?, "hi ");
/// # Ok::<(), perceiver_data::Error>(())
/// ```
///
/// # Source
/// `PerceiverTokenizer` and its base `PreTrainedTokenizer` of transformers 5.23.
#[derive(Debug, Clone)]
pub struct PerceiverTokenizer {
    roles: Roles,
    /// Contents of special tokens that have no role.
    extra_special_tokens: Vec<String>,
    added: BTreeMap<u32, AddedToken>,
    encoder: HashMap<String, u32>,
    special_ids: BTreeSet<u32>,
    vocabulary: usize,
    trie: Trie,
    model_max_length: Option<usize>,
    padding_side: Side,
    truncation_side: Side,
    split_special_tokens: bool,
    clean_up_spaces: bool,
    /// The settings file's other fields, to be written again.
    other_settings: Map<String, Value>,
}

/// Contents of the special tokens that have a role.
#[derive(Debug, Clone)]
struct Roles {
    pad: String,
    bos: String,
    eos: String,
    mask: String,
    cls: String,
    sep: String,
    /// Further ones that the settings file names, `unk_token` among them.
    named: Vec<(String, String)>,
}

impl Default for PerceiverTokenizer {
    fn default() -> Self {
        config::Draft::default().build()
    }
}

impl PerceiverTokenizer {
    /// Reads a checkpoint folder's `tokenizer_config.json`; a folder without one gives the
    /// defaults.
    ///
    /// Where the file lists no `added_tokens_decoder`, as older ones, `special_tokens_map.json`
    /// and `added_tokens.json` count as well.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be read, is not JSON, is for another tokenizer or
    /// has a field of impossible value.
    pub fn from_pretrained(folder: impl AsRef<Path>) -> Result<Self> {
        Ok(config::Draft::read(folder.as_ref())?.build())
    }

    /// Writes `tokenizer_config.json` into a folder, which is created where needed.
    ///
    /// # Errors
    /// When the file cannot be written; an older one then stays as it was.
    pub fn save_pretrained(&self, folder: impl AsRef<Path>) -> Result<()> {
        config::write(self, folder.as_ref())
    }

    /// Encodes one text or a pair.
    ///
    /// # Errors
    /// When truncation and padding contradict each other, or the padded length is beyond 2²⁴.
    pub fn encode<'text>(
        &self,
        input: impl Into<EncodeInput<'text>>,
        options: &EncodeOptions,
    ) -> Result<Encoding> {
        let plan = self.plan(options)?;
        let mut encoding = self.encode_unpadded(input.into(), options, &plan);
        // The reference leaves a single text without any token unpadded.
        if !encoding.is_empty() {
            let longest = encoding.len();
            self.pad(&mut encoding, longest, options, &plan)?;
        }
        Ok(encoding)
    }

    /// Encodes several texts or pairs, which [`Padding`] may bring to one length.
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

    /// Refuses an encoding with more tokens than the model has positions.
    ///
    /// The reference only logs a warning where [`EncodeOptions::max_length`] was not given.
    ///
    /// # Errors
    /// [`Error::TextTooLong`]
    pub fn check_length(&self, encoding: &Encoding) -> Result<()> {
        match self.model_max_length {
            Some(limit) if limit > 0 && encoding.len() > limit => {
                Err(Error::TextTooLong { length: encoding.len(), limit })
            }
            _ => Ok(()),
        }
    }

    /// Turns identifiers into text. Bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// When an identifier is not in the vocabulary.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        let bytes = self.decode_bytes(ids, skip_special_tokens)?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(if self.clean_up_spaces { clean_up_spaces(&text) } else { text.into_owned() })
    }

    /// Turns identifiers into bytes, which need not be UTF-8.
    ///
    /// # Errors
    /// When an identifier is not in the vocabulary.
    pub fn decode_bytes(&self, ids: &[u32], skip_special_tokens: bool) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(ids.len());
        for (position, &id) in ids.iter().enumerate() {
            if skip_special_tokens && self.special_ids.contains(&id) {
                continue;
            }
            if let Some(token) = self.added.get(&id) {
                bytes.extend_from_slice(token.content.as_bytes());
                continue;
            }
            let byte = id
                .checked_sub(RESERVED)
                .and_then(|byte| u8::try_from(byte).ok())
                .ok_or(Error::UnknownId { id, position, vocabulary: self.vocabulary })?;
            // To the reference a byte is the character of that code; an added token of this one
            // character is indistinguishable from it.
            let mut buffer = [0; 2];
            let character = char::from(byte).encode_utf8(&mut buffer);
            if self.encoder.contains_key(character) {
                bytes.extend_from_slice(character.as_bytes());
            } else {
                bytes.push(byte);
            }
        }
        Ok(bytes)
    }

    /// Turns several lists of identifiers into texts.
    ///
    /// # Errors
    /// When an identifier is not in the vocabulary.
    pub fn decode_batch<Ids: AsRef<[u32]>>(
        &self,
        batch: impl IntoIterator<Item = Ids>,
        skip_special_tokens: bool,
    ) -> Result<Vec<String>> {
        batch.into_iter().map(|ids| self.decode(ids.as_ref(), skip_special_tokens)).collect()
    }

    /// Number of entries of the vocabulary: bytes, reserved and added tokens.
    ///
    /// # Differences
    /// `len(tokenizer)` of the reference; its `vocab_size` counts the 256 bytes only.
    #[must_use]
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary
    }

    /// Positions of the model, or `None` where the settings file sets no bound.
    #[must_use]
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
    }

    /// Identifier of the padding token.
    #[must_use]
    pub fn pad_token_id(&self) -> u32 {
        self.encoder[&self.roles.pad]
    }

    /// Identifier of the unused token for a beginning.
    #[must_use]
    pub fn bos_token_id(&self) -> u32 {
        self.encoder[&self.roles.bos]
    }

    /// Identifier of the unused token for an end.
    #[must_use]
    pub fn eos_token_id(&self) -> u32 {
        self.encoder[&self.roles.eos]
    }

    /// Identifier of the token that stands for a byte to be guessed.
    #[must_use]
    pub fn mask_token_id(&self) -> u32 {
        self.encoder[&self.roles.mask]
    }

    /// Identifier of the token before a text.
    #[must_use]
    pub fn cls_token_id(&self) -> u32 {
        self.encoder[&self.roles.cls]
    }

    /// Identifier of the token after a text.
    #[must_use]
    pub fn sep_token_id(&self) -> u32 {
        self.encoder[&self.roles.sep]
    }

    /// How the masking token is written in a text, `[MASK]` unless renamed.
    #[must_use]
    pub fn mask_token(&self) -> &str {
        &self.roles.mask
    }

    /// Whether decoding leaves this identifier out when special tokens are skipped.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.special_ids.contains(&id)
    }

    /// All added tokens by identifier, the six reserved ones included.
    #[must_use]
    pub fn added_tokens(&self) -> &BTreeMap<u32, AddedToken> {
        &self.added
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

    fn byte_id(&self, byte: u8) -> u32 {
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
        let (mut first, mut second) = match input {
            EncodeInput::Single(text) => (self.tokens(text, 0), None),
            EncodeInput::Pair(first, second) => {
                (self.tokens(first, 0), Some(self.tokens(second, 1)))
            }
        };
        let added = match (options.add_special_tokens, &second) {
            (false, _) => 0,
            (true, None) => 2,
            (true, Some(_)) => 3,
        };
        let total = first.len() + second.as_ref().map_or(0, Vec::len) + added;
        // A length of zero counts as none, as in the reference.
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
                // Cutting on the left makes the reference forget an empty second text.
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

/// The lengths that follow from the options, in tokens.
struct Plan {
    truncate_to: Option<usize>,
    pad_to: Option<usize>,
    multiple: usize,
}

/// Undoes the spaces that word tokenizers put before punctuation, where the settings file asks.
fn clean_up_spaces(text: &str) -> String {
    [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Reads a text file, of 1 GiB at most.
///
/// # Errors
/// When it cannot be read, or is not UTF-8: [`Error::Utf8`] names the first wrong byte.
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let bytes = read_bounded(path, MAX_TEXT_FILE)?;
    String::from_utf8(bytes).map_err(|error| Error::Utf8 {
        path: path.to_owned(),
        position: error.utf8_error().valid_up_to(),
    })
}

#[cfg(test)]
mod tests;
