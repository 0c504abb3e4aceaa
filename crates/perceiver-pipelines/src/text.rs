//! From a text to the tokens of a model.

use perceiver_data::{EncodeOptions, Encoding, PerceiverTokenizer};
use perceiver_models::PerceiverConfig;

use crate::{Error, Result};

/// Longer texts are refused before anything is made of them, in bytes.
const MAX_BYTES: usize = 1 << 24;

/// The text between `[CLS]` and `[SEP]`, if the model can take it.
pub(crate) fn encode(
    text: &str,
    tokenizer: &PerceiverTokenizer,
    config: &PerceiverConfig,
) -> Result<Encoding> {
    let encoding = encode_of_any_length(text, tokenizer, config)?;
    let limit = limit(tokenizer, config);
    if encoding.len() > limit {
        return Err(Error::TextTooLong { length: encoding.len(), limit });
    }
    Ok(encoding)
}

/// The text between `[CLS]` and `[SEP]`, of tokens that the model knows.
pub(crate) fn encode_of_any_length(
    text: &str,
    tokenizer: &PerceiverTokenizer,
    config: &PerceiverConfig,
) -> Result<Encoding> {
    if text.is_empty() {
        return Err(Error::EmptyText);
    }
    check_size(text.len())?;
    let encoding = tokenizer.encode(text, &EncodeOptions::default())?;
    let vocabulary = config.vocab_size;
    match encoding.input_ids.iter().find(|&&id| id as usize >= vocabulary) {
        Some(&id) => Err(Error::OutsideVocabulary { id, vocabulary }),
        None => Ok(encoding),
    }
}

/// Refuses what would take too much memory.
pub(crate) fn check_size(bytes: usize) -> Result<()> {
    if bytes > MAX_BYTES {
        return Err(Error::TextTooLarge { bytes, limit: MAX_BYTES });
    }
    Ok(())
}

/// Tokens that the model takes at most, `[CLS]` and `[SEP]` included.
pub(crate) fn limit(tokenizer: &PerceiverTokenizer, config: &PerceiverConfig) -> usize {
    let limit = config.max_position_embeddings;
    tokenizer.model_max_length().map_or(limit, |length| length.min(limit))
}
