//! Counts the texts of which an evaluation reads only the beginning.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use perceiver_data::{
    EncodeOptions, LabelledText, PerceiverTokenizer, Remarks, Source, Truncation,
};
use rand_chacha::ChaCha8Rng;

use crate::recipe::sources::BoxedSource;

/// Texts, with a count of those that are longer than the model's input.
pub(super) struct CutTexts {
    source: BoxedSource<LabelledText>,
    tokenizer: PerceiverTokenizer,
    /// Most tokens that the model takes.
    limit: usize,
    cut: Cut,
}

/// The number of texts so far that were longer.
#[derive(Debug, Clone, Default)]
pub(super) struct Cut(Arc<AtomicUsize>);

impl CutTexts {
    pub(super) fn new(
        source: BoxedSource<LabelledText>,
        tokenizer: PerceiverTokenizer,
        limit: usize,
    ) -> (Self, Cut) {
        let cut = Cut::default();
        (Self { source, tokenizer, limit, cut: cut.clone() }, cut)
    }

    fn is_longer(&self, text: &str) -> bool {
        // One token more than the model takes is enough to know.
        let options = EncodeOptions::default()
            .with_truncation(Truncation::LongestFirst)
            .with_max_length(self.limit + 1);
        // A token has a byte or more, except the two around the text.
        text.len() + 2 > self.limit
            && self
                .tokenizer
                .encode(text, &options)
                .is_ok_and(|encoding| encoding.len() > self.limit)
    }
}

impl Cut {
    /// A warning with the number of texts that were cut to `limit` tokens, if there are any.
    pub(super) fn warning(&self, texts: usize, limit: usize) -> Option<String> {
        let count = self.0.load(Ordering::Relaxed);
        let warning = format!("{count} of {texts} texts were cut to the model's {limit} tokens");
        (count > 0).then_some(warning)
    }
}

impl Source for CutTexts {
    type Example = LabelledText;

    fn len(&self) -> usize {
        self.source.len()
    }

    fn example(
        &self,
        index: usize,
        random: &mut ChaCha8Rng,
    ) -> perceiver_data::Result<LabelledText> {
        let example = self.source.example(index, random)?;
        if self.is_longer(&example.text) {
            self.cut.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(example)
    }

    fn remarks(&self) -> Remarks {
        self.source.remarks()
    }
}
