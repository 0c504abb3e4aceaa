#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;

use proptest::prelude::*;

use super::*;
use crate::read_text;

fn tokenizer_with(config: &str) -> Result<PerceiverTokenizer> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
    PerceiverTokenizer::from_pretrained(folder.path())
}

fn refusal(config: &str) -> String {
    let message = tokenizer_with(config).unwrap_err().to_string();
    assert!(message.contains("tokenizer_config.json: "), "{message}");
    assert_eq!(message.lines().count(), 1);
    message.split_once(".json: ").unwrap().1.to_owned()
}

/// Texts with special tokens, parts of them and white space of all kinds.
fn text() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![
        4 => any::<String>(),
        3 => "(\\[(MASK|CLS|SEP|PAD)\\]|\\[MAS|K\\]|[ \u{a0}\u{1d}]|a b|é){1,4}",
    ];
    prop::collection::vec(fragment, 0..5).prop_map(|fragments| fragments.concat())
}

#[test]
fn empty_text_is_the_two_tokens_around_it() {
    let tokenizer = PerceiverTokenizer::default();
    let encoding = tokenizer.encode("", &EncodeOptions::default()).unwrap();
    assert_eq!(encoding.input_ids, [4, 5]);
    assert_eq!(encoding.offsets, [None, None]);
}

#[test]
fn special_tokens_in_the_text_are_one_token_with_all_their_bytes() {
    let tokenizer = PerceiverTokenizer::default();
    let options = EncodeOptions::default().with_special_tokens(false);
    let encoding = tokenizer.encode(("é", "[MASK]x"), &options).unwrap();
    let span = |text, start, end| Some(Span { text, start, end });
    assert_eq!(encoding.input_ids, [0xc3 + 6, 0xa9 + 6, 3, 120 + 6]);
    assert_eq!(encoding.offsets, [span(0, 0, 1), span(0, 1, 2), span(1, 0, 6), span(1, 6, 7)]);
}

