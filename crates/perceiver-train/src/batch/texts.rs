use burn::tensor::{Device, Int, Tensor, TensorData};
use perceiver_core::KeyMask;
use perceiver_data::{
    EncodeOptions, Label, LabelledText, MaskedText, Padding, PerceiverTokenizer, Truncation,
};
use perceiver_models::losses::Labels;
use rand_chacha::ChaCha8Rng;

use crate::loader::Collate;
use crate::objective::{LabelledTexts, MaskedTexts};

/// Fills up shorter texts. The mask hides it, so it need only be in every vocabulary, and the
/// tokenizer's padding token may not be.
const PADDING: i64 = 0;

/// Makes batches of texts with labels, padded to the longest.
#[derive(Debug, Clone)]
pub struct TextBatcher {
    tokenizer: PerceiverTokenizer,
    options: EncodeOptions,
}

impl TextBatcher {
    /// Cuts texts to `length` tokens, including special ones, and pads them to a multiple of
    /// `multiple`. A multiple equal to `length` gives all batches one shape, which saves compilations
    /// on a GPU.
    ///
    /// # Panics
    /// If `length` is not a multiple of `multiple`, or above 2²⁴.
    #[must_use]
    pub fn new(tokenizer: PerceiverTokenizer, length: usize, multiple: usize) -> Self {
        assert!(
            length > 0 && length.is_multiple_of(multiple),
            "length is {length}, expected a multiple of {multiple}"
        );
        assert!(length <= 1 << 24, "length is {length}, expected at most 2²⁴");
        let options = EncodeOptions::default()
            .with_truncation(Truncation::LongestFirst)
            .with_max_length(length)
            .with_padding(Padding::Longest)
            .with_pad_to_multiple_of(multiple);
        Self { tokenizer, options }
    }
}

impl Collate<LabelledText> for TextBatcher {
    type Batch = LabelledTexts;

    /// # Panics
    /// If some labels are classes and others values, or there are no examples.
    fn batch(
        &self,
        examples: Vec<LabelledText>,
        _random: &mut ChaCha8Rng,
        device: &Device,
    ) -> LabelledTexts {
        let texts = examples.iter().map(|example| example.text.as_str());
        let encodings = self
            .tokenizer
            .encode_batch(texts, &self.options)
            .unwrap_or_else(|error| panic!("{error}"));
        let ids = encodings.iter().map(|encoding| {
            let tokens = encoding.input_ids.iter().zip(&encoding.attention_mask);
            tokens.map(|(&id, &kept)| if kept == 0 { PADDING } else { id.into() }).collect()
        });
        let mask = encodings
            .iter()
            .map(|encoding| encoding.attention_mask.iter().map(|&kept| kept.into()).collect());
        LabelledTexts {
            ids: rows(ids, device),
            padding: padding(mask.collect(), device),
            labels: labels(examples.into_iter().map(|example| example.label).collect(), device),
        }
    }
}

fn labels(labels: Vec<Label>, device: &Device) -> Labels {
    let examples = labels.len();
    let mut classes = Vec::new();
    let mut values = Vec::new();
    for label in labels {
        match label {
            Label::Class(class) => classes.push(class as i64),
            Label::Values(numbers) => values.extend(numbers),
        }
    }
    if values.is_empty() {
        return Labels::Classes(Tensor::from_data(TensorData::new(classes, [examples]), device));
    }
    assert!(
        classes.is_empty(),
        "a batch has labels with classes and with values, expected one kind"
    );
    let shape = [examples, values.len() / examples];
    Labels::Values(Tensor::from_data(TensorData::new(values, shape), device))
}

/// Makes batches of texts with masked bytes, padded to the longest.
#[derive(Debug, Clone)]
pub struct MaskedTextBatcher {
    /// Pads lengths to a multiple of this many tokens.
    pub multiple: usize,
}

impl Collate<MaskedText> for MaskedTextBatcher {
    type Batch = MaskedTexts;

    /// # Panics
    /// If there are no examples.
    fn batch(
        &self,
        examples: Vec<MaskedText>,
        _random: &mut ChaCha8Rng,
        device: &Device,
    ) -> MaskedTexts {
        let longest = examples.iter().map(|example| example.ids.len()).max().unwrap_or(0);
        let length = longest.next_multiple_of(self.multiple);
        let pad = |mut values: Vec<i64>, filler| {
            values.resize(length, filler);
            values
        };
        let mask = examples.iter().map(|example| pad(vec![1; example.ids.len()], 0)).collect();
        let (ids, labels): (Vec<_>, Vec<_>) =
            examples.into_iter().map(|example| (pad(example.ids, PADDING), example.labels)).unzip();
        MaskedTexts::new(rows(ids.into_iter(), device), padding(mask, device), &labels)
    }
}

