//! Running, inspecting, converting and creating models.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{
    Floats, arguments, copy, edit, fixture, forward, image_settings, listing, photo, read, run,
};

/// Largest difference, relative to the largest output.
fn difference(found: &Floats, expected: &Floats) -> f32 {
    assert_eq!(found.shape, expected.shape);
    let greatest = expected.values.iter().fold(0.0_f32, |max, value| max.max(value.abs()));
    let pairs = found.values.iter().zip(&expected.values);
    pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
        / greatest.max(f32::MIN_POSITIVE)
}

#[test]
fn every_head_gives_what_transformers_gives() {
    let folder = tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    for case in [
        "model_blocks",
        "masked_lm",
        "sequence_multi_label",
        "image_learned_smaller",
        "image_fourier",
        "image_conv",
        "optical_flow",
        "multimodal",
        "format_pickle_legacy_bfloat16",
        "format_sharded",
    ] {
        let description = fs::read_to_string(fixture(case).join("case.json")).unwrap();
        let description: Value = serde_json::from_str(&description).unwrap();
        let model = fixture(description["checkpoint"].as_str().unwrap_or(case));
        let mut command = forward(&model, &fixture(case).join("inputs.safetensors"), &output);
        command.extend(arguments!["--hidden-states", "--attentions", "--json", "--force"]);
        if description["options"]["interpolate_pos_encoding"] == json!(true) {
            command.push("--interpolate-pos-encoding".into());
        }
        let described = run(command).json();
        let found = read(&output);
        let expected = read(&fixture(case).join("outputs.safetensors"));
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{case}");
        for (name, expected) in &expected {
            assert_eq!(described["tensors"][name]["shape"], json!(expected.shape));
            let difference = difference(&found[name], expected);
            assert!(difference < 1e-5, "{case} {name}: {difference}");
        }
    }
}

#[test]
fn maps_and_states_are_written_on_request_only() {
    let folder = tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    let case = fixture("masked_lm");
    let result = run(forward(&case, &case.join("inputs.safetensors"), &output));
    assert_eq!(result.code, 0, "{result:?}");
    assert_eq!(read(&output).keys().collect::<Vec<_>>(), ["logits", "loss"]);
    assert!(result.stdout.contains("logits  float32"), "{}", result.stdout);
}

#[test]
fn the_program_counts_what_the_checkpoint_holds() {
    for case in ["masked_lm", "image_conv", "multimodal", "format_sharded"] {
        let shown = run(arguments!["inspect", fixture(case), "--json"]).json();
        assert_eq!(shown["warnings"], json!([]), "{case}");
        let (mut parameters, mut buffers) = (0, 0);
        for name in listing(&fixture(case)) {
            if !name.starts_with("model") || !name.ends_with(".safetensors") {
                continue;
            }
            let bytes = fs::read(fixture(case).join(name)).unwrap();
            for (key, tensor) in SafeTensors::deserialize(&bytes).unwrap().iter() {
                let elements: usize = tensor.shape().iter().product();
                if key.contains("running_") || key.contains("num_batches") {
                    buffers += elements;
                } else {
                    parameters += elements;
                }
            }
        }
        assert_eq!(shown["parameters"]["total"], json!(parameters), "{case}");
        assert_eq!(shown["buffers"], json!(buffers), "{case}");
        let bytes = 4 * (parameters + buffers);
        assert_eq!(shown["bytes_in_memory"]["float32"], json!(bytes), "{case}");
    }
    let shown = run(arguments!["inspect", fixture("masked_lm")]);
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
    for word in
        ["PerceiverForMaskedLM", "latents", "encoder", "total", "on disk", "model.safetensors"]
    {
        assert!(shown.stdout.contains(word), "{word}: {}", shown.stdout);
    }
}

#[test]
fn inspecting_tells_what_does_not_fit() {
    let folder = tempdir().unwrap();
    let model = copy("masked_lm", folder.path());
    edit(&model.join("model.safetensors"), |tensors| {
        let bias = tensors.remove("embedding_decoder.bias").unwrap();
        tensors.insert("classifier.bias".to_owned(), bias);
    });
    let shown = run(arguments!["inspect", &model, "--json"]);
    let warnings = shown.json()["warnings"].to_string();
    assert!(warnings.contains("1 tensors missing: embedding_decoder.bias"), "{warnings}");
    assert!(warnings.contains("1 tensors unused: classifier.bias"), "{warnings}");
    assert_eq!(shown.stderr.lines().count(), 2, "{}", shown.stderr);
}

