use burn::tensor::{Device, Int, Tensor};
use perceiver_core::{AttentionConfig, Initialisation, LayerConfig, TokenArray};
use perceiver_io::{
    BasicDecoderConfig, BasicVideoAutoencodingDecoder, ClassificationDecoder,
    ClassificationDecoderConfig, Decoder, MultimodalDecoder, MultimodalDecoderConfig,
    MultimodalQueryConfig, OpticalFlowDecoder, OpticalFlowDecoderConfig, OutputPoints,
    PositionConfig, Preprocessed, ProjectionDecoder, QueryConfig,
};
use perceiver_models::{CrossAttentionShape, NamedTensors, PerceiverConfig};

use crate::arguments::Arguments;
use crate::case::{Case, reshaped};
use crate::output::Output;
use crate::preprocessors::positions;

/// The default axes of the output: those of the input after the second.
const FIRST_AXIS: usize = 2;

pub(crate) fn run(case: &Case, attentions: bool, device: &Device) -> Result<NamedTensors, String> {
    let mut arguments = case.arguments();
    let (config, init) = (&case.config, Initialisation::default());
    match case.part() {
        "PerceiverProjectionDecoder" => project(case, device),
        "PerceiverBasicDecoder" if arguments.switch("position_encoding_only", false) => {
            encode_positions(case, &mut arguments, device)
        }
        "PerceiverBasicDecoder" => {
            let grid = &case.inputs["inputs"].shape()[FIRST_AXIS..];
            let module = basic(&mut arguments, config, grid).init(init, device);
            decode(case, module, &points(case, "subsampled_points", device), attentions, device)
        }
        "PerceiverClassificationDecoder" => {
            let module = classification(&mut arguments, config, device);
            decode(case, module, &(), attentions, device)
        }
        "PerceiverOpticalFlowDecoder" => {
            decode(case, flow(&mut arguments, config, device), &(), attentions, device)
        }
        "PerceiverBasicVideoAutoencodingDecoder" => {
            let module = video(&mut arguments, config, device);
            // `forward` of the reference has no argument `output_attentions`.
            decode(case, module, &None, false, device)
        }
        "PerceiverMultimodalDecoder" => {
            let module = multimodal(&mut arguments, config, device);
            let points = OutputPoints {
                audio: points(case, "subsampled_points.audio", device),
                image: points(case, "subsampled_points.image", device),
            };
            decode(case, module, &points, attentions, device)
        }
        other => Err(format!("unknown decoder {other}")),
    }
}

fn decode<D>(
    case: &Case,
    module: D,
    points: &D::Points,
    attentions: bool,
    device: &Device,
) -> Result<NamedTensors, String>
where
    D: Decoder<Queries = TokenArray, Output: Output>,
{
    let module = case.load(module)?;
    let queries = module.queries(&preprocessed(case, device), points);
    let decoded = module.forward(&queries, case.input("z", device), attentions);
    let mut found = NamedTensors::new();
    found.insert("query".into(), queries.to_dense().into_data());
    decoded.logits.insert("logits", &mut found);
    if let Some(maps) = decoded.cross_attentions {
        found.insert("cross_attentions.0".into(), maps.into_data());
    }
    Ok(found)
}

/// The tokens that a decoder is called with. Most decoders use only their number of examples.
fn preprocessed(case: &Case, device: &Device) -> Preprocessed {
    let inputs = case.inputs["inputs"].clone();
    let (batch, channels) = (inputs.shape()[0], inputs.shape()[inputs.rank() - 1]);
    let tokens = inputs.num_elements() / batch / channels;
    let tokens = Tensor::from_data(reshaped(inputs, &[batch, tokens, channels]), device);
    let mut made = Preprocessed::from_content(tokens);
    if case.inputs.contains_key("inputs_without_pos") {
        made.without_positions = vec![case.input::<3>("inputs_without_pos", device).into()];
    }
    made
}

fn points(case: &Case, name: &str, device: &Device) -> Option<Tensor<1, Int>> {
    case.inputs.contains_key(name).then(|| case.ids(name, device))
}

fn project(case: &Case, device: &Device) -> Result<NamedTensors, String> {
    let module = case.load(projection(&case.config, device))?;
    let mut found = NamedTensors::new();
    module.forward(&(), case.input("z", device), false).logits.insert("logits", &mut found);
    Ok(found)
}

/// A decoder that only makes queries: a position encoding.
fn encode_positions(
    case: &Case,
    arguments: &mut Arguments,
    device: &Device,
) -> Result<NamedTensors, String> {
    let positions = query_positions(arguments);
    let module = positions.init(Initialisation::default(), device);
    let module = case.load_renamed(module, |key| {
        key.replace("output_position_encodings", "position_embeddings")
    })?;
    let [batch, positions, channels] = case.outputs["query"].shape().dims();
    let table = module.points(&[positions], None, device).to_table();
    let query = table.unsqueeze::<3>().expand([batch, positions, channels]);
    Ok([("query".into(), query.into_data())].into())
}

pub(crate) fn projection(config: &PerceiverConfig, device: &Device) -> ProjectionDecoder {
    let init = Initialisation::default();
    ProjectionDecoder::new(config.d_latents, config.num_labels(), init, device)
}

