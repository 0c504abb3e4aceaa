//! Every head gives the reference's numbers, on every compiled backend.
//!
//! The cases under `fixtures/heads` are checkpoints, inputs and outputs that transformers wrote
//! (`generate/heads.py`).

#![allow(clippy::print_stdout, reason = "differences are shown with --nocapture")]

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module as _;
use burn::tensor::{Device, Tensor};
use perceiver_models::{
    AnyPerceiver, Decoder, ForwardOptions, KeyMask, NamedTensors, OutputOptions, PerceiverConfig,
    PerceiverForImageClassificationConvProcessing, PerceiverForImageClassificationFourier,
    PerceiverForImageClassificationLearned, PerceiverForMaskedLM,
    PerceiverForSequenceClassification, PerceiverHead, PerceiverModel, Preprocessor, Pretrained,
    Request,
};
use perceiver_tests::{TOLERANCE, compare, devices, fixtures, read_tensors};
use serde_json::Value;

const EVERYTHING: OutputOptions = OutputOptions { hidden_states: true, attentions: true };
/// In the reference a row of the mask may hide every token; `AnyPerceiver::forward` refuses that.
const HIDDEN_ROW: &str = "model_hidden_row";

/// A folder of fixtures.
struct Case {
    name: String,
    folder: PathBuf,
    /// The folder with its weights: its own or a sibling.
    checkpoint: PathBuf,
    interpolate_positions: bool,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(fixtures("heads")).expect("the fixtures are there") {
        let folder = entry.expect("the folder can be read").path();
        if !folder.join("outputs.safetensors").is_file() {
            continue;
        }
        let text = fs::read_to_string(folder.join("case.json")).expect("every case has a note");
        let case: Value = serde_json::from_str(&text).expect("case.json is JSON");
        let checkpoint = case["checkpoint"].as_str();
        cases.push(Case {
            name: folder.file_name().expect("a name").to_string_lossy().into_owned(),
            checkpoint: checkpoint.map_or(folder.clone(), |name| folder.with_file_name(name)),
            interpolate_positions: case["options"]["interpolate_pos_encoding"] == true,
            folder,
        });
    }
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(cases.len() > 40, "only {} cases were found", cases.len());
    cases
}

fn run(case: &Case, device: &Device) -> Result<NamedTensors, String> {
    let Pretrained { model, config, .. } = AnyPerceiver::from_pretrained(&case.checkpoint, device)
        .map_err(|error| error.to_string())?;
    let options =
        ForwardOptions { outputs: EVERYTHING, interpolate_positions: case.interpolate_positions };
    let inputs = read_tensors(&case.folder.join("inputs.safetensors"));
    model.forward(inputs, &config, options, device).map_err(|error| error.to_string())
}

fn assert_parity(device_name: &str, device: &Device) {
    let mut failures = Vec::new();
    for case in cases().iter().filter(|case| case.name != HIDDEN_ROW) {
        let expected = read_tensors(&case.folder.join("outputs.safetensors"));
        match run(case, device) {
            Err(message) => failures.push(format!("{}: {message}", case.name)),
            Ok(found) => {
                let (differences, largest) = compare(&found, &expected, TOLERANCE);
                println!("{device_name} {} {largest:.1e}", case.name);
                failures.extend(differences.iter().map(|d| format!("{}: {d}", case.name)));
            }
        }
    }
    assert!(failures.is_empty(), "on {device_name}:\n{}", failures.join("\n"));
}

#[test]
fn every_head_matches_the_reference() {
    for (name, device) in devices() {
        assert_parity(name, &device);
    }
}

/// Without attention maps, layers compute differently.
#[test]
fn attention_without_maps_gives_the_same_result() {
    for (device_name, device) in devices() {
        let mut failures = Vec::new();
        for case in cases().iter().filter(|case| case.name != HIDDEN_ROW) {
            let mut expected = read_tensors(&case.folder.join("outputs.safetensors"));
            expected.retain(|name, _| {
                !["hidden_states", "attentions", "cross_attentions"]
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
            });
            let Pretrained { model, config, .. } =
                AnyPerceiver::from_pretrained(&case.checkpoint, &device)
                    .expect("the checkpoint loads");
            let options = ForwardOptions {
                interpolate_positions: case.interpolate_positions,
                ..ForwardOptions::default()
            };
            let inputs = read_tensors(&case.folder.join("inputs.safetensors"));
            let found =
                model.forward(inputs, &config, options, &device).expect("the inputs are valid");
            let (differences, _) = compare(&found, &expected, TOLERANCE);
            failures.extend(differences.iter().map(|d| format!("{}: {d}", case.name)));
        }
        assert!(failures.is_empty(), "on {device_name}:\n{}", failures.join("\n"));
    }
}

