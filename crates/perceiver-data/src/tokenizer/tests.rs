#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

#[test]
fn empty_text_is_the_two_tokens_around_it() {
    let tokenizer = PerceiverTokenizer::default();
    let encoding = tokenizer.encode("", &EncodeOptions::default()).unwrap();
    assert_eq!(encoding.input_ids, [4, 5]);
    assert_eq!(encoding.offsets, [None, None]);
}
