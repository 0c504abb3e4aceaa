//! config.json: what is read, refused and written back.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed test may panic")]

mod support;

use burn::tensor::FloatDType;
use perceiver_core::Activation;
use perceiver_models::{CrossAttentionShape, Head, ImageSize, PerceiverConfig, ProblemType};
use proptest::prelude::*;
use support::fixture;

fn message(json: &str) -> String {
    let message = PerceiverConfig::from_json(json).unwrap_err().to_string();
    assert!(!message.contains('\n') && message.len() < 400, "{message}");
    message
}

/// The message for `head` of a configuration that other heads may accept.
fn refusal(head: Head, json: &str) -> String {
    let name = head.name();
    message(&format!(r#"{{"architectures":["{name}"],{json}}}"#))
}

#[test]
fn an_empty_object_is_the_default_configuration() {
    assert_eq!(PerceiverConfig::from_json("{}").unwrap(), PerceiverConfig::default());
}

#[test]
fn what_transformers_wrote_is_written_back_field_by_field() {
    let folders = std::fs::read_dir(fixture(".")).unwrap();
    let mut count = 0;
    for folder in folders.flatten() {
        let Ok(text) = std::fs::read_to_string(folder.path().join("config.json")) else {
            continue;
        };
        let config = PerceiverConfig::from_json(&text).unwrap();
        let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
        let ours: serde_json::Value = serde_json::from_str(&config.to_json()).unwrap();
        assert_eq!(ours, theirs, "{}", folder.path().display());
        assert_eq!(PerceiverConfig::from_json(&config.to_json()).unwrap(), config);
        count += 1;
    }
    assert!(count > 20, "only {count} fixtures");
}

#[test]
fn every_field_is_read() {
    let config = PerceiverConfig::from_json(
        r#"{"num_latents":2,"d_latents":12,"d_model":6,"num_blocks":3,
        "num_self_attends_per_block":4,"num_self_attention_heads":3,"num_cross_attention_heads":2,
        "qk_channels":6,"v_channels":12,"cross_attention_shape_for_attention":"q",
        "self_attention_widening_factor":5,"cross_attention_widening_factor":7,
        "hidden_act":"swish","attention_probs_dropout_prob":0,"initializer_range":0.5,
        "layer_norm_eps":1,"use_query_residual":false,"vocab_size":8,"max_position_embeddings":9,
        "image_size":[10,11],"train_size":[13,14],"num_frames":15,"audio_samples_per_frame":16,
        "samples_per_patch":17,"output_shape":[1,2,3,4],"output_num_channels":18,
        "_label_trainable_num_channels":19,"architectures":["PerceiverForSequenceClassification"],
        "id2label":{"0":"no","1":"yes","2":"maybe"},"label2id":{"no":0,"yes":1,"maybe":2},
        "problem_type":"regression","chunk_size_feed_forward":20,"output_attentions":true,
        "output_hidden_states":true,"return_dict":false,"torch_dtype":"bfloat16",
        "model_type":"perceiver","my_field":{"b":1,"a":[null]}}"#,
    )
    .unwrap();
    assert_eq!(config.num_self_attends_per_block, 4);
    assert_eq!((config.qk_channels, config.v_channels), (Some(6), Some(12)));
    assert_eq!(config.cross_attention_shape_for_attention, CrossAttentionShape::Queries);
    assert_eq!(config.hidden_act, Activation::Silu);
    assert_eq!(config.image_size, ImageSize::Rectangle(10, 11));
    assert_eq!(config.num_labels(), 3);
    assert_eq!(config.problem_type, Some(ProblemType::Regression));
    assert_eq!(config.dtype, Some(FloatDType::BF16));
    assert_eq!(config.head().unwrap(), Head::SequenceClassification);
    assert!(config.output_attentions && config.output_hidden_states && !config.return_dict);
    let json = config.to_json();
    assert!(json.contains(r#""hidden_act": "swish""#), "{json}");
    assert!(json.contains(r#""dtype": "bfloat16""#) && !json.contains("torch_dtype"), "{json}");
    assert!(json.find("\"b\"") < json.find("\"a\""), "{json}");
    assert_eq!(PerceiverConfig::from_json(&json).unwrap(), config);
}

#[test]
fn labels_follow_the_reference() {
    let labels = |json| PerceiverConfig::from_json(json).unwrap().id2label.into_values().collect();
    let cases: [(&str, Vec<String>); 6] = [
        ("{}", vec!["LABEL_0".into(), "LABEL_1".into()]),
        (r#"{"id2label":null}"#, vec!["LABEL_0".into(), "LABEL_1".into()]),
        (r#"{"num_labels":1}"#, vec!["LABEL_0".into()]),
        (r#"{"id2label":{"10":"k","9":"j"}}"#, vec!["j".into(), "k".into()]),
        (r#"{"id2label":{"0":"a"},"num_labels":1}"#, vec!["a".into()]),
        (r#"{"id2label":{"0":"a"},"num_labels":2}"#, vec!["LABEL_0".into(), "LABEL_1".into()]),
    ];
    for (json, expected) in cases {
        let found: Vec<String> = labels(json);
        assert_eq!(found, expected, "{json}");
    }
}

/// Each of these loads in transformers 5.23; the expected values are those that it gives, with
/// labels as text.
#[test]
fn what_transformers_reads_without_a_check_is_read() {
    let read = |json: &str| PerceiverConfig::from_json(json).unwrap();
    let labels = |json: &str| read(json).id2label.into_iter().collect::<Vec<_>>();
    let label = |id: i64, name: &str| (id, name.to_owned());
    assert_eq!(labels(r#"{"id2label":{"0":1,"1":2.5}}"#), [label(0, "1"), label(1, "2.5")]);
    assert_eq!(
        labels(r#"{"id2label":{"0":false,"1":true}}"#),
        [label(0, "false"), label(1, "true")]
    );
    assert_eq!(labels(r#"{"id2label":{"0":"a","7":null}}"#), [label(0, "a"), label(7, "LABEL_7")]);
    assert_eq!(labels(r#"{"id2label":{" 1 ":"b","-1":"a"}}"#), [label(-1, "a"), label(1, "b")]);

    let indices = |json: &str| {
        let names = r#""id2label":{"0":"a","1":"b"}"#;
        read(&format!("{{{names},{json}}}")).label2id
    };
    let expected = Some([("a".to_owned(), 0), ("b".to_owned(), 1)].into());
    assert_eq!(indices(r#""label2id":{"a":0,"b":1}"#), expected);
    assert_eq!(indices(r#""label2id":{"a":"0","b":" 1 "}"#), expected);
    assert_eq!(indices(r#""label2id":{"a":false,"b":1.0}"#), expected);
    // Without names, the reference replaces the indices together with the names.
    assert_eq!(read(r#"{"label2id":{"a":["x"]}}"#).label2id, None);
    assert_eq!(indices(r#""num_labels":3,"label2id":{"a":0}"#), None);

    assert!(read(r#"{"output_attentions":1}"#).output_attentions);
    assert!(!read(r#"{"return_dict":0}"#).return_dict);
    assert_eq!(read(r#"{"chunk_size_feed_forward":null}"#).chunk_size_feed_forward, 0);
    for (name, expected) in [
        ("half", FloatDType::F16),
        ("float", FloatDType::F32),
        ("double", FloatDType::F64),
        ("torch.bfloat16", FloatDType::BF16),
    ] {
        assert_eq!(read(&format!(r#"{{"torch_dtype":"{name}"}}"#)).dtype, Some(expected));
    }
    assert_eq!(
        read(r#"{"dtype":"float16","torch_dtype":"nonsense"}"#).dtype,
        Some(FloatDType::F16)
    );
}

#[test]
fn a_file_of_another_kind_is_named() {
    for (bytes, part) in [
        (&b""[..], "it is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "a Git LFS pointer",
        ),
        (b"<!doctype html>\n<html></html>", "an HTML page"),
        (b"\xff\xfe{\0}\0", "is UTF-16 text, expected UTF-8"),
        (b"PK\x03\x04\xff\xff\xff\xff\xff\xff", "is a zip archive"),
    ] {
        let folder = support::folder_with(&[("config.json", bytes)]);
        let error = PerceiverConfig::from_pretrained(folder.path()).unwrap_err().to_string();
        assert!(error.contains("config.json: ") && error.contains(part), "{error}");
    }
}

#[test]
fn a_byte_order_mark_is_not_part_of_a_configuration() {
    let folder = support::folder_with(&[("config.json", b"\xef\xbb\xbf{\"num_latents\": 7}")]);
    assert_eq!(PerceiverConfig::from_pretrained(folder.path()).unwrap().num_latents, 7);
}

#[test]
fn a_folder_of_another_kind_is_named() {
    let folder = support::folder_with(&[("adapter_config.json", b"{}"), ("README.md", b"")]);
    let error = PerceiverConfig::from_pretrained(folder.path()).unwrap_err().to_string();
    assert!(error.contains("has no config.json: it is an adapter of PEFT"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("checkpoint-500")).unwrap();
    let error = PerceiverConfig::from_pretrained(folder.path()).unwrap_err().to_string();
    assert!(error.ends_with("a Trainer's output folder; pass one of its folders checkpoint-500"));
}

#[test]
fn a_wrong_type_names_the_field_and_what_was_expected() {
    for (json, parts) in [
        (r#"{"num_latents":null}"#, ["`num_latents`", "null", "whole number"]),
        (r#"{"num_latents":"4"}"#, ["`num_latents`", "\"4\"", "whole number"]),
        (r#"{"num_latents":4.0}"#, ["`num_latents`", "4.0", "whole number"]),
        (r#"{"d_model":-4}"#, ["`d_model`", "-4", "not negative"]),
        (r#"{"use_query_residual":1}"#, ["`use_query_residual`", "is 1", "true or false"]),
        (r#"{"train_size":[1,"x"]}"#, ["`train_size`", "[1,\"x\"]", "list of whole numbers"]),
        (r#"{"image_size":[1,2,3]}"#, ["`image_size`", "[1,2,3]", "list of two"]),
        (r#"{"hidden_act":"gulu"}"#, ["`hidden_act`", "\"gulu\"", "gelu, gelu_10"]),
        (r#"{"problem_type":"x"}"#, ["`problem_type`", "\"x\"", "regression, single_label"]),
        (
            r#"{"cross_attention_shape_for_attention":"v"}"#,
            ["`cross_attention_shape_for_attention`", "\"v\"", "one of kv, q"],
        ),
        (r#"{"dtype":"int8"}"#, ["`dtype`", "\"int8\"", "one of float32"]),
        (r#"{"model_type":"bert"}"#, ["`model_type`", "\"bert\"", "\"perceiver\""]),
        (r#"{"id2label":{"a":"b"}}"#, ["`id2label`", "\"a\": \"b\"", "whole number as its key"]),
        (r#"{"id2label":{"0":["b"]}}"#, ["`id2label`", "\"0\": [\"b\"]", "the name of a class"]),
        (r#"{"id2label":["b"]}"#, ["`id2label`", "[\"b\"]", "index to label"]),
        (
            r#"{"id2label":{"0":"a"},"label2id":{"a":0,"b":"x"}}"#,
            ["`label2id`", "\"b\": \"x\"", "expected a whole number"],
        ),
        (r#"{"output_attentions":"no"}"#, ["`output_attentions`", "\"no\"", "true or false"]),
        (r#"{"num_labels":1000000000000}"#, ["`num_labels`", "1000000000000", "at most"]),
        ("[1]", ["`config`", "[1]", "object"]),
    ] {
        let message = message(json);
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn text_that_is_not_json_is_refused_with_its_place() {
    let message = message("{\n  \"d_model\": }");
    assert!(message.contains("line 2, column 14"), "{message}");
    for json in [r#"{"d": NaN}"#, r#"{"d": Infinity}"#, r#"{"d": -Infinity}"#] {
        let message = self::message(json);
        assert!(message.contains("NaN and Infinity are not JSON"), "{message}");
    }
    assert!(self::message("").contains("line 1"), "an empty file");
    assert!(self::message("{\"d_model\": 7").contains("EOF"), "a truncated file");
}

#[test]
fn the_file_is_named() {
    let folder = support::folder_with(&[("config.json", b"{\"d_latents\":0}")]);
    let error = PerceiverConfig::from_pretrained(folder.path()).unwrap_err().to_string();
    assert!(error.contains("config.json: `d_latents` is 0, expected at least 1"), "{error}");
    let folder = support::folder_with(&[("config.json", b"{\"a\":\"\xff\"}")]);
    let error = PerceiverConfig::from_pretrained(folder.path()).unwrap_err().to_string();
    assert!(error.contains("config.json") && error.contains("UTF-8"), "{error}");
    let error = PerceiverConfig::from_pretrained("no/such/folder").unwrap_err().to_string();
    assert!(error.contains("no/such/folder/config.json: cannot read"), "{error}");
}

#[test]
fn an_unknown_head_is_named_among_the_known_ones() {
    let config = PerceiverConfig::from_json(r#"{"architectures":["BertModel"]}"#).unwrap();
    let message = config.head().unwrap_err().to_string();
    assert!(message.contains("BertModel") && message.contains("PerceiverForMaskedLM"), "{message}");
    let none = PerceiverConfig::default().head().unwrap_err().to_string();
    assert!(none.contains("absent"), "{none}");
}

#[test]
fn dropping_every_probability_is_refused() {
    let message = refusal(Head::Model, r#""attention_probs_dropout_prob":1"#);
    assert!(message.contains("`attention_probs_dropout_prob` is 1"), "{message}");
}

#[test]
fn channels_must_divide_by_heads() {
    let base = r#""num_latents":2,"num_self_attends_per_block":1"#;
    for (json, parts) in [
        (r#""d_latents":10,"num_self_attention_heads":3"#, ["num_self_attention_heads", "10"]),
        (
            r#""d_latents":10,"num_self_attention_heads":5,"num_cross_attention_heads":4"#,
            ["num_cross_attention_heads", "10"],
        ),
        (
            r#""d_latents":8,"num_self_attention_heads":4,"num_cross_attention_heads":2,"d_model":5"#,
            ["num_cross_attention_heads", "5 query and key"],
        ),
        (
            r#""d_latents":8,"num_self_attention_heads":4,"num_cross_attention_heads":2,"qk_channels":6"#,
            ["num_self_attention_heads", "6 query and key"],
        ),
    ] {
        let message = refusal(Head::Model, &format!("{base},{json}"));
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
    let ours =
        r#""d_latents":8,"num_self_attention_heads":4,"num_cross_attention_heads":2,"d_model":5"#;
    let queries = format!(
        r#"{{"architectures":["PerceiverModel"],"cross_attention_shape_for_attention":"q",{base},{ours}}}"#
    );
    PerceiverConfig::from_json(&queries).unwrap();
}

#[test]
fn self_attention_must_return_the_latents_width() {
    let base =
        r#""d_latents":8,"num_self_attention_heads":2,"num_cross_attention_heads":2,"d_model":4"#;
    let message = refusal(Head::Model, &format!(r#"{base},"v_channels":4"#));
    assert!(message.contains("`v_channels`") && message.contains("`d_latents` = 8"), "{message}");
    let message = refusal(Head::Model, &format!(r#"{base},"qk_channels":4"#));
    assert!(message.contains("`qk_channels`") && message.contains("4 value channels"), "{message}");
    // With no layer there is no sum.
    let none = format!(r#"{{{base},"v_channels":4,"num_self_attends_per_block":0}}"#);
    PerceiverConfig::from_json(&none).unwrap();
}

#[test]
fn each_head_checks_the_fields_it_reads() {
    for (head, json, field) in [
        (Head::MaskedLm, r#""d_model":12,"num_cross_attention_heads":4"#, "d_model"),
        (Head::MaskedLm, r#""vocab_size":0"#, "vocab_size"),
        (Head::SequenceClassification, r#""id2label":{}"#, "num_labels"),
        (Head::SequenceClassification, r#""max_position_embeddings":0"#, "max_position_embeddings"),
        (
            Head::SequenceClassification,
            r#""num_labels":1,"problem_type":"single_label_classification""#,
            "problem_type",
        ),
        (Head::ImageClassificationLearned, r#""image_size":[8,8]"#, "image_size"),
        (Head::ImageClassificationLearned, r#""image_size":0"#, "image_size"),
        (Head::ImageClassificationFourier, r#""num_cross_attention_heads":8"#, "num_cross"),
        (Head::OpticalFlow, r#""num_cross_attention_heads":1,"train_size":[8,8,8]"#, "train_size"),
        (
            Head::MultimodalAutoencoding,
            r#""num_cross_attention_heads":1,"output_shape":[1,16,224]"#,
            "output_shape",
        ),
        (
            Head::MultimodalAutoencoding,
            r#""num_cross_attention_heads":1,"num_frames":1,"audio_samples_per_frame":4"#,
            "samples_per_patch",
        ),
    ] {
        let message = refusal(head, json);
        assert!(message.contains(&format!("`{field}")), "{head}: {message}");
        let other = format!(r#"{{"architectures":["PerceiverModel"],{json}}}"#);
        let other = PerceiverConfig::from_json(&other);
        let encoder = matches!(field, "d_model" | "problem_type");
        assert!(encoder || other.is_ok(), "{json}: {other:?}");
    }
}

#[test]
fn a_configuration_cannot_ask_for_terabytes() {
    let huge = usize::MAX / 8 * 8;
    for (head, json) in [
        (Head::Model, format!(r#""num_latents":{huge}"#)),
        (Head::Model, format!(r#""d_latents":{huge}"#)),
        (Head::Model, format!(r#""cross_attention_widening_factor":{huge}"#)),
        (Head::Model, r#""num_self_attends_per_block":1000000"#.into()),
        (Head::Model, r#""num_blocks":1000000"#.into()),
        (Head::MaskedLm, format!(r#""vocab_size":{huge}"#)),
        (Head::MaskedLm, format!(r#""max_position_embeddings":{huge}"#)),
        (Head::ImageClassificationLearned, format!(r#""image_size":{huge}"#)),
        (
            Head::OpticalFlow,
            format!(r#""num_cross_attention_heads":1,"train_size":[{huge},{huge}]"#),
        ),
        (
            Head::MultimodalAutoencoding,
            format!(
                r#""num_cross_attention_heads":1,"num_frames":{huge},"audio_samples_per_frame":{huge}"#
            ),
        ),
        (
            Head::MultimodalAutoencoding,
            format!(r#""num_cross_attention_heads":1,"_label_trainable_num_channels":{huge}"#),
        ),
    ] {
        refusal(head, &json);
    }
}

#[test]
fn the_published_configurations_are_valid() {
    // Sizes of the six released models, from the reference's conversion script.
    for (head, json) in [
        (Head::MaskedLm, r#""qk_channels":256,"v_channels":1280"#),
        (
            Head::ImageClassificationLearned,
            r#""num_latents":512,"d_latents":1024,"d_model":512,"num_blocks":8,
            "num_self_attends_per_block":6,"num_cross_attention_heads":1,"image_size":224,
            "num_labels":1000"#,
        ),
        (
            Head::ImageClassificationFourier,
            r#""num_latents":512,"d_latents":1024,"d_model":261,"num_blocks":8,
            "num_self_attends_per_block":6,"num_cross_attention_heads":1,"num_labels":1000"#,
        ),
        (
            Head::ImageClassificationConvProcessing,
            r#""num_latents":512,"d_latents":1024,"d_model":322,"num_blocks":8,
            "num_self_attends_per_block":6,"num_cross_attention_heads":1,"num_labels":1000"#,
        ),
        (
            Head::OpticalFlow,
            r#""num_latents":2048,"d_latents":512,"d_model":322,"num_self_attends_per_block":24,
            "num_self_attention_heads":16,"num_cross_attention_heads":1"#,
        ),
        (
            Head::MultimodalAutoencoding,
            r#""num_latents":784,"d_latents":512,"d_model":704,"num_self_attends_per_block":8,
            "num_cross_attention_heads":1,"num_labels":700"#,
        ),
    ] {
        let json = format!(r#"{{"architectures":["{head}"],{json}}}"#);
        PerceiverConfig::from_json(&json).unwrap();
    }
}

#[test]
fn saving_replaces_the_file_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/model");
    let config = PerceiverConfig { d_latents: 8, ..PerceiverConfig::default() };
    config.save_pretrained(&path).unwrap();
    config.save_pretrained(&path).unwrap();
    assert_eq!(PerceiverConfig::from_pretrained(&path).unwrap(), config);
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
}

/// JSON values that configurations might hold.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:e}")),
        (0u32..70).prop_map(|n| n.to_string()),
        Just("null".into()),
        Just("true".into()),
        Just("\"kv\"".into()),
        Just("\"gelu_new\"".into()),
        Just("\"PerceiverForMultimodalAutoencoding\"".into()),
        Just("[\"PerceiverForOpticalFlow\"]".into()),
        Just("{\"1\":\"a\"}".into()),
        proptest::collection::vec(any::<u64>(), 0..5).prop_map(|n| format!("{n:?}")),
    ]
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        let _ = PerceiverConfig::from_json(&text);
    }

    #[test]
    fn any_values_are_read_or_refused(
        values in proptest::collection::vec((0usize..37, value()), 0..12)
    ) {
        let default = PerceiverConfig {
            architectures: vec!["PerceiverModel".into()],
            chunk_size_feed_forward: 1,
            problem_type: Some(ProblemType::Regression),
            output_attentions: true,
            ..PerceiverConfig::default()
        };
        let default: serde_json::Value = serde_json::from_str(&default.to_json()).unwrap();
        let names: Vec<&String> = default.as_object().unwrap().keys().collect();
        let more = ["id2label", "label2id", "num_labels", "dtype", "torch_dtype"];
        let name = |i: usize| names.get(i).map_or(more[i % more.len()], |name| name.as_str());
        let fields: Vec<_> =
            values.iter().map(|(i, value)| format!("\"{}\":{value}", name(*i))).collect();
        if let Ok(config) = PerceiverConfig::from_json(&format!("{{{}}}", fields.join(","))) {
            let again = PerceiverConfig::from_json(&config.to_json()).unwrap();
            prop_assert_eq!(again.to_json(), config.to_json());
        }
    }

    #[test]
    fn a_damaged_file_is_read_or_refused(at in 0usize..1000, byte in any::<u8>()) {
        let mut bytes = PerceiverConfig::default().to_json().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let folder = support::folder_with(&[("config.json", &bytes)]);
        let _ = PerceiverConfig::from_pretrained(folder.path());
    }
}