/// Compares the maps of a model, computed in blocks of bounded memory.
fn assert_maps<P, D>(
    name: &str,
    model: &PerceiverModel<P, D>,
    inputs: &NamedTensors,
    request: Request<P::Input, (), D::Points>,
) where
    P: Preprocessor,
    D: Decoder,
{
    let folder = fixtures("heads").join(name);
    let mut expected = read_tensors(&folder.join("outputs.safetensors"));
    expected.retain(|name, _| name.starts_with("cross_attentions"));
    let mask = inputs.get("attention_mask").map(|mask| {
        let device = model.devices().remove(0);
        KeyMask::from_attention_mask(Tensor::from_data(mask.clone(), &device))
    });
    let maps = model.cross_attention_maps(request.mask(mask));
    let encoder = Tensor::cat(maps.encoder.collect(), 2).into_data();
    let decoder = maps.decoder.expect("the model has a decoder").into_data();
    let found = [("cross_attentions.0", encoder), ("cross_attentions.1", decoder)];
    let found = found.map(|(name, map)| (name.to_owned(), map)).into();
    let (differences, _) = compare(&found, &expected, TOLERANCE);
    assert!(differences.is_empty(), "{name}: {}", differences.join("\n"));
}

fn load<H: PerceiverHead>(name: &str, device: &Device) -> (H, PerceiverConfig, NamedTensors) {
    let folder = fixtures("heads").join(name);
    let Pretrained { model, config, .. } = H::from_pretrained(&folder, device).expect("it loads");
    (model, config, read_tensors(&folder.join("inputs.safetensors")))
}

#[test]
fn maps_in_blocks_match_the_reference() {
    let (_, device) = devices().remove(0);
    let data = |inputs: &NamedTensors, names: [&str; 2]| {
        let [first, second] = names.map(|name| inputs.get(name));
        first.or(second).expect("the input is there").clone()
    };

    let (head, _, inputs) = load::<PerceiverForMaskedLM>("masked_lm", &device);
    let ids = Tensor::from_data(data(&inputs, ["inputs", "input_ids"]), &device);
    assert_maps("masked_lm", head.perceiver(), &inputs, Request::new(ids));

    let name = "sequence_single_label";
    let (head, _, inputs) = load::<PerceiverForSequenceClassification>(name, &device);
    let ids = Tensor::from_data(data(&inputs, ["inputs", "input_ids"]), &device);
    assert_maps(name, head.perceiver(), &inputs, Request::new(ids));

    macro_rules! image {
        ($name:literal, $head:ident, $grid:expr) => {
            let (head, config, inputs) = load::<$head>($name, &device);
            let pixels = data(&inputs, ["inputs", "pixel_values"]);
            let pixels = Tensor::<4>::from_data(pixels, &device);
            let [_, _, height, width] = pixels.dims();
            let grid = $head::preprocessor_config(&config).token_grid([height, width]);
            assert_eq!(grid, Some($grid), $name);
            assert_maps($name, head.perceiver(), &inputs, Request::new(pixels.into()));
        };
    }
    image!("image_learned", PerceiverForImageClassificationLearned, [6, 6]);
    image!("image_fourier", PerceiverForImageClassificationFourier, [5, 8]);
    image!("image_conv", PerceiverForImageClassificationConvProcessing, [11, 9]);
}

#[test]
fn a_row_that_hides_everything_attends_evenly() {
    let folder = fixtures("heads").join(HIDDEN_ROW);
    let case: Value = serde_json::from_str(
        &fs::read_to_string(folder.join("case.json")).expect("every case has a note"),
    )
    .expect("case.json is JSON");
    let checkpoint =
        case["checkpoint"].as_str().map_or(folder.clone(), |name| folder.with_file_name(name));
    for (name, device) in devices() {
        let found = run_model(&checkpoint, &folder, &device);
        let expected = read_tensors(&folder.join("outputs.safetensors"));
        let (failures, _) = compare(&found, &expected, TOLERANCE);
        assert!(failures.is_empty(), "on {name}:\n{}", failures.join("\n"));
    }
}

fn run_model(checkpoint: &Path, folder: &Path, device: &Device) -> NamedTensors {
    let model = <PerceiverModel>::from_pretrained(checkpoint, device).expect("it loads").model;
    let mut inputs = read_tensors(&folder.join("inputs.safetensors"));
    let tokens = inputs.remove("inputs").expect("inputs");
    let mask = inputs.remove("attention_mask").expect("a mask");
    let tokens = Tensor::<3>::from_data(tokens, device);
    let mask = KeyMask::from_attention_mask(Tensor::from_data(mask, device));
    let output = model.forward(Request::new(tokens).mask(mask).hidden_states().attentions());
    let mut found = NamedTensors::new();
    found.insert("last_hidden_state".into(), output.last_hidden_state.into_data());
    for (i, state) in output.hidden_states.into_iter().flatten().enumerate() {
        found.insert(format!("hidden_states.{i}"), state.into_data());
    }
    for (i, map) in output.attentions.into_iter().flatten().enumerate() {
        found.insert(format!("attentions.{i}"), map.into_data());
    }
    for (i, map) in output.cross_attentions.into_iter().flatten().enumerate() {
        found.insert(format!("cross_attentions.{i}"), map.into_data());
    }
    found
}
