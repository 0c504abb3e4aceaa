//! Checks a configuration before a model is built from it.

use perceiver_core::{AttentionConfig, LayerConfig};
use perceiver_io::{PositionEncodingConfig, Preprocessor as _, TextPreprocessorConfig};

use super::{Head, ImageSize, PerceiverConfig, ProblemType};
use crate::any_data::AnyDataConfig;
use crate::{
    Error, PerceiverForImageClassificationConvProcessing, PerceiverForImageClassificationFourier,
    PerceiverForImageClassificationLearned, PerceiverForMaskedLM,
    PerceiverForMultimodalAutoencoding, PerceiverForOpticalFlow,
    PerceiverForSequenceClassification, PerceiverModel,
};

/// Most weights, positions or samples of a model: 4 TiB in single precision.
const MAX_WEIGHTS: u128 = 1 << 40;
/// Most self-attention layers, and most repetitions of the block.
const MAX_LAYERS: usize = 10_000;

/// Dropping every probability would leave nothing to attend to.
const MAX_DROPOUT: f64 = 0.999;

pub(super) fn with_head(config: &PerceiverConfig, head: Head) -> Result<(), Error> {
    fields_of(config, head)?;
    let inputs = token_channels(config, head);
    encoder(config, Some(inputs))?;
    let weights = encoder_weights(config, inputs).saturating_add(head_weights(config, head));
    countable(weights, head.name())
}

pub(super) fn with_tokens(config: &PerceiverConfig, channels: usize) -> Result<(), Error> {
    encoder(config, Some(channels))?;
    countable(encoder_weights(config, channels), "Perceiver")
}

fn countable(weights: u128, what: &str) -> Result<(), Error> {
    if weights > MAX_WEIGHTS {
        let message = format!("describes a {what} of more than {MAX_WEIGHTS} weights");
        return Err(Error::config("config", message));
    }
    Ok(())
}