#[test]
fn a_fresh_model_runs_and_is_converted() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let config = fixture("masked_lm").join("config.json");
    let init = |to: &Path, seed: &str| {
        let command =
            arguments!["init", "--head", "masked-lm", "--config", &config, to, "--seed", seed];
        let result = run(command);
        assert_eq!(result.code, 0, "{result:?}");
        fs::read(to.join("model.safetensors")).unwrap()
    };
    let weights = init(&at("fresh"), "3");
    assert!(weights == init(&at("again"), "3"), "the same seed draws other weights");
    assert!(weights != init(&at("other"), "4"), "another seed draws the same weights");
    assert_eq!(
        listing(&at("fresh")),
        ["config.json", "model.safetensors", "tokenizer_config.json"]
    );

    let inputs = fixture("masked_lm").join("inputs.safetensors");
    let result = run(forward(&at("fresh"), &inputs, &at("out.safetensors")));
    assert_eq!(result.code, 0, "{result:?}");
    let logits = read(&at("out.safetensors")).remove("logits").unwrap();
    assert!(logits.values.iter().all(|value| value.is_finite()));

    let convert = |from: &Path, to: &Path, options: &[&str]| {
        let mut command = arguments!["convert", from, to];
        command.extend(options.iter().map(Into::into));
        assert_eq!(run(command).code, 0);
    };
    convert(&at("fresh"), &at("copy"), &[]);
    assert!(weights == fs::read(at("copy").join("model.safetensors")).unwrap());

    convert(&at("fresh"), &at("half"), &["--dtype", "bf16", "--max-shard-size", "10KB"]);
    let shown = run(arguments!["inspect", at("half"), "--json"]).json();
    assert_eq!(shown["dtypes"], json!(["bfloat16"]));
    assert_eq!(shown["head"], "PerceiverForMaskedLM");
    assert_eq!(shown["config"]["dtype"], "bfloat16");
    let names = listing(&at("half"));
    assert!(names.contains(&"model-00001-of-00006.safetensors".to_owned()), "{names:?}");
    assert!(names.contains(&"tokenizer_config.json".to_owned()), "{names:?}");

    convert(&at("half"), &at("whole"), &["--dtype", "f32"]);
    let result = run(forward(&at("whole"), &inputs, &at("rounded.safetensors")));
    assert_eq!(result.code, 0, "{result:?}");
    let rounded = read(&at("rounded.safetensors")).remove("logits").unwrap();
    let difference = difference(&rounded, &logits);
    assert!(difference > 0.0 && difference < 0.05, "{difference}");
}

#[test]
fn an_image_model_without_settings_is_given_the_default_ones() {
    let folder = tempdir().unwrap();
    let image = folder.path().join("photo.png");
    photo(&image, 50, 40);
    let model = fixture("image_conv");
    let classified = run(arguments!["classify", "--model", &model, &image]);
    assert_eq!(classified.code, 0, "{classified:?}");
    assert!(classified.stderr.contains("no preprocessor_config.json"), "{classified:?}");
    assert!(!classified.stdout.is_empty());
}

