//! What a configuration must satisfy before a model is built from it.

use super::{CrossAttentionShape, Head, ImageSize, PerceiverConfig, ProblemType};
use crate::Error;

/// Most weights, positions or samples a configuration may ask for: 4 TiB of f32.
const MAX_PARAMETERS: u128 = 1 << 40;
/// Most self-attention layers, and most repetitions of them.
const MAX_LAYERS: usize = 10_000;

/// Dropping every probability leaves nothing to attend with.
const MAX_DROPOUT: f64 = 0.999;

/// What the masked language model's decoder is built with, whatever the configuration says.
const MASKED_LM_HEADS: usize = 8;
const MASKED_LM_QK_CHANNELS: usize = 256;
/// Least padding channels around the modalities of inputs and of queries.
const INPUT_PADDING: usize = 4;
const QUERY_PADDING: usize = 2;
/// Fourier channels of 64 bands in two dimensions, 192 in one, 32 in three.
const IMAGE_POSITIONS: usize = 2 * (2 * 64 + 1);
const AUDIO_POSITIONS: usize = 2 * 192 + 1;
const VIDEO_POSITIONS: usize = 3 * (2 * 32 + 1);

pub(super) fn without_head(config: &PerceiverConfig) -> Result<(), Error> {
    encoder(config, None)
}

pub(super) fn with_head(config: &PerceiverConfig, head: Head) -> Result<(), Error> {
    fields_of(config, head)?;
    let inputs = input_channels(config, head);
    encoder(config, Some(inputs))?;
    let parameters =
        encoder_parameters(config, inputs).saturating_add(head_parameters(config, head));
    if parameters > MAX_PARAMETERS {
        let message = format!("of {head} asks for more than {MAX_PARAMETERS} weights");
        return Err(Error::config("config", message));
    }
    Ok(())
}

fn encoder(config: &PerceiverConfig, inputs: Option<usize>) -> Result<(), Error> {
    positive("num_latents", config.num_latents)?;
    positive("d_latents", config.d_latents)?;
    positive("num_self_attention_heads", config.num_self_attention_heads)?;
    positive("num_cross_attention_heads", config.num_cross_attention_heads)?;
    positive("self_attention_widening_factor", config.self_attention_widening_factor)?;
    positive("cross_attention_widening_factor", config.cross_attention_widening_factor)?;
    config.qk_channels.map_or(Ok(()), |channels| positive("qk_channels", channels))?;
    config.v_channels.map_or(Ok(()), |channels| positive("v_channels", channels))?;
    at_most("num_self_attends_per_block", config.num_self_attends_per_block, MAX_LAYERS)?;
    at_most("num_blocks", config.num_blocks, MAX_LAYERS)?;
    within("attention_probs_dropout_prob", config.attention_probs_dropout_prob, MAX_DROPOUT)?;
    within("initializer_range", config.initializer_range, f64::MAX)?;
    if config.problem_type == Some(ProblemType::SingleLabelClassification)
        && config.num_labels() == 1
    {
        let message = "is single_label_classification with one label, expected regression or \
                       at least two labels";
        return Err(Error::config("problem_type", message));
    }

    let self_heads = ("num_self_attention_heads", config.num_self_attention_heads);
    let cross_heads = ("num_cross_attention_heads", config.num_cross_attention_heads);
    divides(self_heads, config.d_latents, "`d_latents`")?;
    divides(cross_heads, config.d_latents, "`d_latents`")?;
    if let Some(inputs) = inputs {
        let (qk, v) = cross_attention(config, config.d_latents, inputs);
        divides(cross_heads, qk, "query and key channels of the cross-attention")?;
        divides(cross_heads, v, "value channels of the cross-attention")?;
    }
    if config.num_self_attends_per_block > 0 {
        let (qk, v) = self_attention(config);
        divides(self_heads, qk, "query and key channels of the self-attention")?;
        divides(self_heads, v, "value channels of the self-attention")?;
        if v != config.d_latents {
            let field = if config.v_channels.is_some() { "v_channels" } else { "qk_channels" };
            let message = format!(
                "gives {v} value channels, expected `d_latents` = {}: self-attention adds its \
                 output to the latents",
                config.d_latents
            );
            return Err(Error::config(field, message));
        }
    }
    Ok(())
}

