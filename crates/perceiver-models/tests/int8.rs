//! Linear layers in 8 bits: read, written and refused.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed test may panic")]

mod support;

use std::path::Path;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Tensor, TensorData};
use perceiver_models::{
    Checkpoint, KeyMap, LoadOptions, PerceiverConfig, PerceiverForSequenceClassification,
    PerceiverHead, Pretrained, Quantisation, SaveOptions, load_module, quantisation,
    save_pretrained,
};
use serde_json::{Value, json};
use support::{Raw, Small, device, fixture, folder_with, safetensors, small_tensors};

const NAME: &str = "model.safetensors";
const FINAL_LAYER: &str = "perceiver.decoder.decoder.final_layer";

fn load(folder: impl AsRef<Path>) -> Pretrained<PerceiverForSequenceClassification> {
    PerceiverForSequenceClassification::from_pretrained(folder, &device()).unwrap()
}

fn assert_same(ours: &Checkpoint, theirs: &Checkpoint, key: &str) {
    assert_eq!(ours.info(key), theirs.info(key), "{key}");
    assert_eq!(ours.read(key).unwrap(), theirs.read(key).unwrap(), "{key}");
}

#[test]
fn a_folder_of_compressed_tensors_has_the_values_that_transformers_loads() {
    let int8 = fixture("../int8");
    let mut loaded = load(int8.join("sequence"));
    let ignored = Quantisation { ignore: vec![FINAL_LAYER.to_owned()] };
    assert_eq!(loaded.config.quantisation, Some(ignored));
    assert_eq!(loaded.report.dequantised, 24);
    let warnings = loaded.report.warnings();
    let warning = "model.safetensors: 24 weights of 8 bits are computed in floating point";
    assert!(matches!(&warnings[..], [line] if line.ends_with(warning)), "{warnings:?}");

    loaded.config.quantisation = None;
    let folder = tempfile::tempdir().unwrap();
    loaded.save(folder.path()).unwrap();
    let written = Checkpoint::open(folder.path()).unwrap();
    let expected = Checkpoint::open(int8.join("dequantised.safetensors")).unwrap();
    assert_eq!(written.tensors().count(), expected.tensors().count());
    for (key, _) in expected.tensors() {
        assert_same(&written, &expected, key);
    }
    let text = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
    assert!(!text.contains("quantization_config"), "{text}");
}

