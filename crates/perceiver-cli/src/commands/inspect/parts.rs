//! The part of the model that each parameter belongs to, and the sizes of a head.

use perceiver_models::{Head, PerceiverConfig};
use serde_json::Value;

/// The parts of a model in the order of computation.
pub(super) const PARTS: [&str; 5] =
    ["preprocessor", "embeddings", "encoder", "decoder", "postprocessor"];

/// First segments of the keys in each of [`PARTS`].
const SEGMENTS: [&[&str]; PARTS.len()] = [
    &["input_preprocessor"],
    &["embeddings"],
    &["encoder"],
    &["decoder", "embedding_decoder"],
    &["output_postprocessor"],
];

/// Names of tensors that are counted instead of trained.
const BUFFERS: [&str; 3] = ["running_mean", "running_var", "num_batches_tracked"];

/// The index in [`PARTS`] of a tensor's part; `None` for a buffer or an unknown key.
pub(super) fn part(key: &str) -> Option<usize> {
    if BUFFERS.iter().any(|buffer| key.ends_with(buffer)) {
        return None;
    }
    let key = key.strip_prefix("perceiver.").unwrap_or(key);
    let first = key.split('.').next().unwrap_or(key);
    SEGMENTS.iter().position(|segments| segments.contains(&first))
}

/// The sizes that matter for a head, as text.
pub(super) fn sizes(config: &PerceiverConfig, head: Head) -> Vec<[String; 2]> {
    let json = serde_json::from_str::<Value>(&config.to_json()).unwrap_or_default();
    let channels = |channels: Option<usize>| {
        channels.map_or_else(|| "default".to_owned(), |channels| channels.to_string())
    };
    let list =
        |numbers: &[usize]| numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
    let mut rows = vec![
        ("latents", format!("{} x {} channels", config.num_latents, config.d_latents)),
        (
            "self-attention",
            format!(
                "{} x {} layers, {} heads, MLP x {}",
                config.num_blocks,
                config.num_self_attends_per_block,
                config.num_self_attention_heads,
                config.self_attention_widening_factor
            ),
        ),
        (
            "cross-attention",
            format!(
                "{} heads, MLP x {}",
                config.num_cross_attention_heads, config.cross_attention_widening_factor
            ),
        ),
        (
            "channels",
            format!(
                "queries and keys {}, values {}",
                channels(config.qk_channels),
                channels(config.v_channels)
            ),
        ),
        ("activation", json["hidden_act"].as_str().unwrap_or_default().to_owned()),
    ];
    if matches!(head, Head::Model | Head::MaskedLm | Head::SequenceClassification) {
        rows.push(("input", format!("{} channels", config.d_model)));
    }
    if matches!(head, Head::MaskedLm | Head::SequenceClassification) {
        rows.push((
            "text",
            format!("{} positions, {} ids", config.max_position_embeddings, config.vocab_size),
        ));
    }
    if head == Head::ImageClassificationLearned {
        rows.push(("image", list(&config.image_size.height_width())));
    }
    if head == Head::OpticalFlow {
        rows.push(("image", list(&config.train_size)));
    }
    if head == Head::MultimodalAutoencoding {
        rows.push(("video", list(&config.output_shape)));
        rows.push((
            "audio",
            format!("{} x {} samples", config.num_frames, config.audio_samples_per_frame),
        ));
    }
    if !matches!(head, Head::Model | Head::MaskedLm | Head::OpticalFlow) {
        rows.push(("labels", config.num_labels().to_string()));
    }
    if let Some(quantisation) = &config.quantisation {
        let text = match quantisation.ignore.len() {
            0 => "linear layers in 8 bits".to_owned(),
            kept => format!("linear layers in 8 bits, {kept} in floating point"),
        };
        rows.push(("quantisation", text));
    }
    rows.into_iter().map(|(name, value)| [name.to_owned(), value]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_fall_into_parts() {
        for (key, expected) in [
            ("perceiver.input_preprocessor.embeddings.weight", Some("preprocessor")),
            ("perceiver.embeddings.latents", Some("embeddings")),
            ("embeddings.latents", Some("embeddings")),
            ("encoder.self_attends.0.mlp.dense1.weight", Some("encoder")),
            ("embedding_decoder.bias", Some("decoder")),
            ("perceiver.decoder.decoder.final_layer.weight", Some("decoder")),
            (
                "perceiver.output_postprocessor.modalities.audio.classifier.bias",
                Some("postprocessor"),
            ),
            ("perceiver.input_preprocessor.convnet_1x1.batchnorm.running_mean", None),
            ("unknown.weight", None),
        ] {
            assert_eq!(part(key).map(|part| PARTS[part]), expected, "{key}");
        }
    }
}
