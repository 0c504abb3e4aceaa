//! Losses, and their gradients by every parameter of every head, match transformers and PyTorch
//! (`generate/training.py`), without dropout.
//!
//! A gradient is compared relative to the largest number of its tensor.

#![allow(clippy::print_stdout, reason = "differences are shown with --nocapture")]

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use perceiver_models::losses::{
    AutoencodingLoss, AutoencodingTargets, FlowDistance, FlowLoss, Labels,
};
use perceiver_models::{
    Checkpoint, KeyMap, KeyMask, LoadOptions, MultimodalInput, NamedTensors, OutputPoints,
    PerceiverConfig, PerceiverForImageClassificationConvProcessing,
    PerceiverForImageClassificationFourier, PerceiverForImageClassificationLearned, PerceiverHead,
    load_module,
};
use perceiver_tests::{Gradients, devices, difference, fixtures, read_tensors};
use perceiver_train::{
    Autoencoding, ClipBatch, FlowBatch, FlowEstimation, ImageClassification, ImageClassifier,
    LabelledImages, LabelledTexts, MaskedLanguageModelling, MaskedTexts, Objective,
    SequenceClassification,
};

/// Single precision against double; a stored gradient is itself off by 1.6e-5 at most.
const TOLERANCE: f64 = 1e-4;
/// A bias of keys affects no probability, so its gradient is rounding error, which is compared with the
/// largest gradient of the model.
const WITHOUT_INFLUENCE: &str = "attention.self.key.bias";

/// The files that transformers wrote for one head: inputs, weights, and the tensors of training.
struct Case {
    name: &'static str,
    device: Device,
    inputs: NamedTensors,
    training: NamedTensors,
}

impl Case {
    fn open(name: &'static str, device: &Device) -> Self {
        Self {
            name,
            device: device.clone().autodiff(),
            inputs: read_tensors(&fixtures("heads").join(name).join("inputs.safetensors")),
            training: read_tensors(&fixtures("training").join(format!("{name}.safetensors"))),
        }
    }

    fn config(&self) -> PerceiverConfig {
        let config = PerceiverConfig::from_pretrained(fixtures("heads").join(self.name));
        let config = config.expect("the configuration is valid");
        PerceiverConfig { attention_probs_dropout_prob: 0.0, ..config }
    }

    fn head<H: PerceiverHead>(&self) -> H {
        let fresh = H::from_config(&self.config(), &self.device).expect("the head can be built");
        let weights = Checkpoint::open(fixtures("heads").join(self.name)).expect("it opens");
        let options = LoadOptions::default();
        load_module(fresh, &weights, &KeyMap::PERCEIVER, &options).expect("it loads").0
    }

    /// An input of the head, or a tensor of training.
    fn data(&self, name: &str) -> TensorData {
        let found = self.inputs.get(name).or_else(|| self.training.get(name));
        found.unwrap_or_else(|| panic!("{} has no {name}", self.name)).clone()
    }

    fn floats<const D: usize>(&self, name: &str) -> Tensor<D> {
        Tensor::from_data(self.data(name), &self.device)
    }

    fn integers<const D: usize>(&self, name: &str) -> Tensor<D, Int> {
        Tensor::from_data(self.data(name), &self.device)
    }

    fn bools<const D: usize>(&self, name: &str) -> Tensor<D, Bool> {
        self.integers(name).equal_elem(1)
    }

    fn padding(&self) -> Option<KeyMask> {
        Some(KeyMask::from_attention_mask(self.integers("attention_mask")))
    }

    /// Fails unless the loss, every gradient and the running statistics match the reference.
    fn assert<O: Objective<Head: PerceiverHead>>(&self, objective: &O, batch: O::Batch) {
        let loss = objective.step(batch).loss;
        let mut gradients = Gradients::of(loss.clone(), objective);
        let mut failures = Vec::new();
        let (found, expected) = (loss.into_data(), one_number(&self.training["loss"]));
        failures.extend(failure("the loss", &found, &expected));

        let learned = objective.valid();
        let mut statistics = self.saved(learned.head());
        let found = self.saved(learned.map(&mut gradients).head());
        statistics.retain(|key, _| key.contains("running_"));
        let worst = self.compare(&found, &statistics, &mut failures);
        println!("{} {worst:.1e}", self.name);
        assert!(failures.is_empty(), "{}:\n{}", self.name, failures.join("\n"));
    }