/// The fields that only some heads read.
fn fields_of(config: &PerceiverConfig, head: Head) -> Result<(), Error> {
    match head {
        Head::Model => positive("d_model", config.d_model),
        Head::MaskedLm => {
            text(config)?;
            if !config.d_model.is_multiple_of(MASKED_LM_HEADS) {
                let message = format!(
                    "is {}, expected a multiple of the decoder's {MASKED_LM_HEADS} heads",
                    config.d_model
                );
                return Err(Error::config("d_model", message));
            }
            Ok(())
        }
        Head::SequenceClassification => {
            text(config)?;
            labels(config)
        }
        Head::ImageClassificationLearned => {
            square(config, head)?;
            labels(config)
        }
        Head::ImageClassificationFourier | Head::ImageClassificationConvProcessing => {
            labels(config)
        }
        Head::OpticalFlow => extents("train_size", &config.train_size, 2),
        Head::MultimodalAutoencoding => {
            square(config, head)?;
            labels(config)?;
            positive("samples_per_patch", config.samples_per_patch)?;
            positive("output_num_channels", config.output_num_channels)?;
            positive("_label_trainable_num_channels", config.label_trainable_num_channels)?;
            extents("output_shape", &config.output_shape, 4)?;
            let audio = [config.num_frames, config.audio_samples_per_frame];
            positive("num_frames", config.num_frames)?;
            extents("audio_samples_per_frame", &audio, 2)?;
            at_most("samples_per_patch", config.samples_per_patch, audio[0] * audio[1])
        }
    }
}

fn text(config: &PerceiverConfig) -> Result<(), Error> {
    positive("d_model", config.d_model)?;
    positive("vocab_size", config.vocab_size)?;
    positive("max_position_embeddings", config.max_position_embeddings)
}

fn labels(config: &PerceiverConfig) -> Result<(), Error> {
    positive("num_labels", config.num_labels())
}

fn square(config: &PerceiverConfig, head: Head) -> Result<(), Error> {
    match config.image_size {
        ImageSize::Square(side) => positive("image_size", side),
        ImageSize::Rectangle(height, width) => {
            let message = format!("is [{height}, {width}], expected one number for {head}");
            Err(Error::config("image_size", message))
        }
    }
}

/// Channels of the tokens the encoder attends to.
fn input_channels(config: &PerceiverConfig, head: Head) -> usize {
    match head {
        Head::Model | Head::MaskedLm | Head::SequenceClassification => config.d_model,
        Head::ImageClassificationLearned => 256 + 256,
        Head::ImageClassificationFourier => 3 + IMAGE_POSITIONS,
        Head::ImageClassificationConvProcessing | Head::OpticalFlow => 64 + IMAGE_POSITIONS,
        Head::MultimodalAutoencoding => (config.samples_per_patch.saturating_add(AUDIO_POSITIONS))
            .max(3 * 4 * 4 + VIDEO_POSITIONS)
            .max(config.num_labels())
            .saturating_add(INPUT_PADDING),
    }
}

/// Query-and-key channels and value channels of a cross-attention of the encoder.
fn cross_attention(config: &PerceiverConfig, queries: usize, inputs: usize) -> (usize, usize) {
    let qk = config.qk_channels.unwrap_or(default_qk(config, queries, inputs));
    (qk, config.v_channels.unwrap_or(qk))
}

fn default_qk(config: &PerceiverConfig, queries: usize, inputs: usize) -> usize {
    match config.cross_attention_shape_for_attention {
        CrossAttentionShape::KeysValues => inputs,
        CrossAttentionShape::Queries => queries,
    }
}

fn self_attention(config: &PerceiverConfig) -> (usize, usize) {
    let qk = config.qk_channels.unwrap_or(config.d_latents);
    (qk, config.v_channels.unwrap_or(qk))
}

