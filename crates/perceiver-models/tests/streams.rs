//! Decoding in parts gives what decoding at once gives.
#![cfg(feature = "flex")]

use burn::tensor::{Device, Distribution, Int, Tensor};
use perceiver_models::{
    MultimodalInput, OutputPoints, PerceiverConfig, PerceiverForMaskedLM,
    PerceiverForMultimodalAutoencoding, PerceiverForOpticalFlow, PerceiverHead, Request,
};

/// A small model whose decoder takes seven queries at a time.
const CONFIG: &str = r#"{
    "model_type": "perceiver", "num_latents": 5, "d_latents": 16, "num_self_attends_per_block": 1,
    "num_self_attention_heads": 2, "num_cross_attention_heads": 1, "initializer_range": 0.1,
    "d_model": 8, "vocab_size": 9, "max_position_embeddings": 6,
    "chunk_size_feed_forward": 7, "train_size": [5, 6], "image_size": 8, "num_frames": 2,
    "audio_samples_per_frame": 48, "samples_per_patch": 16, "output_shape": [1, 2, 8, 8],
    "output_num_channels": 9, "_label_trainable_num_channels": 10,
    "id2label": {"0": "a", "1": "b", "2": "c"}
}"#;

fn config() -> PerceiverConfig {
    PerceiverConfig::from_json(CONFIG).expect("a valid configuration")
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn points(points: &[i64]) -> Tensor<1, Int> {
    Tensor::from_data(points, &Device::flex())
}

/// Relative to the largest number: sums of a few hundred terms in another order.
const TOLERANCE: f64 = 1e-5;

fn assert_same<const D: usize>(found: Tensor<D>, expected: Tensor<D>) {
    assert_eq!(found.dims(), expected.dims());
    let largest: f64 = expected.clone().abs().max().into_scalar();
    let furthest: f64 = (found - expected).abs().max().into_scalar();
    assert!(furthest <= TOLERANCE * largest, "{furthest:.1e} apart, the largest is {largest:.1e}");
}

#[test]
fn points_of_each_text_are_rows_of_all_that_is_decoded() {
    let device = Device::flex();
    let model = PerceiverForMaskedLM::from_config(&config(), &device).expect("a model");
    let ids = Tensor::<2, Int>::from_data([[1, 2, 3, 4], [5, 6, 7, 8]], &device);
    let whole = model.forward(ids.clone()).logits;
    let each = [[3, 0, 0], [5, 1, 2]];
    let encoded = model.encode(ids);
    let found = model.decode(&encoded, Tensor::from_data(each, &device));
    let rows = [0, 1].map(|text| whole.clone().narrow(0, text, 1).select(1, points(&each[text])));
    assert_same(found, Tensor::cat(rows.into(), 0));
}

#[test]
fn flow_decoded_in_parts_is_that_of_the_whole_image() {
    let device = Device::flex();
    let model = PerceiverForOpticalFlow::from_config(&config(), &device).expect("a model");
    let frames: Tensor<5> = random([2, 2, 27, 5, 6]);
    let whole = model.forward(Request::new(frames.clone()).attentions());
    let whole = whole.logits.reshape([2, 30, 2]);
    let encoded = model.encode(frames);
    let all: Vec<_> = model.stream(&encoded).map(|block| block.answers).collect();
    assert!(all.len() > 4, "several blocks");
    assert_same(Tensor::cat(all, 1), whole.clone());

    let some = points(&[29, 0, 7, 7, 12, 13, 14, 3]);
    let mut stream = model.stream_at(&encoded, &some);
    let answers = stream.by_ref().map(|block| block.answers).collect();
    assert_same(Tensor::cat(answers, 1), whole.select(1, some));
    assert_eq!((stream.answered(), stream.queries()), (8, 8));
}

#[test]
fn a_clip_decoded_in_parts_is_the_whole_clip() {
    let device = Device::flex();
    let model = PerceiverForMultimodalAutoencoding::from_config(&config(), &device);
    let model = model.expect("a model");
    let input = MultimodalInput {
        audio: random([2, 96, 1]),
        image: random([2, 2, 3, 8, 8]),
        label: random([2, 3]),
        hidden_labels: None,
    };
    let encoded = model.encode(input);
    let whole = model.decode_with_attentions(&encoded, &OutputPoints::default()).logits;
    let found = model.decode(&encoded, &OutputPoints::default()).logits;
    assert_same(found.audio, whole.audio.clone());
    assert_same(found.image, whole.image.clone());
    assert_same(found.label, whole.label.clone());

    // No sound, and pixels of both frames.
    let pixels = points(&[127, 64, 63, 0, 1, 2, 3, 4]);
    let some = OutputPoints { audio: Some(points(&[])), image: Some(pixels.clone()) };
    let mut answers = [const { Vec::new() }; 3];
    for block in model.stream(&encoded, &some) {
        answers[block.segment].push(block.answers);
    }
    let [audio, image, label] = answers;
    assert!(audio.is_empty());
    assert_same(Tensor::cat(image, 1), whole.image.select(1, pixels));
    assert_same(Tensor::cat(label, 1).squeeze_dim(1), whole.label);
}