/// `[rows, columns]`, from rows of one length.
fn rows(rows: impl ExactSizeIterator<Item = Vec<i64>>, device: &Device) -> Tensor<2, Int> {
    let count = rows.len();
    let values: Vec<i64> = rows.flatten().collect();
    let shape = [count, values.len() / count];
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// A mask that hides zeros, if there are any.
fn padding(mask: Vec<Vec<i64>>, device: &Device) -> Option<KeyMask> {
    let is_padded = mask.iter().flatten().any(|&kept| kept == 0);
    is_padded.then(|| KeyMask::from_attention_mask(rows(mask.into_iter(), device)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn values<const D: usize>(tensor: &Tensor<D, Int>) -> Vec<i64> {
        tensor.to_data().convert::<i64>().try_to_vec().unwrap()
    }

    fn batch(texts: &[(&str, Label)], multiple: usize) -> LabelledTexts {
        let batcher = TextBatcher::new(PerceiverTokenizer::default(), 6, multiple);
        let examples = texts
            .iter()
            .map(|(text, label)| LabelledText { text: (*text).into(), label: label.clone() })
            .collect();
        batcher.batch(examples, &mut ChaCha8Rng::seed_from_u64(0), &Device::flex())
    }

    #[test]
    fn texts_are_cut_and_padded_to_the_longest() {
        let batch = batch(&[("a", Label::Class(0)), ("abcdefgh", Label::Class(1))], 1);
        let [a, b, c, d] = [103, 104, 105, 106];
        assert_eq!(values(&batch.ids), [4, a, 5, 0, 0, 0, 4, a, b, c, d, 5]);
        let hidden = batch.padding.unwrap().hidden().int();
        assert_eq!(values(&hidden), [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn padding_is_in_the_models_vocabulary_even_if_the_tokenizers_is_not() {
        let settings = br#"{"added_tokens_decoder": {"500": {"content": "[PAD]"}}}"#;
        let files = [("tokenizer_config.json", &settings[..])];
        let tokenizer = PerceiverTokenizer::from_files(&files).unwrap();
        assert_eq!(tokenizer.pad_token_id(), 500);
        let examples =
            ["a", "abc"].map(|text| LabelledText { text: text.into(), label: Label::Class(0) });
        let batcher = TextBatcher::new(tokenizer, 6, 1);
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let batch = batcher.batch(examples.to_vec(), &mut random, &Device::flex());
        assert_eq!(values(&batch.ids), [4, 103, 5, 0, 0, 4, 103, 104, 105, 5]);
    }

    #[test]
    fn texts_equally_long_need_no_mask() {
        assert!(batch(&[("ab", Label::Class(0)), ("cd", Label::Class(1))], 1).padding.is_none());
    }

    #[test]
    fn lengths_are_padded_to_the_multiple() {
        assert_eq!(batch(&[("a", Label::Class(0))], 6).ids.dims(), [1, 6]);
    }

    #[test]
    fn classes_stay_numbers_of_classes() {
        let Labels::Classes(classes) =
            batch(&[("a", Label::Class(2)), ("b", Label::Class(0))], 1).labels
        else {
            panic!("values");
        };
        assert_eq!(values(&classes), [2, 0]);
    }

    #[test]
    fn values_are_one_row_per_text() {
        let label = |numbers: [f32; 3]| Label::Values(numbers.into());
        let texts = [("a", label([1.0, 2.0, 3.0])), ("b", label([4.0, 5.0, 6.0]))];
        let Labels::Values(values) = batch(&texts, 1).labels else { panic!("classes") };
        assert_eq!(values.dims(), [2, 3]);
        let values: Vec<f32> = values.to_data().try_to_vec().unwrap();
        assert_eq!(values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn only_masked_bytes_are_predicted() {
        let batcher = MaskedTextBatcher { multiple: 2 };
        let examples = vec![
            MaskedText { ids: vec![4, 3, 5], labels: vec![-100, 70, -100] },
            MaskedText { ids: vec![4, 5], labels: vec![-100, -100] },
        ];
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let batch = batcher.batch(examples, &mut random, &Device::flex());
        assert_eq!(values(&batch.ids), [4, 3, 5, 0, 4, 5, 0, 0]);
        assert_eq!(values(&batch.points), [1, 0]);
        assert_eq!(values(&batch.labels), [70, -100]);
        let hidden = batch.padding.unwrap().hidden().int();
        assert_eq!(values(&hidden), [0, 0, 0, 1, 0, 0, 1, 1]);
    }
}