/// The weights of an attention layer with its MLP; vectors, a fraction of them, are left out.
fn layer(queries: usize, inputs: usize, (qk, v): (usize, usize), widening: usize) -> u128 {
    product(&[queries, qk])
        .saturating_add(product(&[inputs, qk]))
        .saturating_add(product(&[inputs, v]))
        .saturating_add(product(&[v, queries]))
        .saturating_add(product(&[2, widening, queries, queries]))
}

fn encoder_parameters(config: &PerceiverConfig, inputs: usize) -> u128 {
    let latents = config.d_latents;
    let cross = cross_attention(config, latents, inputs);
    let self_attend =
        layer(latents, latents, self_attention(config), config.self_attention_widening_factor);
    product(&[config.num_latents, latents])
        .saturating_add(layer(latents, inputs, cross, config.cross_attention_widening_factor))
        .saturating_add(self_attend.saturating_mul(config.num_self_attends_per_block as u128))
}

/// The weights before and after the encoder.
fn head_parameters(config: &PerceiverConfig, head: Head) -> u128 {
    let latents = config.d_latents;
    let decoder = |queries: usize| {
        let qk = default_qk(config, queries, latents);
        layer(queries, latents, (qk, qk), 1)
    };
    let text = product(&[config.vocab_size, config.d_model])
        .saturating_add(product(&[config.max_position_embeddings, config.d_model]));
    let classifier = decoder(latents).saturating_add(product(&[latents, config.num_labels()]));
    match head {
        Head::Model => 0,
        Head::MaskedLm => {
            let channels = config.d_model;
            text.saturating_add(product(&[config.max_position_embeddings, channels]))
                .saturating_add(layer(channels, latents, (MASKED_LM_QK_CHANNELS, channels), 1))
        }
        Head::SequenceClassification => text.saturating_add(classifier),
        Head::ImageClassificationLearned => {
            let [height, width] = config.image_size.height_width();
            product(&[height, width, 256]).saturating_add(classifier)
        }
        Head::ImageClassificationFourier | Head::ImageClassificationConvProcessing => classifier,
        Head::OpticalFlow => decoder(input_channels(config, head)),
        Head::MultimodalAutoencoding => {
            let queries = AUDIO_POSITIONS
                .max(config.label_trainable_num_channels)
                .saturating_add(QUERY_PADDING);
            let outputs = config.output_num_channels;
            decoder(queries)
                .saturating_add(product(&[queries, outputs]))
                .saturating_add(product(&[outputs, config.num_labels()]))
                .saturating_add(product(&[outputs, config.samples_per_patch]))
        }
    }
}

fn product(factors: &[usize]) -> u128 {
    factors.iter().fold(1, |product: u128, &factor| product.saturating_mul(factor as u128))
}

fn positive(field: &str, value: usize) -> Result<(), Error> {
    if value == 0 { Err(Error::config(field, "is 0, expected at least 1")) } else { Ok(()) }
}

fn at_most(field: &str, value: usize, limit: usize) -> Result<(), Error> {
    if value > limit {
        return Err(Error::config(field, format!("is {value}, expected at most {limit}")));
    }
    Ok(())
}

fn within(field: &str, value: f64, limit: f64) -> Result<(), Error> {
    if (0.0..=limit).contains(&value) {
        return Ok(());
    }
    let range = if limit == f64::MAX { "0 or more".into() } else { format!("0 to {limit}") };
    Err(Error::config(field, format!("is {value}, expected {range}")))
}

fn divides(heads: (&str, usize), channels: usize, what: &str) -> Result<(), Error> {
    let (field, heads) = heads;
    if channels.is_multiple_of(heads) {
        return Ok(());
    }
    let message = format!("is {heads}, expected a divisor of the {channels} {what}");
    Err(Error::config(field, message))
}

/// Checks the rank of an extent, and that it has a countable number of elements.
fn extents(field: &str, extents: &[usize], rank: usize) -> Result<(), Error> {
    if extents.len() != rank {
        let message = format!("has {} numbers, expected {rank}", extents.len());
        return Err(Error::config(field, message));
    }
    extents.iter().try_for_each(|&extent| positive(field, extent))?;
    if product(extents) > MAX_PARAMETERS {
        let message = format!("has more than {MAX_PARAMETERS} elements");
        return Err(Error::config(field, message));
    }
    Ok(())
}
