//! From a text to the tokens of a model.

use perceiver_data::{EncodeOptions, Encoding, PerceiverTokenizer};
use perceiver_models::PerceiverConfig;

use crate::{Error, Result};

/// The text between `[CLS]` and `[SEP]`, if the model can take it.
pub(crate) fn encode(
    text: &str,
    tokenizer: &PerceiverTokenizer,
    config: &PerceiverConfig,
) -> Result<Encoding> {
    if text.is_empty() {
        return Err(Error::EmptyText);
    }
    let encoding = tokenizer.encode(text, &EncodeOptions::default())?;
    let limit = config.max_position_embeddings;
    let limit = tokenizer.model_max_length().map_or(limit, |length| length.min(limit));
    if encoding.len() > limit {
        return Err(Error::TextTooLong { length: encoding.len(), limit });
    }
    let vocabulary = config.vocab_size;
    match encoding.input_ids.iter().find(|&&id| id as usize >= vocabulary) {
        Some(&id) => Err(Error::OutsideVocabulary { id, vocabulary }),
        None => Ok(encoding),
    }
}
