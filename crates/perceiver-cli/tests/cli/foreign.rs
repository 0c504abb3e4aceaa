//! Models that other programs wrote: wrapped, without a named head, or of another kind.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{
    arguments, configure, copy, edit, fixture, forward, image_settings, photo, program, read, run,
};

/// Puts a prefix before every key of a copy of a case.
fn wrapped(case: &str, prefix: &str, to: &Path) -> std::path::PathBuf {
    let model = copy(case, to);
    edit(&model.join("model.safetensors"), |tensors| {
        let old = std::mem::take(tensors);
        *tensors = old.into_iter().map(|(key, t)| (format!("{prefix}{key}"), t)).collect();
    });
    model
}

#[test]
fn every_command_reads_wrapped_weights_and_says_so() {
    let folder = tempdir().unwrap();
    let said = "begin with `_orig_mod.`, which is left off";
    let model = wrapped("masked_lm", "_orig_mod.", folder.path());
    let output = folder.path().join("out.safetensors");
    let case = fixture("masked_lm");
    let result = run(forward(&model, &case.join("inputs.safetensors"), &output));
    assert!(result.code == 0 && result.stderr.contains(said), "{result:?}");
    let expected = read(&case.join("outputs.safetensors"));
    let pairs = read(&output)["logits"].values.clone().into_iter().zip(&expected["logits"].values);
    assert!(pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max) < 1e-5);

    let converted = folder.path().join("converted");
    let result = run(arguments!["convert", &model, &converted]);
    assert!(result.code == 0 && result.stderr.contains(said), "{result:?}");
    let shown = run(arguments!["inspect", &converted, "--json"]).json();
    assert_eq!(shown["warnings"], json!([]));
    let counted = run(arguments!["inspect", &model, "--json"]).json();
    assert_eq!(counted["parameters"], shown["parameters"]);
    assert!(counted["warnings"][0].as_str().unwrap().contains(said));
    assert_eq!(counted["warnings"].as_array().unwrap().len(), 1);

    let result = run(arguments!["fill-mask", "--model", &model, "![MASK]#"]);
    assert!(result.code == 0 && result.stderr.contains(said), "{result:?}");
}

#[test]
fn a_head_is_given_to_a_configuration_without_architectures() {
    let folder = tempdir().unwrap();
    let image = folder.path().join("photo.png");
    photo(&image, 50, 40);
    let without = |case: &str| {
        let model = copy(case, folder.path());
        image_settings(&model, 17);
        configure(&model, "architectures", Value::Null);
        model
    };
    let (text, picture) = (without("masked_lm"), without("image_fourier"));
    let output = |name: &str| folder.path().join(name);

    // A command that takes one head needs no name.
    let filled = run(arguments!["fill-mask", "--model", &text, "![MASK]#"]);
    assert_eq!(filled.code, 0, "{filled:?}");
    let other = arguments!["fill-mask", "--model", &text, "--head", "optical-flow", "![MASK]#"];
    let refused = run(other);
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("--head is PerceiverForOpticalFlow, expected PerceiverForMask")
    );

    let inputs = fixture("masked_lm").join("inputs.safetensors");
    let head = "image-classification-fourier";
    let photos = output("photos");
    fs::create_dir_all(photos.join("LABEL_0")).unwrap();
    photo(&photos.join("LABEL_0/one.png"), 50, 40);
    for (command, name) in [
        (forward(&text, &inputs, &output("a.safetensors")), "masked-lm"),
        (arguments!["inspect", &text], "masked-lm"),
        (arguments!["convert", &text, output("converted")], "masked-lm"),
        (arguments!["classify", "--model", &picture, &image], head),
        (arguments!["evaluate", &picture, &photos], head),
        (arguments!["features", "--model", &picture, &image, "-o", output("f.npy")], head),
        (
            arguments!["attend", "--model", &picture, &image, "-o", output("m.png"), "--head", "0"],
            head,
        ),
    ] {
        let refused = run(&command);
        assert_eq!(refused.code, 2, "{command:?}: {refused:?}");
        assert!(refused.stderr.contains("config.json: `architectures` is absent"), "{refused:?}");
        assert!(refused.stderr.contains("; or name the head by --head, such as"), "{refused:?}");
        let named = command.iter().cloned().chain(arguments!["--head", name]);
        let result = run(named);
        assert_eq!(result.code, 0, "{command:?}: {result:?}");
    }
    let shown = run(arguments!["inspect", output("converted"), "--json"]).json();
    assert_eq!(shown["config"]["architectures"], json!(["PerceiverForMaskedLM"]));

    let named = fixture("masked_lm");
    let refused = run(arguments!["inspect", &named, "--head", "optical-flow"]);
    assert_eq!(refused.code, 2);
    let expected = "names \"PerceiverForMaskedLM\", expected PerceiverForOpticalFlow";
    assert!(refused.stderr.contains(expected), "{refused:?}");
}

