//! Every head learns: a few steps on one small batch remove almost all of its loss.

#![allow(clippy::print_stdout, reason = "losses are shown with --nocapture")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Bool, Device, Distribution, Int, Tensor};
use perceiver_models::losses::{
    AutoencodingLoss, AutoencodingTargets, FlowLoss, IGNORED_LABEL, Labels,
};
use perceiver_models::{
    MultimodalInput, OutputPoints, PerceiverConfig, PerceiverForImageClassificationConvProcessing,
    PerceiverForImageClassificationFourier, PerceiverForImageClassificationLearned, PerceiverHead,
};
use perceiver_train::{
    AdamW, Autoencoding, ClipBatch, FlowBatch, FlowEstimation, ImageClassification,
    ImageClassifier, LabelledImages, LabelledTexts, MaskedLanguageModelling, MaskedTexts,
    Objective, SequenceClassification,
};
use serde_json::{Value, json};

const STEPS: usize = 40;
const LEARNING_RATE: f64 = 3e-3;

/// Runs tests one at a time: they share a random generator, and every run should be the same.
fn alone() -> (MutexGuard<'static, ()>, Device) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::flex();
    device.seed(7);
    (turn, device.autodiff())
}

/// A small head, with changes to its configuration.
fn head<H: PerceiverHead>(changes: &Value, device: &Device) -> H {
    let mut config = json!({
        "model_type": "perceiver", "num_latents": 4, "d_latents": 32,
        "num_self_attends_per_block": 1, "num_self_attention_heads": 2,
        "num_cross_attention_heads": 1, "attention_probs_dropout_prob": 0.0,
        "cross_attention_shape_for_attention": "q", "initializer_range": 0.15,
    });
    for (key, value) in changes.as_object().expect("an object") {
        config[key] = value.clone();
    }
    let config = PerceiverConfig::from_json(&config.to_string()).expect("a valid configuration");
    H::from_config(&config, device).expect("the head can be built")
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Uniform(-3.0, 3.0), device)
}

/// Fails unless the loss falls below `part` of the first loss.
fn assert_learns<O: Objective>(mut objective: O, batch: O::Batch, part: f64)
where
    O::Batch: Clone,
{
    let mut optimizer = ModuleOptimizer::from(AdamW::default());
    let mut losses = Vec::new();
    for step in 0..STEPS {
        let loss = objective.step(batch.clone()).loss;
        losses.push(loss.clone().into_scalar::<f64>());
        let gradients = GradientsParams::from_grads(loss.backward(), &objective);
        // Absolute errors come to rest only at a rate that does.
        let rate = LEARNING_RATE * (1.0 - step as f64 / STEPS as f64);
        objective = optimizer.step(rate, objective, gradients);
    }
    let (first, last) = (losses[0], losses[STEPS - 1]);
    println!("{first:.4} becomes {last:.4}, {:.4} of it", last / first);
    assert!(last < part * first, "{first} becomes {last}");
}

fn ids(device: &Device) -> Tensor<2, Int> {
    Tensor::from_data([[8, 3, 9, 10, 3], [9, 9, 3, 8, 3], [3, 8, 10, 3, 9]], device)
}

#[test]
fn masked_bytes_are_learned_by_heart() {
    let (_turn, device) = alone();
    let config = json!({
        "d_model": 16, "vocab_size": 12, "max_position_embeddings": 6, "initializer_range": 0.3,
    });
    let none = IGNORED_LABEL;
    let labels = [[none, 9, none, none, 11], [none, none, 8, none, 10], [11, none, none, 9, none]];
    let batch = MaskedTexts::new(ids(&device), None, &labels.map(Vec::from));
    let head = head(&config, &device);
    assert_learns(MaskedLanguageModelling::new(head), batch, 0.05);
}

#[test]
fn texts_are_learned_by_heart_by_problem_type() {
    let (_turn, device) = alone();
    let values = |rows: [[f64; 2]; 3]| Labels::Values(Tensor::from_data(rows, &device));
    for (problem, labels) in [
        ("single_label_classification", Labels::Classes(Tensor::from_data([1, 0, 1], &device))),
        ("multi_label_classification", values([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])),
        ("regression", values([[0.5, -2.0], [1.5, 0.0], [-1.0, 1.0]])),
    ] {
        let config = json!({
            "d_model": 16, "vocab_size": 12, "max_position_embeddings": 6,
            "num_labels": 2, "problem_type": problem,
        });
        let batch = LabelledTexts { ids: ids(&device), padding: None, labels };
        let head = head(&config, &device);
        assert_learns(SequenceClassification::new(head), batch, 0.05);
    }
}

fn assert_images<H: ImageClassifier>(side: usize) {
    let (_turn, device) = alone();
    let config = json!({"image_size": side, "num_labels": 3});
    let batch = LabelledImages {
        pixels: random([3, 3, side, side], &device),
        targets: Tensor::from_data([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]], &device),
    };
    let head = head::<H>(&config, &device);
    assert_learns(ImageClassification::new(head), batch, 0.05);
}

#[test]
fn images_with_learned_positions_are_learned_by_heart() {
    assert_images::<PerceiverForImageClassificationLearned>(4);
}

#[test]
fn images_with_fourier_positions_are_learned_by_heart() {
    assert_images::<PerceiverForImageClassificationFourier>(4);
}

#[test]
fn convolved_images_are_learned_by_heart() {
    assert_images::<PerceiverForImageClassificationConvProcessing>(16);
}

#[test]
fn flow_is_learned_by_heart() {
    let (_turn, device) = alone();
    let config = json!({"train_size": [2, 3]});
    let motions = Tensor::<2>::from_data([[6.0, -2.0], [-3.0, 4.0]], &device);
    let batch = FlowBatch {
        patches: random([2, 2, 27, 2, 3], &device),
        flow: motions.reshape([2, 1, 1, 2]).expand([2, 2, 3, 2]),
        known: Tensor::<3, Int>::ones([2, 2, 3], &device).equal_elem(1),
    };
    let head = head(&config, &device);
    assert_learns(FlowEstimation::new(head, FlowLoss::default()), batch, 0.1);
}

#[test]
fn clips_are_learned_by_heart() {
    let (_turn, device) = alone();
    let config = json!({
        "num_labels": 3, "num_frames": 2, "image_size": 8, "output_shape": [1, 2, 8, 8],
        "audio_samples_per_frame": 8, "samples_per_patch": 4, "output_num_channels": 16,
        "_label_trainable_num_channels": 8,
    });
    let batch = ClipBatch {
        input: MultimodalInput {
            audio: random([2, 16, 1], &device),
            image: random([2, 2, 3, 8, 8], &device),
            label: Tensor::from_data([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], &device),
            hidden_labels: Some(Tensor::<1, Bool>::from_data([true, false], &device)),
        },
        points: OutputPoints {
            audio: Some(Tensor::from_data([3, 0], &device)),
            image: Some(Tensor::from_data([127, 5, 64], &device)),
        },
        targets: AutoencodingTargets {
            audio: random([2, 8], &device) / 3.0,
            image: random([2, 3, 3], &device) / 3.0,
            label: Tensor::from_data([1, 2], &device),
        },
    };
    let loss = AutoencodingLoss { audio: 1.0, image: 1.0, label: 1.0 };
    assert_learns(Autoencoding::new(head(&config, &device), loss), batch, 0.1);
}