#[test]
fn weights_are_rounded_as_in_double_precision() {
    let original = fixture("sequence_single_label");
    let mut loaded = load(&original);
    loaded.config.quantisation = Some(Quantisation::default());
    let original = Checkpoint::open(original).unwrap();
    let rounded = Checkpoint::open(fixture("../int8/rounded.safetensors")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for max_shard_size in [None, Some(5000)] {
        let options = SaveOptions { dtype: None, max_shard_size };
        loaded.save_with(folder.path(), &options).unwrap();
        // A second time from the rounded weights.
        for _ in 0..2 {
            let written = Checkpoint::open(folder.path()).unwrap();
            let scales = written.tensors().filter(|(key, _)| written.is_scale(key)).count();
            assert_eq!((scales, rounded.tensors().count()), (25, 50));
            assert_eq!(written.tensors().count(), original.tensors().count() + scales);
            for (key, _) in written.tensors() {
                let from = if rounded.info(key).is_some() { &rounded } else { &original };
                assert_same(&written, from, key);
            }
            let again = load(folder.path());
            assert_eq!(again.config, loaded.config);
            again.save_with(folder.path(), &options).unwrap();
        }
    }
}

#[test]
fn layers_to_ignore_keep_their_values() {
    let mut loaded = load(fixture("sequence_single_label"));
    loaded.config.quantisation = Some(Quantisation { ignore: vec![FINAL_LAYER.to_owned()] });
    let folder = tempfile::tempdir().unwrap();
    loaded.save(folder.path()).unwrap();
    let written = Checkpoint::open(folder.path()).unwrap();
    let original = Checkpoint::open(fixture("sequence_single_label")).unwrap();
    assert_same(&written, &original, &format!("{FINAL_LAYER}.weight"));
    assert_eq!(written.tensors().filter(|(_, info)| info.dtype == DType::I8).count(), 24);
}

#[derive(Module, Debug)]
struct Pair {
    even: Linear,
    outlier: Linear,
}

fn pair(largest: f32) -> Pair {
    let linear = |first: f32| {
        let mut values = vec![0.49f32; 64];
        values[0] = first;
        let mut linear = LinearConfig::new(64, 1).init(&device());
        let weight = Tensor::from_data(TensorData::new(values, [64, 1]), &device());
        linear.weight = linear.weight.map(|_: Tensor<2>| weight);
        linear
    };
    Pair { even: linear(0.5), outlier: linear(largest) }
}

#[test]
fn layers_that_change_too_much_are_ignored() {
    // Beside 127, the integers of all other weights are 0: 63 · 0.49² of 127² are lost, 3 %.
    let chosen = quantisation(&pair(127.0), &KeyMap::PERCEIVER).unwrap();
    assert_eq!(chosen.ignore, ["outlier"]);
}

#[test]
fn weights_that_are_not_finite_are_refused_and_nothing_is_written() {
    for value in [f32::NAN, f32::INFINITY] {
        let module = pair(value);
        let expected = "`outlier.weight` has NaN or infinite values, which 8 bits cannot hold";
        let error = quantisation(&module, &KeyMap::PERCEIVER).unwrap_err();
        assert_eq!(error.to_string(), expected);
        let quantisation = Some(Quantisation::default());
        let config = PerceiverConfig { quantisation, ..PerceiverConfig::default() };
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let options = SaveOptions::default();
        let saved = save_pretrained(&module, &config, &target, &KeyMap::PERCEIVER, &options);
        assert_eq!(saved.unwrap_err().to_string(), expected);
        assert!(!target.exists());
    }
}

/// The tensors of [`Small`] with one weight in 8 bits.
fn quantised_tensors() -> Vec<Raw> {
    let mut tensors = small_tensors();
    let weight = tensors.iter_mut().find(|tensor| tensor.key == "last.weight").unwrap();
    (weight.dtype, weight.bytes) = ("I8", vec![0x7f, 0x80, 0, 0xff]);
    tensors.push(scale(&[1, 1], 0.5));
    tensors
}

fn scale(shape: &[usize], value: f32) -> Raw {
    let bytes = vec![value; shape.iter().product()];
    let bytes = bytes.iter().flat_map(|value| value.to_le_bytes()).collect();
    Raw { key: "last.weight_scale".into(), dtype: "F32", shape: shape.to_vec(), bytes }
}

fn loaded(tensors: &[Raw]) -> Result<Small, String> {
    let file = safetensors(tensors);
    let folder = folder_with(&[(NAME, &file)]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let options = LoadOptions::default();
    let module = load_module(Small::new(), &checkpoint, &KeyMap::PERCEIVER, &options);
    module.map(|(module, _)| module).map_err(|error| error.to_string())
}

#[test]
fn every_integer_is_multiplied_by_the_scale_of_its_row() {
    let small = loaded(&quantised_tensors()).unwrap();
    let weight = small.last.unwrap().weight.val().into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(weight, [63.5, -64.0, 0.0, -0.5]);
}

#[test]
fn scales_that_do_not_fit_are_refused() {
    let mut integers = scale(&[1, 1], 1.0);
    integers.dtype = "I32";
    let weight = "last.weight (is I8 and has no last.weight_scale)";
    for (replacement, expected) in [
        (None, weight),
        (Some(scale(&[1], 1.0)), "last.weight_scale (is [1], expected [1, 1])"),
        (Some(scale(&[4, 1], 1.0)), "last.weight_scale (is [4, 1], expected [1, 1])"),
        (Some(integers), "last.weight_scale (is I32, expected floats)"),
        (Some(scale(&[1, 1], 0.0)), "tensor last.weight_scale: is 0 in row 0, expected a positive"),
        (Some(scale(&[1, 1], -1.0)), "is -1 in row 0, expected a positive number"),
        (Some(scale(&[1, 1], f32::NAN)), "is NaN in row 0, expected a positive number"),
        (Some(scale(&[1, 1], f32::INFINITY)), "is inf in row 0, expected a positive number"),
    ] {
        let mut tensors = quantised_tensors();
        tensors.pop();
        tensors.extend(replacement);
        let message = loaded(&tensors).err().unwrap();
        assert!(message.contains(NAME) && message.contains(expected), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn integers_outside_linear_layers_and_other_tensors_of_quantisation_are_refused() {
    let mut tensors = quantised_tensors();
    let embeddings = tensors.iter_mut().find(|tensor| tensor.key == "embeddings.weight").unwrap();
    (embeddings.dtype, embeddings.bytes) = ("I8", vec![1; 28]);
    let message = loaded(&tensors).err().unwrap();
    assert!(message.contains("embeddings.weight (is I8, expected floats)"), "{message}");

    let mut tensors = quantised_tensors();
    tensors.push(Raw { key: "last.weight_zero_point".into(), ..scale(&[1, 1], 1.0) });
    let message = loaded(&tensors).err().unwrap();
    assert!(message.contains("1 unused: last.weight_zero_point"), "{message}");
}

/// config.json of a folder that compressed-tensors wrote, with the value at a path replaced.
fn config_with(path: &str, value: Value) -> String {
    let text = std::fs::read_to_string(fixture("../int8/sequence/config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    *config.pointer_mut(&format!("/quantization_config{path}")).unwrap() = value;
    config.to_string()
}

#[test]
fn other_quantisations_are_refused() {
    let group = "/config_groups/group_0";
    let at = |path: &str| format!("{group}{path}");
    for (path, value, part) in [
        (String::new(), json!(7), "` is 7, expected an object"),
        ("/quant_method".into(), json!("gptq"), r#" is "gptq", expected "compressed-tensors""#),
        ("/format".into(), json!("pack-quantized"), r#"expected "int-quantized""#),
        ("/quantization_status".into(), json!("frozen"), r#"expected "compressed""#),
        ("/kv_cache_scheme".into(), json!({"num_bits": 8}), "expected null"),
        ("/sparsity_config".into(), json!({"format": "dense"}), "expected null"),
        ("/config_groups".into(), json!({}), "has 0 groups, expected one"),
        ("/ignore".into(), json!(["re:.*key"]), r#"names "re:.*key", expected a list"#),
        ("/ignore".into(), json!([3]), "names 3, expected a list"),
        (at("/targets"), json!(["Conv2d"]), r#"is ["Conv2d"], expected ["Linear"]"#),
        (at("/weights"), Value::Null, "is null, expected an object"),
        (at("/weights/num_bits"), json!(4), "is 4, expected 8"),
        (at("/weights/type"), json!("float"), r#"is "float", expected "int""#),
        (at("/weights/symmetric"), json!(false), "is false, expected true"),
        (at("/weights/strategy"), json!("group"), r#"is "group", expected "channel""#),
        (at("/input_activations"), Value::Null, "is null, expected an object"),
        (at("/input_activations/strategy"), json!("tensor"), r#"expected "token""#),
        (at("/input_activations/dynamic"), json!(false), "is false, expected true"),
        (at("/output_activations"), json!({"num_bits": 8}), "expected null"),
    ] {
        let error = PerceiverConfig::from_json(&config_with(&path, value)).unwrap_err();
        let (message, field) = (error.to_string(), path.replace('/', "."));
        assert!(message.starts_with(&format!("`quantization_config{field}`")), "{message}");
        assert!(message.contains(part) && !message.contains('\n'), "{message}");
    }
}

#[test]
fn a_quantisation_is_written_as_it_is_read() {
    let ignore = vec!["a.b".to_owned()];
    let quantisation = Some(Quantisation { ignore });
    let config = PerceiverConfig { quantisation, ..PerceiverConfig::default() };
    assert_eq!(PerceiverConfig::from_json(&config.to_json()).unwrap(), config);
}