/// Checks the encoder over tokens of `inputs` channels, or, without them, what does not depend on
/// them.
pub(super) fn encoder(config: &PerceiverConfig, inputs: Option<usize>) -> Result<(), Error> {
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
    let encoder = config.encoder(inputs.unwrap_or(config.d_latents));
    if inputs.is_some() {
        let AttentionConfig { qk_channels, v_channels, .. } = encoder.cross_attention.attention;
        divides(cross_heads, qk_channels, "query and key channels of the cross-attention")?;
        divides(cross_heads, v_channels, "value channels of the cross-attention")?;
    }
    if config.num_self_attends_per_block > 0 {
        let AttentionConfig { qk_channels, v_channels: v, .. } = encoder.self_attention.attention;
        divides(self_heads, qk_channels, "query and key channels of the self-attention")?;
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

/// Checks the fields that only some heads read.
fn fields_of(config: &PerceiverConfig, head: Head) -> Result<(), Error> {
    match head {
        Head::Model => positive("d_model", config.d_model),
        Head::MaskedLm => {
            text(config)?;
            let heads = PerceiverForMaskedLM::decoder_config(config).layer.attention.heads;
            if !config.d_model.is_multiple_of(heads) {
                let message = format!(
                    "is {}, expected a multiple of the decoder's {heads} heads",
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
        Head::AnyData => AnyDataConfig::from_config(config).map(|_| ()),
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

/// Channels of the tokens that the encoder reads.
fn token_channels(config: &PerceiverConfig, head: Head) -> usize {
    match head {
        Head::Model => PerceiverModel::preprocessor_config(config).channels(),
        Head::MaskedLm => PerceiverForMaskedLM::preprocessor_config(config).channels(),
        Head::SequenceClassification => {
            PerceiverForSequenceClassification::preprocessor_config(config).channels()
        }
        Head::ImageClassificationLearned => {
            PerceiverForImageClassificationLearned::preprocessor_config(config).channels()
        }
        Head::ImageClassificationFourier => {
            PerceiverForImageClassificationFourier::preprocessor_config(config).channels()
        }
        Head::ImageClassificationConvProcessing => {
            PerceiverForImageClassificationConvProcessing::preprocessor_config(config).channels()
        }
        Head::OpticalFlow => PerceiverForOpticalFlow::preprocessor_config(config).channels(),
        Head::MultimodalAutoencoding => {
            PerceiverForMultimodalAutoencoding::preprocessor_config(config).channels()
        }
        // The fields were read before.
        Head::AnyData => AnyDataConfig::read(config).map_or(0, |any_data| any_data.channels()),
    }
}

fn encoder_weights(config: &PerceiverConfig, inputs: usize) -> u128 {
    let encoder = config.encoder(inputs);
    let self_attends = layer(&encoder.self_attention);
    product(&[config.num_latents, config.d_latents])
        .saturating_add(layer(&encoder.cross_attention))
        .saturating_add(self_attends.saturating_mul(encoder.layers_per_block as u128))
}

/// Weights before and after the encoder.
fn head_weights(config: &PerceiverConfig, head: Head) -> u128 {
    let text = |text: TextPreprocessorConfig| {
        product(&[text.vocabulary, text.channels])
            .saturating_add(product(&[text.max_positions, text.channels]))
    };
    let classifier = || {
        let decoder = config.classification_decoder();
        layer(&decoder.layer).saturating_add(product(&[decoder.channels(), decoder.labels]))
    };
    match head {
        Head::Model => 0,
        Head::MaskedLm => {
            let decoder = PerceiverForMaskedLM::decoder_config(config);
            text(PerceiverForMaskedLM::preprocessor_config(config))
                .saturating_add(product(&[config.max_position_embeddings, decoder.channels()]))
                .saturating_add(layer(&decoder.layer))
        }
        Head::SequenceClassification => {
            text(PerceiverForSequenceClassification::preprocessor_config(config))
                .saturating_add(classifier())
        }
        Head::ImageClassificationLearned => {
            let [height, width] = config.image_size.height_width();
            let image = PerceiverForImageClassificationLearned::preprocessor_config(config);
            product(&[height, width, image.positions.channels()]).saturating_add(classifier())
        }
        Head::ImageClassificationFourier | Head::ImageClassificationConvProcessing => classifier(),
        Head::OpticalFlow => layer(&PerceiverForOpticalFlow::decoder_config(config).layer),
        Head::MultimodalAutoencoding => {
            let decoder = PerceiverForMultimodalAutoencoding::decoder_config(config);
            let outputs = decoder.output_channels;
            layer(&decoder.layer)
                .saturating_add(product(&[decoder.channels(), outputs]))
                .saturating_add(product(&[outputs, config.num_labels()]))
                .saturating_add(product(&[outputs, config.samples_per_patch]))
        }
        Head::AnyData => {
            AnyDataConfig::read(config).map_or(0, |any_data| any_data_weights(config, &any_data))
        }
    }
}

/// Weights around the encoder, and those of a second set of the encoder's layers.
fn any_data_weights(config: &PerceiverConfig, any_data: &AnyDataConfig) -> u128 {
    let channels = any_data.channels();
    let tables = any_data.modalities.iter().map(|modality| {
        let content = product(&[modality.entries(), modality.content_channels()]);
        match modality.positions().map(|positions| positions.encoding) {
            Some(PositionEncodingConfig::Trainable { positions, channels, .. }) => {
                content.saturating_add(product(&[positions, channels]))
            }
            _ => content,
        }
    });
    let decoder = config.decoder_layer(channels.max(config.d_latents));
    tables
        .fold(0, u128::saturating_add)
        .saturating_add(encoder_weights(config, channels))
        .saturating_add(layer(&decoder))
        .saturating_add(product(&[decoder.attention.query_channels, any_data.outputs(config)]))
}

/// Weights of an attention layer with its MLP, without the far smaller biases and norms.
fn layer(layer: &LayerConfig) -> u128 {
    let AttentionConfig { query_channels, input_channels, qk_channels, v_channels, .. } =
        layer.attention;
    product(&[query_channels, qk_channels])
        .saturating_add(product(&[input_channels, qk_channels]))
        .saturating_add(product(&[input_channels, v_channels]))
        .saturating_add(product(&[v_channels, query_channels]))
        .saturating_add(product(&[2, layer.widening_factor, query_channels, query_channels]))
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

/// Checks the number of extents, and that their product has a sensible size.
fn extents(field: &str, extents: &[usize], rank: usize) -> Result<(), Error> {
    if extents.len() != rank {
        let message = format!("has {} numbers, expected {rank}", extents.len());
        return Err(Error::config(field, message));
    }
    extents.iter().try_for_each(|&extent| positive(field, extent))?;
    if product(extents) > MAX_WEIGHTS {
        let message = format!("has more than {MAX_WEIGHTS} elements");
        return Err(Error::config(field, message));
    }
    Ok(())
}