#[test]
fn folders_and_files_of_other_kinds_are_named_by_every_command() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("run/checkpoint-500")).unwrap();
    fs::create_dir_all(at("adapter")).unwrap();
    fs::write(at("adapter/adapter_config.json"), "{}").unwrap();
    let pointer = copy("masked_lm", &at("pointer"));
    fs::write(pointer.join("model.safetensors"), "version https://git-lfs.github.com/spec/v1\n")
        .unwrap();
    for (model, part) in [
        (at("run"), "a Trainer's output folder; pass one of its folders checkpoint-500"),
        (at("adapter"), "an adapter of PEFT"),
        (pointer, "model.safetensors: is a Git LFS pointer"),
    ] {
        for command in [
            arguments!["inspect", &model],
            arguments!["fill-mask", "--model", &model, "a[MASK]"],
            arguments!["convert", &model, at("out")],
        ] {
            let result = run(&command);
            assert_eq!(result.code, 2, "{command:?}: {result:?}");
            assert!(result.stderr.contains(part), "{command:?}: {result:?}");
            assert_eq!(result.stderr.lines().count(), 1, "{result:?}");
        }
    }
}

#[test]
fn labels_of_any_type_name_classes() {
    let folder = tempdir().unwrap();
    let model = copy("sequence_single_label", folder.path());
    let text = fs::read_to_string(model.join("config.json")).unwrap();
    let count = serde_json::from_str::<Value>(&text).unwrap()["id2label"]
        .as_object()
        .map_or(2, serde_json::Map::len);
    let names: Value = (0..count).map(|id| (id.to_string(), json!(id * 10))).collect();
    let indices: Value =
        (0..count).map(|id| ((id * 10).to_string(), json!(id.to_string()))).collect();
    configure(&model, "id2label", names);
    configure(&model, "label2id", indices);
    let result = run(arguments!["classify", "--model", &model, "--text", "!#", "--json"]);
    for label in result.json()["labels"].as_array().unwrap() {
        let (index, name) = (label["index"].as_u64().unwrap(), label["label"].as_str().unwrap());
        assert_eq!(name, (index * 10).to_string());
    }
}

/// The system's database of users gives the home folder, as Python's `expanduser` has it.
#[cfg(unix)]
#[test]
fn without_home_the_cache_is_never_a_shared_folder() {
    let shown = |variables: &[(&str, &str)]| {
        let mut doctor = program();
        doctor.arg("doctor").arg("--json").env_remove("HF_HOME").env_remove("HOME");
        doctor.env_remove("XDG_CACHE_HOME");
        doctor.envs(variables.iter().copied());
        let result: crate::support::Run = doctor.output().unwrap().into();
        result.json()["cache"]["path"].as_str().map(str::to_owned)
    };
    if let Some(cache) = shown(&[]) {
        assert!(!Path::new(&cache).starts_with(std::env::temp_dir()), "{cache}");
    }
    assert_eq!(shown(&[("HOME", "/h"), ("HF_HOME", "~/m")]).unwrap(), "/h/m/hub");
    assert_eq!(shown(&[("HUGGINGFACE_HUB_CACHE", "/c")]).unwrap(), "/c");
}
