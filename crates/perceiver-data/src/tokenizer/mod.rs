//! From text to token identifiers and back.

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
use crate::json::SettingsFiles;

/// Number of identifiers before those of bytes: `[PAD]`, `[BOS]`, `[EOS]`, `[MASK]`, `[CLS]` and
/// `[SEP]`.
const RESERVED: u32 = 6;

/// The tokenizer of Perceiver's text models: one token for each byte of the text's UTF-8.
///
/// Byte *b* has identifier *b* + 6. Identifiers 0 to 5 are `[PAD]`, `[BOS]`, `[EOS]`, `[MASK]`,
/// `[CLS]` and `[SEP]`; each of these, written in a text, is one token.
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
    /// Contents of special tokens without a role.
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
    /// Other fields of the settings file, kept for saving.
    other_settings: Map<String, Value>,
}

/// Contents of the special tokens with a role.
#[derive(Debug, Clone)]
struct Roles {
    pad: String,
    bos: String,
    eos: String,
    mask: String,
    cls: String,
    sep: String,
    /// Other roles in the settings file, including `unk_token`.
    named: Vec<(String, String)>,
}

impl Default for PerceiverTokenizer {
    fn default() -> Self {
        config::Draft::default().build()
    }
}

impl PerceiverTokenizer {
    /// Reads a checkpoint folder's `tokenizer_config.json`; without that file, the defaults hold.
    ///
    /// If the file has no `added_tokens_decoder`, as in older checkpoints,
    /// `special_tokens_map.json` and `added_tokens.json` are read too.
    ///
    /// # Errors
    /// Returns an error if the folder or a file cannot be read, is not JSON, belongs to another
    /// tokenizer or has an invalid field.
    pub fn from_pretrained(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        folder.read_dir().map_err(Error::io(folder, "read"))?;
        Ok(config::Draft::read(SettingsFiles::Folder(folder))?.build())
    }

    /// Like [`from_pretrained`](Self::from_pretrained), from files in memory: pairs of name and
    /// content. Other files are ignored.
    ///
    /// ```
    /// use perceiver_data::PerceiverTokenizer;
    ///
    /// let settings = br#"{"model_max_length": 512}"#;
    /// let tokenizer = PerceiverTokenizer::from_files(&[("tokenizer_config.json", settings)])?;
    /// assert_eq!(tokenizer.model_max_length(), Some(512));
    /// # Ok::<(), perceiver_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`from_pretrained`](Self::from_pretrained), with the file's name for its path; or if a
    /// name is given twice.
    pub fn from_files(files: &[(&str, &[u8])]) -> Result<Self> {
        Ok(config::Draft::read(SettingsFiles::Memory(files))?.build())
    }

    /// Writes `tokenizer_config.json` into a folder, creating the folder if needed.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written; an existing file then stays unchanged.
    pub fn save_pretrained(&self, folder: impl AsRef<Path>) -> Result<()> {
        config::write(self, folder.as_ref())
    }

    /// Refuses an encoding with more tokens than the model has positions.
    ///
    /// The reference only logs a warning, and only without [`EncodeOptions::max_length`].
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

    /// Turns identifiers into text. Bytes that are not valid UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`Error::UnknownId`] if an identifier is not in the vocabulary.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        let bytes = self.decode_bytes(ids, skip_special_tokens)?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(if self.clean_up_spaces { clean_up_spaces(&text) } else { text.into_owned() })
    }

    /// Turns identifiers into bytes, which need not be valid UTF-8.
    ///
    /// # Errors
    /// [`Error::UnknownId`] if an identifier is not in the vocabulary.
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
            // The reference represents a byte by the character with that code, so it cannot tell
            // the byte from an added token of this one character.
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
    /// [`Error::UnknownId`] if an identifier is not in the vocabulary.
    pub fn decode_batch<Ids: AsRef<[u32]>>(
        &self,
        batch: impl IntoIterator<Item = Ids>,
        skip_special_tokens: bool,
    ) -> Result<Vec<String>> {
        batch.into_iter().map(|ids| self.decode(ids.as_ref(), skip_special_tokens)).collect()
    }

    /// Number of entries in the vocabulary: bytes, reserved tokens and added tokens.
    ///
    /// # Differences
    /// This is the reference's `len(tokenizer)`; its `vocab_size` counts only the 256 bytes.
    #[must_use]
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary
    }

    /// Sets the number of tokens that the model accepts.
    #[must_use]
    pub fn with_model_max_length(mut self, tokens: usize) -> Self {
        self.model_max_length = Some(tokens);
        self
    }

    /// Number of tokens that the model accepts; `None` if the settings file sets no limit.
    #[must_use]
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
    }

    /// Identifier of the padding token.
    #[must_use]
    pub fn pad_token_id(&self) -> u32 {
        self.encoder[&self.roles.pad]
    }

    /// Identifier of the beginning-of-sequence token, which the models do not use.
    #[must_use]
    pub fn bos_token_id(&self) -> u32 {
        self.encoder[&self.roles.bos]
    }

    /// Identifier of the end-of-sequence token, which the models do not use.
    #[must_use]
    pub fn eos_token_id(&self) -> u32 {
        self.encoder[&self.roles.eos]
    }

    /// Identifier of the mask token: a byte to be predicted.
    #[must_use]
    pub fn mask_token_id(&self) -> u32 {
        self.encoder[&self.roles.mask]
    }

    /// Identifier of the token that precedes a text.
    #[must_use]
    pub fn cls_token_id(&self) -> u32 {
        self.encoder[&self.roles.cls]
    }

    /// Identifier of the token that follows a text.
    #[must_use]
    pub fn sep_token_id(&self) -> u32 {
        self.encoder[&self.roles.sep]
    }

    /// The mask token as written in a text, `[MASK]` unless renamed.
    #[must_use]
    pub fn mask_token(&self) -> &str {
        &self.roles.mask
    }

    /// Returns true if decoding drops this identifier when it skips special tokens.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.special_ids.contains(&id)
    }

    /// All added tokens by identifier, including the six reserved ones.
    #[must_use]
    pub fn added_tokens(&self) -> &BTreeMap<u32, AddedToken> {
        &self.added
    }
}

/// Removes the spaces that word tokenizers put before punctuation.
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

#[cfg(test)]
mod tests;
