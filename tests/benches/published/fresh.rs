//! Writes the files of tests/generate/full_size.py without Python, except the outputs.

use std::path::Path;

use anyhow::{Result, bail};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use perceiver_models::{AnyPerceiver, Head, NamedTensors, PerceiverConfig, write_tensors};
use perceiver_train::recipe::Recipe;
use serde_json::{Value, json};

/// Writes a checkpoint with the configuration of a published model and fresh weights, and inputs for it.
pub(crate) fn make(name: &str, folder: &Path) -> Result<()> {
    let (head, settings, inputs) = published(name)?;
    let mut config = PerceiverConfig::from_json(&settings.to_string())?;
    config.architectures = vec![head.to_string()];
    let model = AnyPerceiver::from_config(head, &config, &Device::flex())?;
    model.save_pretrained(&config, folder)?;
    Ok(write_tensors(folder.join("inputs.safetensors"), inputs)?)
}

fn published(name: &str) -> Result<(Head, Value, NamedTensors)> {
    Ok(match name {
        "language" => {
            let config = json!({ "qk_channels": 256, "v_channels": 1280 });
            (Head::MaskedLm, config, text())
        }
        "vision-learned" => (Head::ImageClassificationLearned, vision(512, 224), photo()),
        "vision-fourier" => (Head::ImageClassificationFourier, vision(261, 56), photo()),
        "vision-conv" => (Head::ImageClassificationConvProcessing, vision(322, 56), photo()),
        "optical-flow" => {
            let config = json!({
                "num_latents": 2048, "d_latents": 512, "d_model": 322,
                "num_self_attends_per_block": 24,
                "num_self_attention_heads": 16, "num_cross_attention_heads": 1,
            });
            let pair = random([1, 2, 27, 368, 496]);
            (Head::OpticalFlow, config, [("inputs".to_owned(), pair)].into())
        }
        "multimodal" => {
            let config = json!({
                "num_latents": 784, "d_latents": 512, "d_model": 704,
                "num_self_attends_per_block": 8,
                "num_self_attention_heads": 8, "num_cross_attention_heads": 1,
                "num_labels": 700,
            });
            (Head::MultimodalAutoencoding, config, video())
        }
        "small-language" => {
            let tokens: Vec<i64> = (0..256).map(|i| i * 37 % 262).collect();
            let ids = TensorData::new(tokens, [1, 256]);
            (Head::MaskedLm, recipe("language")?, [("inputs".to_owned(), ids)].into())
        }
        "small-fourier" => {
            let mut config = recipe("fashion-mnist")?;
            config["num_labels"] = 10.into();
            let photo = random([1, 3, 28, 28]);
            (Head::ImageClassificationFourier, config, [("inputs".to_owned(), photo)].into())
        }
        _ => bail!("no published head is called {name}"),
    })
}

/// The configuration that a recipe of the repository trains.
fn recipe(name: &str) -> Result<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../recipes/{name}.toml"));
    Ok(serde_json::to_value(Recipe::from_file(file)?.settings.model)?)
}

fn vision(channels: usize, image_size: usize) -> Value {
    json!({
        "num_latents": 512, "d_latents": 1024, "d_model": channels,
        "num_blocks": 8, "num_self_attends_per_block": 6,
        "num_self_attention_heads": 8, "num_cross_attention_heads": 1,
        "num_labels": 1000, "image_size": image_size,
    })
}

fn text() -> NamedTensors {
    let kept = |position: i64| position < 1500;
    let ids = (0..2048).map(|i| if kept(i) { i * 37 % 262 } else { 0 });
    let mask = (0..2048).map(|i| i64::from(kept(i)));
    [
        ("inputs".to_owned(), TensorData::new(ids.collect(), [1, 2048])),
        ("attention_mask".to_owned(), TensorData::new(mask.collect(), [1, 2048])),
    ]
    .into()
}

fn photo() -> NamedTensors {
    [("inputs".to_owned(), random([1, 3, 224, 224]))].into()
}

/// A clip, and the points of the first of its 128 chunks.
fn video() -> NamedTensors {
    let points = |count: i64| TensorData::from((0..count).collect::<Vec<_>>().as_slice());
    [
        ("inputs.image".to_owned(), random([1, 16, 3, 224, 224])),
        ("inputs.audio".to_owned(), random([1, 30720, 1])),
        ("inputs.label".to_owned(), TensorData::zeros::<f32, _>([1, 700])),
        ("subsampled_output_points.image".to_owned(), points(16 * 224 * 224 / 128)),
        ("subsampled_output_points.audio".to_owned(), points(30720 / 16 / 128)),
    ]
    .into()
}

fn random<const D: usize>(shape: [usize; D]) -> TensorData {
    Tensor::<D>::random(shape, Distribution::Uniform(-1.0, 1.0), &Device::flex()).into_data()
}