#[test]
fn image_settings_may_stand_in_a_combined_file() {
    let folder = tempdir().unwrap();
    let image = folder.path().join("photo.png");
    photo(&image, 50, 40);
    let (apart, combined) = (copy("image_fourier", &folder.path().join("apart")), folder.path());
    let combined = copy("image_fourier", combined);
    image_settings(&apart, 12);
    let settings = fs::read_to_string(apart.join("preprocessor_config.json")).unwrap();
    let settings = format!(r#"{{"image_processor": {settings}}}"#);
    fs::write(combined.join("processor_config.json"), settings).unwrap();
    let features = |model: &Path| {
        let output = model.join("features.safetensors");
        let run = run(arguments!["features", "--model", model, &image, "-o", &output]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(!run.stderr.contains("default settings"), "{run:?}");
        read(&output)
    };
    assert_eq!(features(&combined), features(&apart));
    let classified = |model: &Path| run(arguments!["classify", "--model", model, &image, "--json"]);
    let (found, expected) = (classified(&combined), classified(&apart));
    assert_eq!(found.json()["labels"], expected.json()["labels"]);
    assert!(!found.stderr.contains("default settings"), "{found:?}");
}

#[test]
fn a_fresh_image_model_classifies_at_once() {
    let folder = tempdir().unwrap();
    let image = folder.path().join("photo.png");
    photo(&image, 50, 40);
    for (head, case) in [
        ("image-classification-learned", "image_learned"),
        ("PerceiverForSequenceClassification", "sequence_single_label"),
    ] {
        let (config, model) = (fixture(case).join("config.json"), folder.path().join(case));
        let init = arguments!["init", "--head", head, "--config", config, &model];
        assert_eq!(run(init).code, 0, "{head}");
        let mut classify = arguments!["classify", "--model", &model, "--json"];
        match case {
            "image_learned" => classify.push(image.clone().into()),
            _ => classify.extend(arguments!["--text", "!#"]),
        }
        assert!(!run(classify).json()["labels"].as_array().unwrap().is_empty());
    }
}

#[test]
fn old_formats_become_new_ones() {
    let folder = tempdir().unwrap();
    let inputs = fixture("format_pickle_views").join("inputs.safetensors");
    let expected = read(&fixture("format_pickle_views").join("outputs.safetensors"));
    for case in ["format_pickle_views", "format_pickle_legacy_float32", "format_sharded"] {
        let converted = folder.path().join(case);
        assert_eq!(run(arguments!["convert", fixture(case), &converted]).code, 0);
        assert_eq!(listing(&converted), ["config.json", "model.safetensors"]);
        let output = folder.path().join("out.safetensors");
        let forward = [forward(&converted, &inputs, &output), arguments!["--force"]].concat();
        assert_eq!(run(forward).code, 0);
        assert!(difference(&read(&output)["logits"], &expected["logits"]) < 1e-5, "{case}");
    }
}

#[test]
fn settings_go_along_with_a_converted_model() {
    let folder = tempdir().unwrap();
    let model = copy("image_conv", folder.path());
    let settings = "{ \"size\": 17, \"crop_size\": 20, \"kept\": \"as it is\" }";
    fs::write(model.join("preprocessor_config.json"), settings).unwrap();
    let converted = folder.path().join("converted");
    assert_eq!(run(arguments!["convert", &model, &converted]).code, 0);
    assert_eq!(fs::read_to_string(converted.join("preprocessor_config.json")).unwrap(), settings);
}

#[test]
fn weights_that_are_not_numbers_are_reported() {
    let folder = tempdir().unwrap();
    let model = copy("masked_lm", folder.path());
    edit(&model.join("model.safetensors"), |tensors| {
        let bias = tensors.get_mut("embedding_decoder.bias").unwrap();
        bias.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    let output = folder.path().join("out.safetensors");
    for command in [
        forward(&model, &model.join("inputs.safetensors"), &output),
        arguments!["fill-mask", "--model", &model, "![MASK]", "--json"],
    ] {
        let result = run(command);
        assert_eq!((result.code, result.stdout.as_str()), (1, ""), "{result:?}");
        let error = result.stderr.lines().last().unwrap();
        let expected = "model.safetensors: the model's outputs are not finite: its tensor \
                        embedding_decoder.bias has NaN or infinite values";
        assert!(error.starts_with("perceiver: error: ") && error.ends_with(expected), "{error}");
    }
    assert!(!output.exists());
}

#[test]
fn a_model_in_eight_bits_is_written_shown_and_used() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let model = fixture("sequence_single_label");
    let layer = "perceiver.decoder.decoder.final_layer";
    let convert = |from: &Path, to: &str, options: &[&str]| {
        let mut command = arguments!["convert", from, at(to)];
        command.extend(options.iter().map(Into::into));
        run(command)
    };
    let ignore = ["--dtype", "int8", "--ignore", layer];
    for (name, options) in [("chosen", &ignore[..2]), ("kept", &ignore[..])] {
        let result = convert(&model, name, options);
        assert_eq!(result.code, 0, "{result:?}");
        assert!(result.stdout.contains("float32 and int8"), "{result:?}");
    }

    let shown = |name: &str| run(arguments!["inspect", at(name), "--json"]).json();
    let (original, kept) = (run(arguments!["inspect", &model, "--json"]).json(), shown("kept"));
    assert_eq!(kept["dtypes"], json!(["float32", "int8"]));
    assert_eq!(kept["config"]["quantization_config"]["ignore"], json!([layer]));
    assert_eq!(kept["warnings"], json!([]));
    for field in ["parameters", "buffers", "bytes_in_memory"] {
        assert_eq!(kept[field], original[field], "{field}");
    }
    let text = run(arguments!["inspect", at("kept")]).stdout;
    assert!(text.contains("linear layers in 8 bits, 1 in floating point"), "{text}");
    let text = run(arguments!["inspect", at("chosen")]).stdout;
    assert!(text.contains("  linear layers in 8 bits\n"), "{text}");

    let (inputs, output) = (model.join("inputs.safetensors"), at("out.safetensors"));
    let expected = read(&model.join("outputs.safetensors"));
    let logits = || {
        let result = run([forward(&at("kept"), &inputs, &output), arguments!["--force"]].concat());
        assert_eq!(result.code, 0, "{result:?}");
        assert!(result.stderr.contains("24 weights of 8 bits"), "{result:?}");
        read(&output).remove("logits").unwrap()
    };
    let rounded = logits();
    let change = difference(&rounded, &expected["logits"]);
    assert!(change > 0.0 && change < 0.05, "{change}");

    // Without --dtype the model stays in 8 bits; as floats it keeps its rounded weights.
    assert_eq!(convert(&at("kept"), "again", &[]).code, 0);
    assert_eq!(shown("again")["config"], kept["config"]);
    assert_eq!(convert(&at("kept"), "floats", &["--dtype", "f32"]).code, 0);
    assert_eq!(shown("floats")["dtypes"], json!(["float32"]));
    assert_eq!(run(forward(&at("floats"), &inputs, &at("floats.safetensors"))).code, 0);
    assert_eq!(read(&at("floats.safetensors"))["logits"].values, rounded.values);

    let refused = |options: &[&str], part: &str| {
        let result = convert(&model, "refused", options);
        assert_eq!(result.code, 2, "{result:?}");
        assert!(result.stderr.contains(part), "{result:?}");
        assert!(!at("refused").exists());
    };
    refused(&["--dtype", "f16", "--ignore", layer], "--ignore needs --dtype int8");
    refused(&["--dtype", "int8", "--ignore", "no.layer"], "the model has no layer \"no.layer\"");
}