    fn compare(
        &self,
        found: &NamedTensors,
        statistics: &NamedTensors,
        failures: &mut Vec<String>,
    ) -> f64 {
        let expected = self.part("gradients.");
        let largest = |key: &str| number(&self.training[&format!("largest.{key}")]);
        let of_model = expected.iter().map(|(key, _)| largest(key)).fold(0.0, f64::max);
        let mut worst: f64 = 0.0;
        for (key, levels) in &expected {
            let scale = largest(key) / f64::from(i16::MAX);
            let of = if key.ends_with(WITHOUT_INFLUENCE) { of_model } else { largest(key) };
            let Some(found) = found.get(*key) else {
                failures.push(format!("{key} is missing"));
                continue;
            };
            let furthest = furthest(found, levels, scale) / of.max(f64::MIN_POSITIVE);
            worst = worst.max(furthest);
            if furthest > TOLERANCE {
                failures.push(format!("{key} differs by {furthest:.1e}"));
            }
        }
        let others = found.keys().filter(|key| {
            !key.contains("running_")
                && !key.ends_with("num_batches_tracked")
                && !self.training.contains_key(&format!("gradients.{key}"))
        });
        failures.extend(others.map(|key| format!("{key} is not the reference's")));
        let expected = self.part("statistics.");
        assert_eq!(expected.len(), statistics.len(), "statistics are missing");
        failures.extend(
            expected.iter().filter_map(|(key, data)| failure(key, &statistics[*key], data)),
        );
        worst
    }

    /// Tensors whose name starts with a prefix, without the prefix.
    fn part(&self, prefix: &str) -> Vec<(&str, &TensorData)> {
        let tensors = self.training.iter();
        tensors.filter_map(|(key, data)| Some((key.strip_prefix(prefix)?, data))).collect()
    }

    /// The tensors of a head by their keys in a checkpoint.
    fn saved<H: PerceiverHead>(&self, head: &H) -> NamedTensors {
        let folder = tempfile::tempdir().expect("a folder");
        head.save_pretrained(&self.config(), folder.path()).expect("it can be saved");
        read_tensors(&folder.path().join("model.safetensors"))
    }
}

fn number(data: &TensorData) -> f64 {
    data.iter::<f64>().next().expect("a number")
}

/// PyTorch's losses have no axis.
fn one_number(data: &TensorData) -> TensorData {
    TensorData::from([number(data) as f32])
}

fn failure(name: &str, found: &TensorData, expected: &TensorData) -> Option<String> {
    match difference(found, expected) {
        Ok(off) if off <= TOLERANCE => None,
        Ok(off) => Some(format!("{name} differs by {off:.1e}")),
        Err(message) => Some(format!("{name} {message}")),
    }
}

fn furthest(found: &TensorData, levels: &TensorData, scale: f64) -> f64 {
    assert_eq!(found.shape(), levels.shape(), "a gradient has its tensor's shape");
    let pairs = found.iter::<f64>().zip(levels.iter::<f64>());
    let differences = pairs.map(|(found, levels)| (found - levels * scale).abs());
    differences.fold(0.0, |furthest, x| if x.is_nan() { f64::INFINITY } else { furthest.max(x) })
}

/// CPU devices. The same operations reach a GPU through burn, and `gradients.rs` compares their own
/// gradients there.
fn cpus() -> impl Iterator<Item = Device> {
    devices().into_iter().filter(|(name, _)| *name != "wgpu").map(|(_, device)| device)
}

#[test]
fn masked_language_modelling_learns_as_in_the_reference() {
    for device in cpus() {
        let case = Case::open("masked_lm", &device);
        let labels = case.integers("labels");
        let [_, length] = labels.dims();
        let labels: Vec<i64> = labels.into_data().iter().collect();
        let labels: Vec<_> = labels.chunks(length).map(<[i64]>::to_vec).collect();
        let batch = MaskedTexts::new(case.integers("input_ids"), case.padding(), &labels);
        case.assert(&MaskedLanguageModelling::new(case.head()), batch);
    }
}

