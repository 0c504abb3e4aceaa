//! Modules filled from checkpoints and written back.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed test may panic")]

mod support;

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, FloatDType, Tensor};
use perceiver_models::{
    Checkpoint, Error, KeyMap, LoadOptions, LoadReport, PerceiverConfig, SaveOptions, load_module,
    save_pretrained, write_tensors,
};
use support::{Raw, Small, fixture, folder_with, raw, safetensors, small_tensors};

const NAME: &str = "model.safetensors";
const KEYS: KeyMap = KeyMap::PERCEIVER;

fn load(tensors: &[Raw], options: LoadOptions) -> Result<(Small, LoadReport), Error> {
    let folder = folder_with(&[(NAME, &safetensors(tensors))]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    load_module(Small::new(), &checkpoint, &KEYS, &options)
}

fn refusal(tensors: &[Raw]) -> String {
    let message = load(tensors, LoadOptions::default()).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec_as().unwrap()
}

fn stored(tensors: &[Raw], key: &str) -> Vec<f32> {
    let tensor = tensors.iter().find(|tensor| tensor.key == key).unwrap();
    tensor.bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

#[test]
fn every_parameter_gets_the_tensor_of_its_key() {
    let tensors = small_tensors();
    let (small, report) = load(&tensors, LoadOptions::default()).unwrap();
    assert_eq!(report.tensors, tensors.len());
    assert!(report.ignored.is_empty());
    assert!(report.warnings().is_empty());

    let support::Norm::Layer(norm) = &small.norm;
    for (key, ours) in [
        ("latents", values(small.latents.val())),
        ("attention.self.bias", values(small.attention.projections.bias.clone().unwrap().val())),
        ("attention.output.dense.weight", values(small.attention.output.weight.val().transpose())),
        ("layers.1.weight", values(small.layers[1].weight.val().transpose())),
        ("norm.weight", values(norm.gamma.val())),
        ("norm.bias", values(norm.beta.clone().unwrap().val())),
        ("embeddings.weight", values(small.embeddings.weight.val())),
        ("batchnorm.weight", values(small.batchnorm.norm.gamma.val())),
        ("batchnorm.running_mean", values(small.batchnorm.norm.running_mean.value())),
        ("batchnorm.running_var", values(small.batchnorm.norm.running_var.value())),
    ] {
        assert_eq!(ours, stored(&tensors, key), "{key}");
    }
    assert_eq!(small.attention.projections.weight.val().dims(), [4, 6]);
    let batches = small.batchnorm.num_batches_tracked.val().into_data();
    assert_eq!(batches.try_to_vec_as::<i64>().unwrap(), [9]);
}

/// The tensors with another start of their keys.
fn wrapped(prefix: &str) -> Vec<Raw> {
    let rename = |tensor: Raw| Raw { key: format!("{prefix}{}", tensor.key), ..tensor };
    small_tensors().into_iter().map(rename).collect()
}

#[test]
fn what_a_wrapper_put_before_every_key_is_left_off_and_reported() {
    let latents = stored(&small_tensors(), "latents");
    for prefix in
        ["_orig_mod.", "module.", "model.", "base_model.model.", "module._orig_mod.", "ema_model."]
    {
        let (small, report) = load(&wrapped(prefix), LoadOptions::default()).unwrap();
        assert_eq!(values(small.latents.val()), latents, "{prefix}");
        assert_eq!((report.prefix.as_str(), report.tensors), (prefix, small_tensors().len()));
        assert_eq!(
            report.warnings(),
            [format!("{}: keys begin with `{prefix}`, which is left off", report.path.display())]
        );
        // Without the last layer, as a start for another model.
        let mut other = wrapped(prefix);
        other.retain(|tensor| !tensor.key.contains("last."));
        let partial = LoadOptions { partial: true, ..LoadOptions::default() };
        let (_, report) = load(&other, partial).unwrap();
        assert_eq!(report.fresh, ["last.weight", "last.bias"]);
    }
}

#[test]
fn the_state_of_training_beside_the_weights_is_ignored() {
    let mut tensors = wrapped("state_dict.model.");
    tensors.push(raw("optimizer_states.0.state.0.exp_avg", &[3], 4));
    let (small, report) = load(&tensors, LoadOptions::default()).unwrap();
    assert_eq!(values(small.latents.val()), stored(&small_tensors(), "latents"));
    assert_eq!(report.ignored, ["optimizer_states.0.state.0.exp_avg"]);
    assert_eq!(report.prefix, "state_dict.model.");
}

#[test]
fn a_prefix_of_some_keys_is_named_and_not_left_off() {
    let mut tensors = wrapped("model.");
    tensors.push(raw("teacher.latents", &[3, 4], 4));
    let message = refusal(&tensors);
    assert!(message.ends_with("the model's keys follow `model.` there, beside other keys"));
}

#[test]
fn adapters_and_other_models_are_named() {
    let mut tensors = wrapped("base_model.model.");
    tensors.push(raw("base_model.model.attention.self.lora_A.default.weight", &[2, 4], 4));
    assert!(refusal(&tensors).contains("adapters are not merged into its weights"));
    let message = refusal(&[raw("bert.embeddings.word_embeddings.weight", &[2, 4], 4)]);
    assert!(message.ends_with("no tensor has a name of this model"), "{message}");
}

#[test]
fn whatever_differs_is_listed_by_its_key() {
    let tensors = small_tensors();
    let mut other = small_tensors();
    other.retain(|tensor| tensor.key != "attention.self.bias");
    other.push(raw("attention.self.extra", &[1], 3));
    let message = refusal(&other);
    for part in [NAME, "1 missing: attention.self.bias", "1 unused: attention.self.extra"] {
        assert!(message.contains(part), "{message}");
    }
    let mut other = small_tensors();
    other[1] = raw("attention.self.weight", &[4, 6], 3);
    let message = refusal(&other);
    assert!(message.contains("attention.self.weight (is [4, 6], expected [6, 4])"), "{message}");
    let mut other = small_tensors();
    let bytes = vec![0; 8 * tensors[2].bytes.len() / 4];
    other[2] = Raw { dtype: "I64", bytes, ..raw("attention.self.bias", &[6], 3) };
    let message = refusal(&other);
    assert!(message.contains("attention.self.bias (is I64, expected floats)"), "{message}");
}

#[test]
fn parameters_of_another_shape_stay_fresh_if_asked_for_and_are_listed() {
    let options = LoadOptions { ignore_mismatched_sizes: true, ..LoadOptions::default() };
    let mut tensors = small_tensors();
    for (key, shape) in [("last.weight", &[3, 4][..]), ("last.bias", &[3])] {
        let place = tensors.iter().position(|tensor| tensor.key == key).unwrap();
        tensors[place] = raw(key, shape, 99);
    }
    let (small, report) = load(&tensors, options).unwrap();
    assert_eq!(report.tensors, tensors.len() - 2);
    let listed: Vec<_> = report.mismatched.iter().map(ToString::to_string).collect();
    let expected = ["last.weight (is [3, 4], expected [1, 4])", "last.bias (is [3], expected [1])"];
    assert_eq!(listed, expected);
    assert_eq!(report.warnings()[0], format!("fresh, since its shape differs: {}", expected[0]));
    let fresh = values(small.last.unwrap().weight.val());
    assert!(fresh.iter().all(|weight| weight.abs() <= 1.0), "{fresh:?}");
    assert_eq!(values(small.latents.val()), stored(&tensors, "latents"));

    // Not asked for, of another type, or with nothing that fits.
    assert!(refusal(&tensors).contains(expected[0]));
    let bytes = vec![0; 8 * 6];
    tensors[2] = Raw { dtype: "I64", bytes, ..raw("attention.self.bias", &[6], 3) };
    let message = load(&tensors, options).unwrap_err().to_string();
    assert!(message.contains("attention.self.bias (is I64, expected floats)"), "{message}");
    assert!(message.contains(expected[0]), "{message}");
}

#[test]
fn a_missing_batch_count_is_no_fault() {
    let mut tensors = small_tensors();
    tensors.retain(|tensor| !tensor.key.ends_with("num_batches_tracked"));
    let (_, report) = load(&tensors, LoadOptions::default()).unwrap();
    assert_eq!(report.tensors, tensors.len());
}

#[test]
fn integers_beyond_the_devices_are_refused() {
    let mut tensors = small_tensors();
    let count = tensors.iter_mut().find(|tensor| tensor.dtype == "I64").unwrap();
    count.bytes = i64::MAX.to_le_bytes().to_vec();
    let message = refusal(&tensors);
    assert!(message.contains("num_batches_tracked: its values do not fit"), "{message}");
}

#[test]
fn booleans_are_no_count_of_batches() {
    let mut tensors = small_tensors();
    let count = tensors.iter_mut().find(|tensor| tensor.dtype == "I64").unwrap();
    *count = Raw { dtype: "BOOL", bytes: vec![1], ..raw(&count.key, &[], 0) };
    let message = refusal(&tensors);
    assert!(message.contains("num_batches_tracked (is Bool"), "{message}");
    assert!(message.contains("expected integers)"), "{message}");
}

#[test]
fn two_parameters_with_one_key_are_refused() {
    #[derive(Module, Debug)]
    struct Twins {
        one: Linear,
        other: Linear,
    }
    let keys = KeyMap { rewrites: &[("other", "one")], ..KEYS };
    let folder = folder_with(&[(NAME, &safetensors(&[raw("one.weight", &[3, 2], 1)]))]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let layer = || LinearConfig::new(2, 3).with_bias(false).init(&support::device());
    let twins = Twins { one: layer(), other: layer() };
    let loaded = load_module(twins, &checkpoint, &keys, &LoadOptions::default());
    let message = loaded.unwrap_err().to_string();
    assert!(message.contains("one.weight (two parameters have this key)"), "{message}");
}

#[test]
fn a_batch_count_without_a_place_is_ignored() {
    #[derive(Module, Debug)]
    struct Plain {
        layers: Vec<Linear>,
    }
    let tensors =
        [raw("layers.0.weight", &[3, 2], 1), raw("batchnorm.num_batches_tracked", &[], 2)];
    let folder = folder_with(&[(NAME, &safetensors(&tensors))]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let layer = LinearConfig::new(2, 3).with_bias(false).init(&support::device());
    let plain = Plain { layers: vec![layer] };
    let (_, report) = load_module(plain, &checkpoint, &KEYS, &LoadOptions::default()).unwrap();
    assert_eq!(report.ignored, ["batchnorm.num_batches_tracked"]);
}

#[test]
fn nothing_is_read_or_initialised_before_shapes_agree() {
    // One shape is wrong and every other tensor would be unreadable: the file ends before them.
    let mut tensors = small_tensors();
    tensors[0] = raw("latents", &[4, 3], 1);
    let folder = folder_with(&[(NAME, &safetensors(&tensors))]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(folder.path().join(NAME)).unwrap();
    file.set_len(0).unwrap();
    let module = Small::new();
    let shared = module.latents.clone();
    let error = load_module(module, &checkpoint, &KEYS, &LoadOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    assert!(!shared.is_initialized());
}

#[test]
fn a_file_that_shrinks_after_opening_loads_nothing() {
    let folder = folder_with(&[(NAME, &safetensors(&small_tensors()))]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(folder.path().join(NAME)).unwrap();
    file.set_len(file.metadata().unwrap().len() - 2).unwrap();
    let error = load_module(Small::new(), &checkpoint, &KEYS, &LoadOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn loading_leaves_random_initialisation_undone() {
    let module = Small::new();
    let shared = module.clone();
    let folder = folder_with(&[(NAME, &safetensors(&small_tensors()))]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    load_module(module, &checkpoint, &KEYS, &LoadOptions::default()).unwrap();
    assert!(!shared.latents.is_initialized());
    assert!(!shared.attention.output.weight.is_initialized());
    assert!(!shared.embeddings.weight.is_initialized());
}

#[test]
fn nan_weights_load_with_a_warning() {
    let mut tensors = small_tensors();
    tensors[0].bytes[..8].copy_from_slice(&[0, 0, 0xc0, 0x7f, 0, 0, 0x80, 0xff]);
    let (small, report) = load(&tensors, LoadOptions::default()).unwrap();
    assert!(values(small.latents.val())[0].is_nan());
    let path = report.path.display();
    let expected = format!("{path}: tensor latents has 2 NaN or infinite values");
    assert_eq!(report.warnings(), [expected]);
    let message = report.check_outputs([1.0, f32::NAN]).unwrap_err().to_string();
    let expected =
        "the model's outputs are not finite: its tensor latents has NaN or infinite values";
    assert_eq!(message, format!("{path}: {expected}"));
    assert!(report.check_outputs([1.0, 0.0]).is_ok());
}

#[test]
fn floats_are_cast_to_the_requested_type() {
    struct Types(Vec<DType>);
    impl ModuleVisitor for Types {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().dtype());
        }
    }
    let types = |module: &Small| {
        let mut types = Types(Vec::new());
        module.visit(&mut types);
        types.0
    };
    let mut tensors = small_tensors();
    let halves = |tensor: &Raw| Raw {
        dtype: "F16",
        bytes: [0x01, 0x3c].repeat(tensor.bytes.len() / 4),
        key: tensor.key.clone(),
        shape: tensor.shape.clone(),
    };
    tensors = tensors
        .iter()
        .map(|tensor| {
            if tensor.dtype == "F32" { halves(tensor) } else { raw(&tensor.key, &tensor.shape, 0) }
        })
        .collect();
    for (dtype, expected) in [
        (Some(FloatDType::F32), DType::F32),
        (Some(FloatDType::BF16), DType::BF16),
        (None, DType::F16),
    ] {
        let (small, _) = load(&tensors, LoadOptions { dtype, ..LoadOptions::default() }).unwrap();
        assert!(types(&small).into_iter().all(|found| found == expected), "{dtype:?}");
    }
    let (small, _) = load(&tensors, LoadOptions::default()).unwrap();
    assert_eq!(values(small.latents.val()), [1.000_976_6; 12]);
}

#[test]
fn a_bare_model_and_a_head_are_told_apart() {
    #[derive(Module, Debug)]
    struct Head {
        perceiver: Small,
    }
    let folder = folder_with(&[(NAME, &safetensors(&small_tensors()))]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let head = Head { perceiver: Small::new() };
    let error = load_module(head, &checkpoint, &KEYS, &LoadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("PerceiverModel without this head"), "{error}");

    let prefixed = |tensor: &Raw| raw(&format!("perceiver.{}", tensor.key), &tensor.shape, 1);
    let message = refusal(&small_tensors().iter().map(prefixed).collect::<Vec<_>>());
    assert!(message.contains("a head, not a PerceiverModel alone"), "{message}");
}

fn saved(module: &Small, options: SaveOptions) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = PerceiverConfig::default();
    save_pretrained(module, &config, folder.path(), &KEYS, &options).unwrap();
    folder
}

fn names(folder: &tempfile::TempDir) -> Vec<String> {
    let files = std::fs::read_dir(folder.path()).unwrap().flatten();
    let mut names: Vec<_> = files.map(|file| file.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Compares bits.
fn assert_holds(folder: &tempfile::TempDir, tensors: &[Raw]) {
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.tensors().count(), tensors.len());
    for tensor in tensors {
        assert_eq!(checkpoint.info(&tensor.key).unwrap().shape, tensor.shape, "{}", tensor.key);
        let found = checkpoint.read(&tensor.key).unwrap();
        assert_eq!(found.as_bytes(), tensor.bytes, "{}", tensor.key);
    }
}

#[test]
fn what_was_loaded_is_saved_bit_for_bit() {
    let mut tensors = small_tensors();
    tensors[5].bytes[..4].copy_from_slice(&0x7fa0_0001u32.to_le_bytes());
    let (small, _) = load(&tensors, LoadOptions::default()).unwrap();
    let folder = saved(&small, SaveOptions::default());
    assert_eq!(names(&folder), ["config.json", NAME]);
    assert_holds(&folder, &tensors);
    let bytes = std::fs::read(folder.path().join(NAME)).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(header % 8, 0);
    assert!(bytes[8..].starts_with(br#"{"__metadata__":{"format":"pt"}"#));
    let config = PerceiverConfig::from_pretrained(folder.path()).unwrap();
    assert_eq!(config.dtype, Some(FloatDType::F32));
}

#[test]
fn shards_hold_everything_once_and_replace_a_single_file() {
    let tensors = small_tensors();
    let (small, _) = load(&tensors, LoadOptions::default()).unwrap();
    let folder = saved(&small, SaveOptions::default());
    let config = PerceiverConfig::default();
    let save = |max_shard_size| {
        let options = SaveOptions { dtype: None, max_shard_size };
        save_pretrained(&small, &config, folder.path(), &KEYS, &options).unwrap();
    };
    save(Some(150));
    let sharded = names(&folder);
    assert!(!sharded.contains(&NAME.to_owned()) && sharded.len() > 4, "{sharded:?}");
    assert_holds(&folder, &tensors);
    for name in sharded.iter().filter(|name| name.ends_with(".safetensors")) {
        let one = Checkpoint::open(folder.path().join(name)).unwrap();
        let sizes: Vec<_> = one.tensors().map(|(_, info)| info.bytes()).collect();
        assert!(sizes.len() == 1 || sizes.iter().sum::<usize>() <= 150, "{name}");
    }
    save(Some(1000));
    assert!(names(&folder).len() < sharded.len());
    assert_holds(&folder, &tensors);
    save(None);
    assert_eq!(names(&folder), ["config.json", NAME]);
    assert_holds(&folder, &tensors);
}

#[test]
fn half_precision_is_saved_when_asked_for() {
    let (small, _) = load(&small_tensors(), LoadOptions::default()).unwrap();
    let options = SaveOptions { dtype: Some(FloatDType::F16), max_shard_size: None };
    let folder = saved(&small, options);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let info = checkpoint.info("latents").unwrap();
    assert_eq!(info.dtype, DType::F16);
    assert_eq!(checkpoint.info("batchnorm.num_batches_tracked").unwrap().dtype, DType::I64);
    let config = PerceiverConfig::from_pretrained(folder.path()).unwrap();
    assert_eq!(config.dtype, Some(FloatDType::F16));
}

#[test]
fn tensors_are_written_under_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    let tensors = Checkpoint::open(fixture("masked_lm/outputs.safetensors")).unwrap();
    let all = || tensors.tensors().map(|(key, _)| (key.to_owned(), tensors.read(key).unwrap()));
    write_tensors(&path, all()).unwrap();
    let again = Checkpoint::open(&path).unwrap();
    assert_eq!(again.tensors().count(), tensors.tensors().count());
    for (key, data) in all() {
        assert_eq!(again.read(&key).unwrap(), data);
    }
}

#[test]
fn a_save_that_cannot_finish_leaves_the_old_files() {
    let tensors = small_tensors();
    let (small, _) = load(&tensors, LoadOptions::default()).unwrap();
    let folder = saved(&small, SaveOptions::default());
    // A folder stands in the file's place, so that the last step fails.
    let before = names(&folder);
    let path = folder.path().join("out.safetensors");
    std::fs::create_dir(&path).unwrap();
    let data = Checkpoint::open(folder.path()).unwrap().read("latents").unwrap();
    let error = write_tensors(&path, [("a".to_owned(), data)]).unwrap_err();
    assert!(error.to_string().contains("cannot replace"), "{error}");
    std::fs::remove_dir(&path).unwrap();
    assert_eq!(names(&folder), before, "no temporary file is left");
    assert_holds(&folder, &tensors);
}