#[test]
fn text_beyond_the_model_is_refused_by_the_check() {
    let tokenizer = tokenizer_with(r#"{"model_max_length": 4}"#).unwrap();
    let encode = |text| tokenizer.encode(text, &EncodeOptions::default()).unwrap();
    assert!(tokenizer.check_length(&encode("ab")).is_ok());
    assert_eq!(
        tokenizer.check_length(&encode("abc")).unwrap_err().to_string(),
        "the text has 5 tokens, expected at most the model's 4"
    );
}

#[test]
fn identifiers_outside_the_vocabulary_are_refused() {
    let tokenizer = PerceiverTokenizer::default();
    assert_eq!(tokenizer.vocabulary_size(), 262);
    assert_eq!(
        tokenizer.decode(&[4, 262], false).unwrap_err().to_string(),
        "token id 262 at position 1 is not in the vocabulary of 262 ids"
    );
}

#[test]
fn enormous_padding_is_refused_before_it_is_allocated() {
    let tokenizer = tokenizer_with(r#"{"model_max_length": 10000000000000000000}"#).unwrap();
    let options = EncodeOptions::default().with_padding(Padding::MaxLength);
    assert!(matches!(tokenizer.encode("a", &options), Err(Error::PaddingTooLong { .. })));
    let options =
        EncodeOptions::default().with_padding(Padding::Longest).with_pad_to_multiple_of(usize::MAX);
    assert!(tokenizer.encode("a", &options).is_err());
}

#[test]
fn refused_settings_are_named_with_what_was_expected() {
    for (config, expected) in [
        ("{", "not valid JSON: EOF while parsing an object at line 1 column 1"),
        ("[1]", "`the whole file` is [1], expected a JSON object"),
        (
            r#"{"tokenizer_class": "BertTokenizer"}"#,
            "`tokenizer_class` is \"BertTokenizer\", expected `PerceiverTokenizer`",
        ),
        (
            r#"{"model_max_length": -1}"#,
            "`model_max_length` is -1, expected a whole number of tokens",
        ),
        (r#"{"padding_side": "top"}"#, "`padding_side` is \"top\", expected `left` or `right`"),
        (
            r#"{"mask_token": null}"#,
            "`mask_token` is null, expected a string or an object with `content`, and not empty",
        ),
        (
            r#"{"cls_token": {"content": "[CLS]", "lstrip": 3}}"#,
            "`cls_token.lstrip` is 3, expected true or false",
        ),
        (
            r#"{"added_tokens_decoder": {"-3": {"content": "x"}}}"#,
            "`added_tokens_decoder.-3` is {\"content\":\"x\"}, expected a token id as its key",
        ),
        (r#"{"added_tokens_decoder": [1]}"#, "`added_tokens_decoder` is [1], expected an object"),
        (
            r#"{"extra_special_tokens": 7}"#,
            "`extra_special_tokens` is 7, expected a list of tokens or named tokens",
        ),
    ] {
        assert_eq!(refusal(config), expected, "{config}");
    }
}

/// Only the beginning of a long text is read, which may end inside a token.
#[test]
fn a_text_is_cut_between_tokens_wherever_its_beginning_ends() {
    let tokenizer = PerceiverTokenizer::default();
    let plain = EncodeOptions::default().with_special_tokens(false);
    let ids =
        |text: &str, options: &EncodeOptions| tokenizer.encode(text, options).unwrap().input_ids;
    for limit in 1..40 {
        let cut = plain.clone().with_truncation(Truncation::LongestFirst).with_max_length(limit);
        for text in
            ["[MASK]".repeat(99), format!("{}[MASK]{}", "x".repeat(limit - 1), "y".repeat(99))]
        {
            assert_eq!(ids(&text, &cut), ids(&text, &plain)[..limit], "{text} at {limit}");
        }
    }
}

#[test]
fn settings_of_another_kind_are_named() {
    for (text, kind) in [
        ("<!doctype html><p>404", "is an HTML page"),
        ("version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer"),
    ] {
        assert!(refusal(text).starts_with(kind), "{}", refusal(text));
    }
}

#[test]
fn a_folder_without_settings_gives_the_defaults_and_no_folder_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = PerceiverTokenizer::from_pretrained(folder.path()).unwrap();
    assert_eq!(tokenizer.model_max_length(), Some(2048));
    assert_eq!(tokenizer.mask_token(), "[MASK]");
    let missing = folder.path().join("missing");
    let message = PerceiverTokenizer::from_pretrained(&missing).unwrap_err();
    assert!(message.to_string().contains("missing: cannot read"));
}

#[test]
fn files_in_memory_are_read_as_those_of_a_folder_are() {
    let folder = tempfile::tempdir().unwrap();
    // The older layout spreads the settings over three files.
    let files: [(&str, &[u8]); 3] = [
        ("tokenizer_config.json", br#"{"model_max_length": 9}"#),
        ("special_tokens_map.json", br#"{"mask_token": "<m>"}"#),
        ("added_tokens.json", br#"{"<new>": 262}"#),
    ];
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let from_folder = PerceiverTokenizer::from_pretrained(folder.path()).unwrap();
    let from_memory = PerceiverTokenizer::from_files(&files).unwrap();
    assert_eq!(from_memory.added_tokens(), from_folder.added_tokens());
    let encode = |tokenizer: &PerceiverTokenizer| {
        tokenizer.encode("a <m> b <new>", &EncodeOptions::default()).unwrap()
    };
    assert_eq!(encode(&from_memory), encode(&from_folder));
    assert_eq!(from_memory.mask_token(), "<m>");
    assert_eq!(from_memory.model_max_length(), Some(9));
    assert_eq!(from_memory.added_tokens()[&262].content, "<new>");

    let refused = PerceiverTokenizer::from_files(&[("tokenizer_config.json", b"[]")]).unwrap_err();
    let expected = "tokenizer_config.json: `the whole file` is [], expected a JSON object";
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn settings_that_are_given_twice_are_refused() {
    let files: [(&str, &[u8]); 2] = [("tokenizer_config.json", b"{}"); 2];
    let refused = PerceiverTokenizer::from_files(&files).unwrap_err();
    assert_eq!(refused.to_string(), "tokenizer_config.json: is given twice");
}

#[test]
fn settings_larger_than_any_real_ones_are_not_read() {
    let config = format!(r#"{{"x": "{}"}}"#, "a".repeat(1 << 20));
    assert!(refusal(&config).ends_with("expected at most 1048576"));
}

#[test]
fn saving_over_a_folder_without_permission_leaves_no_half_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "old").unwrap();
    // A file stands where the folder should be.
    let error = PerceiverTokenizer::default().save_pretrained(&file);
    assert!(matches!(error, Err(Error::Io { .. })));
    assert_eq!(fs::read(&file).unwrap(), b"old");
}

#[test]
fn invalid_utf8_is_located() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.txt");
    fs::write(&path, b"ab\xc3(").unwrap();
    let message = read_text(&path).unwrap_err().to_string();
    assert!(message.ends_with("text.txt: invalid UTF-8 at byte 2"));
    fs::write(&path, "a\0é").unwrap();
    assert_eq!(read_text(&path).unwrap(), "a\0é");
}

proptest! {
    #[test]
    fn decoding_gives_the_encoded_text_back(text in text()) {
        let tokenizer = PerceiverTokenizer::default();
        let encoding = tokenizer.encode(&text, &EncodeOptions::default()).unwrap();
        let inner = &encoding.input_ids[1..encoding.len() - 1];
        prop_assert_eq!(tokenizer.decode(inner, false).unwrap(), text);
    }

    #[test]
    fn offsets_cover_the_text_without_gap_or_overlap(text in text()) {
        let tokenizer = PerceiverTokenizer::default();
        let options = EncodeOptions::default().with_special_tokens(false);
        let encoding = tokenizer.encode(&text, &options).unwrap();
        let mut end = 0;
        for (id, span) in encoding.input_ids.iter().zip(&encoding.offsets) {
            let span = span.unwrap();
            prop_assert_eq!(span.start, end);
            end = span.end;
            let bytes = &text.as_bytes()[span.start..span.end];
            prop_assert_eq!(tokenizer.decode_bytes(&[*id], false).unwrap(), bytes);
        }
        prop_assert_eq!(end, text.len());
    }

    #[test]
    fn any_identifiers_of_the_vocabulary_decode(
        ids in prop::collection::vec(0_u32..262, 0..40),
        skip: bool,
    ) {
        let tokenizer = PerceiverTokenizer::default();
        let bytes = tokenizer.decode_bytes(&ids, skip).unwrap();
        let text = tokenizer.decode(&ids, skip).unwrap();
        prop_assert_eq!(String::from_utf8_lossy(&bytes), text);
    }

    #[test]
    fn padding_changes_nothing_but_the_length(text in text(), length in 0_usize..60, left: bool) {
        let tokenizer = PerceiverTokenizer::default();
        let plain = tokenizer.encode(&text, &EncodeOptions::default()).unwrap();
        let options = EncodeOptions::default()
            .with_padding(Padding::MaxLength)
            .with_padding_side(if left { Side::Left } else { Side::Right })
            .with_max_length(length);
        let padded = tokenizer.encode(&text, &options).unwrap();
        prop_assert_eq!(padded.len(), plain.len().max(length));
        let kept: Vec<u32> = padded
            .input_ids
            .iter()
            .zip(&padded.attention_mask)
            .filter_map(|(id, mask)| (*mask == 1).then_some(*id))
            .collect();
        prop_assert_eq!(kept, plain.input_ids);
    }

    #[test]
    fn settings_of_arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tokenizer_config.json"), bytes).unwrap();
        let _ = PerceiverTokenizer::from_pretrained(folder.path());
    }

    #[test]
    fn tokens_of_any_content_and_kind_encode_any_text(
        contents in prop::collection::vec("[ab \u{e9}<]{1,3}", 0..6),
        flags in prop::collection::vec(any::<[bool; 3]>(), 6),
        ids in prop::collection::vec(0_u32..400, 6),
        text in "[ab \u{e9}<]{0,12}",
    ) {
        let tokenizer = tokenizer_of(&contents, &flags, &ids);
        let options = EncodeOptions::default().with_special_tokens(false);
        let encoding = tokenizer.encode(&text, &options).unwrap();
        let mut end = 0;
        for span in encoding.offsets.iter().flatten() {
            prop_assert!(end <= span.start && span.start < span.end && span.end <= text.len());
            end = span.end;
        }
        tokenizer.decode(&encoding.input_ids, false).unwrap();
    }

    #[test]
    fn a_text_is_cut_as_its_tokens_are(
        contents in prop::collection::vec("[ab \u{e9}<]{1,3}", 0..4),
        flags in prop::collection::vec(any::<[bool; 3]>(), 4),
        ids in prop::collection::vec(0_u32..400, 4),
        text in "[ab \u{e9}<]{0,200}| {100}[ab]{9}|a {90}b[a ]{99}",
        limit in 1_usize..50,
    ) {
        let tokenizer = tokenizer_of(&contents, &flags, &ids);
        let whole = EncodeOptions::default().with_special_tokens(false);
        let cut = whole.clone().with_truncation(Truncation::LongestFirst).with_max_length(limit);
        let (whole, cut) = (tokenizer.encode(&text, &whole).unwrap(), tokenizer.encode(&text, &cut).unwrap());
        let kept = limit.min(whole.len());
        prop_assert_eq!(&cut.input_ids, &whole.input_ids[..kept]);
        prop_assert_eq!(&cut.offsets, &whole.offsets[..kept]);
    }
}

/// A tokenizer with added tokens of any kind.
fn tokenizer_of(contents: &[String], flags: &[[bool; 3]], ids: &[u32]) -> PerceiverTokenizer {
    let listed: Map<String, Value> = contents
        .iter()
        .zip(flags)
        .zip(ids)
        .map(|((content, [lstrip, rstrip, single_word]), id)| {
            let token = serde_json::json!({
                "content": content,
                "lstrip": lstrip,
                "rstrip": rstrip,
                "single_word": single_word,
            });
            (id.to_string(), token)
        })
        .collect();
    let config = serde_json::json!({
        "added_tokens_decoder": listed,
        "extra_special_tokens": contents,
    });
    tokenizer_with(&config.to_string()).unwrap()
}