#[test]
fn sequence_classification_learns_as_in_the_reference_by_problem_type() {
    for device in cpus() {
        for name in ["sequence_regression", "sequence_single_label", "sequence_multi_label"] {
            let case = Case::open(name, &device);
            let labels = match name {
                "sequence_single_label" => Labels::Classes(case.integers("labels")),
                "sequence_regression" => Labels::Values(case.floats::<1>("labels").reshape([2, 1])),
                _ => Labels::Values(case.floats("labels")),
            };
            let batch =
                LabelledTexts { ids: case.integers("inputs"), padding: case.padding(), labels };
            case.assert(&SequenceClassification::new(case.head()), batch);
        }
    }
}

fn assert_images<H: ImageClassifier>(name: &'static str, pixels: &str) {
    for device in cpus() {
        let case = Case::open(name, &device);
        let batch = LabelledImages { pixels: case.floats(pixels), targets: case.floats("targets") };
        case.assert(&ImageClassification::new(case.head::<H>()), batch);
    }
}

#[test]
fn images_with_learned_positions_are_learned_as_in_the_reference() {
    assert_images::<PerceiverForImageClassificationLearned>("image_learned", "inputs");
}

#[test]
fn images_with_fourier_positions_are_learned_as_in_the_reference() {
    assert_images::<PerceiverForImageClassificationFourier>("image_fourier", "inputs");
}

#[test]
fn convolved_images_are_learned_as_in_the_reference() {
    assert_images::<PerceiverForImageClassificationConvProcessing>("image_conv", "pixel_values");
}

#[test]
fn flow_is_learned_as_in_pytorch() {
    for device in cpus() {
        let case = Case::open("optical_flow", &device);
        let batch = FlowBatch {
            patches: case.floats("inputs"),
            flow: case.floats("flow"),
            known: case.bools("known"),
        };
        case.assert(&FlowEstimation::new(case.head(), FlowLoss::default()), batch);
    }
}

#[test]
fn clips_are_learned_as_in_pytorch() {
    for device in cpus() {
        let case = Case::open("multimodal", &device);
        let batch = ClipBatch {
            input: MultimodalInput {
                audio: case.floats("inputs.audio"),
                image: case.floats("inputs.image"),
                label: case.floats("inputs.label"),
                hidden_labels: Some(case.bools("hidden_labels")),
            },
            points: OutputPoints {
                audio: Some(case.integers("subsampled_output_points.audio")),
                image: Some(case.integers("subsampled_output_points.image")),
            },
            targets: AutoencodingTargets {
                audio: case.floats("targets.audio"),
                image: case.floats("targets.image"),
                label: case.integers("targets.label"),
            },
        };
        case.assert(&Autoencoding::new(case.head(), AutoencodingLoss::default()), batch);
    }
}

#[test]
fn flow_losses_look_at_known_pixels_alone() {
    let file = read_tensors(&fixtures("training").join("flow_losses.safetensors"));
    for device in cpus().map(Device::autodiff) {
        let floats = |name: &str| Tensor::<4>::from_data(file[name].clone(), &device);
        let known = Tensor::<3, Int>::from_data(file["known"].clone(), &device).equal_elem(1);
        for (name, distance) in [
            ("end_point", FlowDistance::EndPoint),
            ("absolute", FlowDistance::Absolute),
            ("robust", FlowDistance::Robust),
        ] {
            for smaller_sizes in [0, 2] {
                let found = floats("found").require_grad();
                let loss = FlowLoss { distance, smaller_sizes };
                let loss = loss.forward(found.clone(), floats("flow"), known.clone());
                let gradient = found.grad(&loss.clone().backward()).expect("it is tracked");
                let name = format!("{name}.{smaller_sizes}");
                for (found, expected) in [
                    (loss.into_data(), one_number(&file[&format!("loss.{name}")])),
                    (gradient.into_data(), file[&format!("gradient.{name}")].clone()),
                ] {
                    let off = difference(&found, &expected).expect("they can be compared");
                    assert!(off <= 1e-5, "{name} differs by {off:.1e}");
                }
            }
        }
    }
}
