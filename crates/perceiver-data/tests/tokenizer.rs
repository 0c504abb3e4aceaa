//! The tokenizer against transformers' own, on what `tests/generate/tokenizer.py` wrote.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;

use perceiver_data::{
    EncodeInput, EncodeOptions, Encoding, Error, Padding, PerceiverTokenizer, Side, Truncation,
};
use serde_json::Value;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/tokenizer");

struct Fixture {
    name: String,
    content: Value,
    tokenizer: PerceiverTokenizer,
}

fn fixtures() -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    for entry in fs::read_dir(FIXTURES).unwrap() {
        let path = entry.unwrap().path();
        let content: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in content["files"].as_object().unwrap() {
            fs::write(folder.path().join(file), text.to_string()).unwrap();
        }
        fixtures.push(Fixture {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            tokenizer: PerceiverTokenizer::from_pretrained(folder.path()).unwrap(),
            content,
        });
    }
    assert!(fixtures.len() >= 6, "fixtures are missing");
    fixtures
}

fn options(value: &Value) -> EncodeOptions {
    let mut options = EncodeOptions::default();
    for (name, value) in value.as_object().unwrap() {
        let number = value.as_u64().map(|number| number as usize);
        options = match (name.as_str(), value.as_str()) {
            ("add_special_tokens", _) => options.with_special_tokens(value.as_bool().unwrap()),
            ("padding", None) => options.with_padding(Padding::None),
            ("padding", Some("longest")) => options.with_padding(Padding::Longest),
            ("padding", Some("max_length")) => options.with_padding(Padding::MaxLength),
            ("padding_side", Some("left")) => options.with_padding_side(Side::Left),
            ("padding_side", Some("right")) => options.with_padding_side(Side::Right),
            ("truncation", None) => options.with_truncation(Truncation::None),
            ("truncation", Some("longest_first")) => {
                options.with_truncation(Truncation::LongestFirst)
            }
            ("truncation", Some("only_first")) => options.with_truncation(Truncation::OnlyFirst),
            ("truncation", Some("only_second")) => options.with_truncation(Truncation::OnlySecond),
            ("max_length", _) => options.with_max_length(number.unwrap()),
            ("pad_to_multiple_of", _) => options.with_pad_to_multiple_of(number.unwrap()),
            (name, _) => panic!("unknown option {name}"),
        };
    }
    options
}

fn input(value: &Value) -> EncodeInput<'_> {
    let text = |index: usize| value[index].as_str().unwrap();
    match value.as_array().unwrap().len() {
        1 => EncodeInput::Single(text(0)),
        _ => EncodeInput::Pair(text(0), text(1)),
    }
}

fn as_json(encoding: &Encoding) -> Value {
    let digits = |mask: &[u8]| mask.iter().map(u8::to_string).collect::<String>();
    serde_json::json!({
        "input_ids": encoding.input_ids,
        "attention_mask": digits(&encoding.attention_mask),
        "special_tokens_mask": digits(&encoding.special_tokens_mask),
    })
}

#[test]
fn encodings_equal_those_of_transformers() {
    let mut wrong = Vec::new();
    for Fixture { name, content, tokenizer } in fixtures() {
        for (index, case) in content["encode"].as_array().unwrap().iter().enumerate() {
            let options = options(&case["options"]);
            let inputs: Vec<_> = case["inputs"].as_array().unwrap().iter().map(input).collect();
            let result = if case["batch"] == true {
                tokenizer.encode_batch(inputs, &options)
            } else {
                tokenizer.encode(inputs[0], &options).map(|one| vec![one])
            };
            let actual = match &result {
                Ok(encodings) => encodings.iter().map(as_json).collect(),
                Err(Error::LengthNotMultiple { .. }) => Value::Null,
                Err(error) => panic!("{error}"),
            };
            if actual != case["expected"] {
                wrong.push(format!("{name} {index}: {case}\n  actual {actual}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn decoded_texts_equal_those_of_transformers() {
    let mut wrong = Vec::new();
    for Fixture { name, content, tokenizer } in fixtures() {
        for (index, case) in content["decode"].as_array().unwrap().iter().enumerate() {
            let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
            let skip = case["skip_special_tokens"].as_bool().unwrap();
            let actual = match tokenizer.decode(&ids, skip) {
                Ok(text) => text.into(),
                Err(Error::UnknownId { .. }) => Value::Null,
                Err(error) => panic!("{error}"),
            };
            if actual != case["expected"] {
                wrong.push(format!("{name} {index}: {case}\n  actual {actual}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn roles_and_vocabulary_equal_those_of_transformers() {
    for Fixture { name, content, tokenizer } in fixtures() {
        assert_eq!(tokenizer.vocabulary_size() as u64, content["vocabulary_size"], "{name}");
        let special: Vec<u32> = (0..400).filter(|&id| tokenizer.is_special(id)).collect();
        assert_eq!(serde_json::json!(special), content["special_ids"], "{name}");
        let roles = serde_json::json!({
            "pad": tokenizer.pad_token_id(),
            "bos": tokenizer.bos_token_id(),
            "eos": tokenizer.eos_token_id(),
            "mask": tokenizer.mask_token_id(),
            "cls": tokenizer.cls_token_id(),
            "sep": tokenizer.sep_token_id(),
        });
        assert_eq!(roles, content["role_ids"], "{name}");
    }
}

#[test]
fn saved_settings_equal_those_of_transformers_and_load_again() {
    for Fixture { name, content, tokenizer } in fixtures() {
        let folder = tempfile::tempdir().unwrap();
        tokenizer.save_pretrained(folder.path()).unwrap();
        let saved = read_json(&folder.path().join("tokenizer_config.json"));
        let actual = saved.as_object().unwrap();
        for (field, expected) in content["saved"].as_object().unwrap() {
            let expected = match expected.as_f64() {
                Some(number) => serde_json::json!(number),
                None => expected.clone(),
            };
            let actual = match actual.get(field).and_then(Value::as_f64) {
                Some(number) => serde_json::json!(number),
                None => actual.get(field).cloned().unwrap_or_default(),
            };
            assert_eq!(actual, expected, "{name}: {field}");
        }

        let again = PerceiverTokenizer::from_pretrained(folder.path()).unwrap();
        assert_eq!(again.added_tokens(), tokenizer.added_tokens(), "{name}");
        assert_eq!(again.model_max_length(), tokenizer.model_max_length());
        again.save_pretrained(folder.path()).unwrap();
        assert_eq!(read_json(&folder.path().join("tokenizer_config.json")), saved);
    }
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}
