//! From texts to a model's tokens.

use burn::tensor::{Device, Int, Tensor, TensorData};
use perceiver_data::{EncodeOptions, Encoding, PerceiverTokenizer, Truncation};
use perceiver_models::{KeyMask, PerceiverConfig, Request};

use crate::{Error, Result};

/// Longest text that is accepted, in bytes.
const MAX_BYTES: usize = 1 << 24;

/// Fills up shorter texts. The mask hides it, so it need only be in every vocabulary, and the
/// tokenizer's padding token may not be.
const PADDING: i64 = 0;

/// Tokens of a text between `[CLS]` and `[SEP]`, if they fit the model.
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

/// Tokens of a text between `[CLS]` and `[SEP]`, of as much of its beginning as the model takes.
pub(crate) fn encode_beginning(
    text: &str,
    tokenizer: &PerceiverTokenizer,
    config: &PerceiverConfig,
) -> Result<Encoding> {
    let options = EncodeOptions::default()
        .with_truncation(Truncation::LongestFirst)
        .with_max_length(limit(tokenizer, config));
    encode_with(text, tokenizer, config, &options)
}

/// Tokens of a text between `[CLS]` and `[SEP]`, all in the model's vocabulary.
pub(crate) fn encode_of_any_length(
    text: &str,
    tokenizer: &PerceiverTokenizer,
    config: &PerceiverConfig,
) -> Result<Encoding> {
    encode_with(text, tokenizer, config, &EncodeOptions::default())
}

fn encode_with(
    text: &str,
    tokenizer: &PerceiverTokenizer,
    config: &PerceiverConfig,
    options: &EncodeOptions,
) -> Result<Encoding> {
    if text.is_empty() {
        return Err(Error::EmptyText);
    }
    check_size(text.len())?;
    let encoding = tokenizer.encode(text, options)?;
    let vocabulary = config.vocab_size;
    match encoding.input_ids.iter().find(|&&id| id as usize >= vocabulary) {
        Some(&id) => Err(Error::OutsideVocabulary { id, vocabulary }),
        None => Ok(encoding),
    }
}

/// One batch of texts, `[texts, tokens]`, with a mask that hides the padding of shorter ones.
pub(crate) fn request<L>(texts: &[&[u32]], device: &Device) -> Request<Tensor<2, Int>, L> {
    let (ids, mask) = stack(texts);
    let mask = mask.map(|mask| KeyMask::from_attention_mask(Tensor::from_data(mask, device)));
    Request::new(Tensor::from_data(ids, device)).mask(mask)
}

fn stack(texts: &[&[u32]]) -> (TensorData, Option<TensorData>) {
    let longest = texts.iter().map(|tokens| tokens.len()).max().unwrap_or(0);
    let (mut ids, mut kept) = (Vec::new(), Vec::new());
    for tokens in texts {
        let missing = longest - tokens.len();
        ids.extend(tokens.iter().map(|&id| i64::from(id)));
        ids.extend(std::iter::repeat_n(PADDING, missing));
        kept.extend(std::iter::repeat_n(1_i64, tokens.len()));
        kept.extend(std::iter::repeat_n(0_i64, missing));
    }
    let shape = [texts.len(), longest];
    let mask = kept.contains(&0).then(|| TensorData::new(kept, shape));
    (TensorData::new(ids, shape), mask)
}

/// Refuses a text that would take too much memory.
pub(crate) fn check_size(bytes: usize) -> Result<()> {
    if bytes > MAX_BYTES {
        return Err(Error::TextTooLarge { bytes, limit: MAX_BYTES });
    }
    Ok(())
}

/// Most tokens that the model accepts, including `[CLS]` and `[SEP]`.
pub(crate) fn limit(tokenizer: &PerceiverTokenizer, config: &PerceiverConfig) -> usize {
    let limit = config.max_position_embeddings;
    tokenizer.model_max_length().map_or(limit, |length| length.min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorter_texts_are_padded_and_the_padding_is_hidden() {
        let (ids, mask) = stack(&[&[4, 70, 5], &[4, 70, 71, 5]]);
        assert_eq!(ids, TensorData::from([[4_i64, 70, 5, 0], [4, 70, 71, 5]]));
        assert_eq!(mask, Some(TensorData::from([[1_i64, 1, 1, 0], [1, 1, 1, 1]])));
        assert_eq!(stack(&[&[4, 70, 5]]).1, None);
    }
}
