//! Layers and functions.

use burn::tensor::{Device, Tensor, TensorData};
use perceiver_core::{
    CrossAttentionLayer, Initialisation, KeyMask, LayerConfig, SelfAttentionLayer, TokenArray,
};
use perceiver_io::{PositionConfig, linear_positions, space_to_depth as move_blocks};
use perceiver_models::{CrossAttentionShape, NamedTensors};

use crate::case::{Case, reshaped};
use crate::decoders::attention;
use crate::preprocessors::{fourier, trainable};

pub(crate) fn run(case: &Case, attentions: bool, device: &Device) -> Result<NamedTensors, String> {
    match case.part() {
        "PerceiverLayer" => layer(case, attentions, device),
        "PerceiverTrainablePositionEncoding" => interpolate(case, device).map(result),
        "build_linear_positions" => Ok(result(mesh(case))),
        "generate_fourier_features" => Ok(result(features(case, device))),
        "space_to_depth" => Ok(result(space_to_depth(case, device))),
        other => Err(format!("unknown part {other}")),
    }
}

fn result(data: TensorData) -> NamedTensors {
    [("result".to_owned(), data)].into()
}

fn layer(case: &Case, attentions: bool, device: &Device) -> Result<NamedTensors, String> {
    let mut arguments = case.arguments();
    let config = &case.config;
    let [queries, inputs] =
        ["q_dim", "kv_dim"].map(|name| arguments.optional_size(name).expect(name));
    let cross = arguments.switch("is_cross_attention", false);
    let default = match config.cross_attention_shape_for_attention {
        CrossAttentionShape::KeysValues if cross => inputs,
        _ => queries,
    };
    let residual = arguments.switch("use_query_residual", true);
    let layer = LayerConfig {
        widening_factor: arguments.size("widening_factor", 4),
        attention: attention(&mut arguments, config, [queries, inputs], default, residual),
        activation: config.hidden_act,
        feed_forward_chunk: config.chunk_size_feed_forward,
    };
    let init = Initialisation::default();
    let hidden_states = case.input("hidden_states", device);
    let (hidden_states, maps) = if cross {
        let module = case.load(CrossAttentionLayer::new(&layer, init, device))?;
        let queries = TokenArray::dense(hidden_states);
        let inputs = TokenArray::dense(case.input("inputs", device));
        module.forward(&queries, &inputs, Some(&mask(case, device)), attentions)
    } else {
        let module = case.load(SelfAttentionLayer::new(&layer, init, device))?;
        module.forward(hidden_states, attentions)
    };
    let mut found = NamedTensors::new();
    found.insert("hidden_states".into(), hidden_states.into_data());
    if let Some(maps) = maps {
        found.insert("attentions".into(), maps.into_data());
    }
    Ok(found)
}

/// The reference adds zero to the scores of keys it keeps and the lowest number to the others.
fn mask(case: &Case, device: &Device) -> KeyMask {
    let added: Tensor<4> = case.input("inputs_mask", device);
    let [batch, _, _, keys] = added.dims();
    KeyMask::from_hidden(added.reshape([batch, keys]).lower_elem(0.0))
}

fn interpolate(case: &Case, device: &Device) -> Result<TensorData, String> {
    let positions = PositionConfig { encoding: trainable(&mut case.arguments()), projection: None };
    let module = positions.init(Initialisation::default(), device);
    let module = case.load_renamed(module, |key| format!("{key}.{key}"))?;
    let [height, width] = ["height", "width"].map(|name| {
        case.options["call"][name].as_u64().expect("a grid to interpolate to") as usize
    });
    Ok(module.interpolated_grid(&[height, width], device).to_table().into_data())
}

/// Coordinates of every cell of a grid, from the coordinates along its axes.
fn mesh(case: &Case) -> TensorData {
    let mut arguments = case.arguments();
    let lengths = arguments.sizes("index_dims").expect("index_dims");
    let range = arguments.numbers("output_range").unwrap_or_else(|| vec![-1.0, 1.0]);
    let (start, end) = (range[0] as f32, range[1] as f32);
    let axes: Vec<_> = lengths.iter().map(|&n| linear_positions(start, end, n)).collect();
    let cells = lengths.iter().product();
    let mut coordinates = Vec::new();
    for cell in 0..cells {
        let mut inner: usize = cells;
        for (axis, length) in axes.iter().zip(&lengths) {
            inner /= length;
            coordinates.push(axis[cell / inner % length]);
        }
    }
    let shape: Vec<_> = lengths.iter().copied().chain([lengths.len()]).collect();
    TensorData::new(coordinates, shape)
}

/// Features of the first example, whose sines and cosines the reference repeats in the others.
fn features(case: &Case, device: &Device) -> TensorData {
    let features = fourier(&mut case.arguments()).encode(case.input("pos", device));
    features.narrow(0, 0, 1).squeeze_dim::<2>(0).into_data()
}

fn space_to_depth(case: &Case, device: &Device) -> TensorData {
    let mut arguments = case.arguments();
    let time = arguments.size("temporal_block_size", 1);
    let space = arguments.size("spatial_block_size", 1);
    let frames = match case.rank("frames") {
        4 => case.input::<4>("frames", device).unsqueeze_dim(1),
        _ => case.input("frames", device),
    };
    let blocks = move_blocks(frames, time, space).into_data();
    reshaped(blocks, case.outputs["result"].shape())
}
