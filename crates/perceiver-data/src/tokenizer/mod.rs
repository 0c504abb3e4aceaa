//! Text to token identifiers and back.

mod added;
mod config;
mod encode;
mod encoding;
mod vocabulary;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde_json::{Map, Value};

pub use self::added::AddedToken;
use self::added::Trie;
pub use self::encoding::{EncodeInput, EncodeOptions, Encoding, Padding, Side, Span, Truncation};
use crate::error::{Error, Result};
use crate::json::read_bounded;

/// Identifiers before those of the bytes: `[PAD]`, `[BOS]`, `[EOS]`, `[MASK]`, `[CLS]`, `[SEP]`.
const RESERVED: u32 = 6;

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

    /// For a model that takes as many tokens.
    #[must_use]
    pub fn with_model_max_length(mut self, tokens: usize) -> Self {
        self.model_max_length = Some(tokens);
        self
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