pub(crate) fn basic(
    arguments: &mut Arguments,
    config: &PerceiverConfig,
    grid: &[usize],
) -> BasicDecoderConfig {
    let out_channels = arguments.size("out_channels", 128);
    let output_channels = arguments.optional_size("output_num_channels");
    BasicDecoderConfig {
        queries: Some(QueryConfig {
            positions: positions(arguments, "trainable", out_channels),
            index_dims: arguments.sizes("output_index_dims").unwrap_or_else(|| grid.to_vec()),
            concat_preprocessed_input: arguments.switch("concat_preprocessed_input", false),
        }),
        layer: decoder_layer(arguments, config),
        output_channels: output_channels.filter(|_| arguments.switch("final_project", true)),
    }
}

pub(crate) fn classification(
    arguments: &mut Arguments,
    config: &PerceiverConfig,
    device: &Device,
) -> ClassificationDecoder {
    // The query has the channels of the layer, and there is always a projection to labels.
    arguments.ignore(&["final_project", "position_encoding_type"]);
    arguments.ignore(&["trainable_position_encoding_kwargs"]);
    let layer = decoder_layer(arguments, config);
    let decoder = ClassificationDecoderConfig { layer, labels: config.num_labels() };
    decoder.init(Initialisation::default(), device)
}

fn flow(
    arguments: &mut Arguments,
    config: &PerceiverConfig,
    device: &Device,
) -> OpticalFlowDecoder {
    // The reference builds an encoding and never uses it.
    arguments.ignore(&["position_encoding_type", "fourier_position_encoding_kwargs"]);
    let shape = arguments.sizes("output_image_shape").expect("output_image_shape");
    let decoder = OpticalFlowDecoderConfig {
        layer: decoder_layer(arguments, config),
        image_shape: shape.try_into().expect("height and width"),
        output_channels: arguments.size("output_num_channels", 2),
        rescale_factor: arguments.number("rescale_factor", 100.0),
    };
    decoder.init(Initialisation::default(), device)
}

fn video(
    arguments: &mut Arguments,
    config: &PerceiverConfig,
    device: &Device,
) -> BasicVideoAutoencodingDecoder {
    let out_channels = arguments.size("out_channels", 128);
    let positions = positions(arguments, "trainable", out_channels);
    BasicVideoAutoencodingDecoder::new(
        decoder_layer(arguments, config),
        positions,
        arguments.sizes("output_shape").expect("output_shape").try_into().expect("four axes"),
        arguments.optional_size("output_num_channels").expect("output_num_channels"),
        Initialisation::default(),
        device,
    )
}

pub(crate) fn multimodal(
    arguments: &mut Arguments,
    config: &PerceiverConfig,
    device: &Device,
) -> MultimodalDecoder {
    let mut of = arguments.nested("modalities").expect("modalities");
    let mut audio = of.the_part("audio", "PerceiverBasicDecoder");
    let mut image = of.the_part("image", "PerceiverBasicVideoAutoencodingDecoder");
    let mut label = of.the_part("label", "PerceiverClassificationDecoder");
    let [sounds] = audio.sizes("output_index_dims").expect("output_index_dims")[..] else {
        panic!("sound has one axis")
    };
    let video = image.sizes("output_shape").expect("output_shape")[1..].try_into();
    let queries = MultimodalQueryConfig {
        audio: (query_positions(&mut audio), sounds),
        image: (query_positions(&mut image), video.expect("three axes behind the batch")),
        label: query_positions(&mut label),
        min_padding: arguments.size("min_padding_size", 2),
    };
    arguments.ignore(&["num_outputs"]);
    let output_channels = arguments.optional_size("output_num_channels");
    MultimodalDecoderConfig {
        layer: decoder_layer_for(arguments, config, queries.channels()),
        queries,
        output_channels: output_channels.expect("output_num_channels"),
    }
    .init(Initialisation::default(), device)
}

/// Positions of a decoder that only makes queries.
fn query_positions(arguments: &mut Arguments) -> PositionConfig {
    arguments.ignore(&["position_encoding_only", "output_num_channels"]);
    let out_channels = arguments.size("out_channels", 128);
    positions(arguments, "trainable", out_channels)
}

fn decoder_layer(arguments: &mut Arguments, config: &PerceiverConfig) -> LayerConfig {
    let queries = arguments.size("num_channels", 128);
    decoder_layer_for(arguments, config, queries)
}

fn decoder_layer_for(
    arguments: &mut Arguments,
    config: &PerceiverConfig,
    queries: usize,
) -> LayerConfig {
    let widening_factor = arguments.size("widening_factor", 1);
    let query_residual = arguments.switch("use_query_residual", false);
    let default = match config.cross_attention_shape_for_attention {
        CrossAttentionShape::KeysValues => config.d_latents,
        CrossAttentionShape::Queries => queries,
    };
    LayerConfig {
        attention: attention(
            arguments,
            config,
            [queries, config.d_latents],
            default,
            query_residual,
        ),
        widening_factor,
        activation: config.hidden_act,
        feed_forward_chunk: config.chunk_size_feed_forward,
    }
}

/// An attention between arrays of `queries` and `inputs` channels.
pub(crate) fn attention(
    arguments: &mut Arguments,
    config: &PerceiverConfig,
    [queries, inputs]: [usize; 2],
    default_qk_channels: usize,
    query_residual: bool,
) -> AttentionConfig {
    let qk_channels = arguments.size("qk_channels", default_qk_channels);
    AttentionConfig {
        query_channels: queries,
        input_channels: inputs,
        qk_channels,
        v_channels: arguments.size("v_channels", qk_channels),
        heads: arguments.size("num_heads", 1),
        query_residual,
        dropout: config.attention_probs_dropout_prob,
    }
}
