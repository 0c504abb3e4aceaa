//! Shapes of what the operations return, which Fusion must know before they run.

use burn::backend::fusion::custom::TensorSpec;
use burn::tensor::Shape;

use super::{GridPointsMetadata, HiddenKeysMetadata, TokenGradientsMetadata};

/// One number a row of scores.
fn per_row(batch: usize, heads: usize, rows: usize, like: &TensorSpec) -> TensorSpec {
    TensorSpec::new(Shape::new([batch, heads, rows, 1]), like.dtype)
}

pub(super) fn attention(
    queries: &TensorSpec,
    _keys: &TensorSpec,
    values: &TensorSpec,
    _hidden: &HiddenKeysMetadata,
    _scale: &f64,
) -> (TensorSpec, TensorSpec) {
    let [batch, heads, rows, _] = queries.shape.dims::<4>();
    let channels = values.shape[3];
    let output = TensorSpec::new(Shape::new([batch, heads, rows, channels]), queries.dtype);
    (output, per_row(batch, heads, rows, queries))
}

pub(super) fn gather(
    content_queries: &TensorSpec,
    axis_scores: &TensorSpec,
    _content: &TensorSpec,
    _token_scale: &TensorSpec,
    _hidden: &HiddenKeysMetadata,
    _grid: &Vec<usize>,
) -> TensorSpec {
    let [batch, heads, rows, channels] = content_queries.shape.dims::<4>();
    let channels = channels + axis_scores.shape[3] + 1;
    TensorSpec::new(Shape::new([batch, heads, rows, channels]), content_queries.dtype)
}

#[allow(clippy::too_many_arguments, reason = "the operation has this many tensors")]
pub(super) fn scatter(
    content: &TensorSpec,
    _token_scale: &TensorSpec,
    _content_keys: &TensorSpec,
    _axis_scores: &TensorSpec,
    _key_bias: &TensorSpec,
    values: &TensorSpec,
    _points: &GridPointsMetadata,
    _grid: &Vec<usize>,
) -> (TensorSpec, TensorSpec) {
    let tokens = content.shape[1];
    let [batch, heads, _, channels] = values.shape.dims::<4>();
    let output = TensorSpec::new(Shape::new([batch, heads, tokens, channels]), content.dtype);
    (output, per_row(batch, heads, tokens, content))
}

#[allow(clippy::too_many_arguments, reason = "the operation has this many tensors")]
pub(super) fn attention_backward(
    queries: &TensorSpec,
    keys: &TensorSpec,
    values: &TensorSpec,
    _output: &TensorSpec,
    _log_sum_exp: &TensorSpec,
    _output_gradient: &TensorSpec,
    _hidden: &HiddenKeysMetadata,
    _scale: &f64,
) -> (TensorSpec, TensorSpec, TensorSpec) {
    (queries.clone(), keys.clone(), values.clone())
}

#[allow(clippy::too_many_arguments, reason = "the operation has this many tensors")]
pub(super) fn gather_backward(
    content_queries: &TensorSpec,
    axis_scores: &TensorSpec,
    content: &TensorSpec,
    token_scale: &TensorSpec,
    _packed: &TensorSpec,
    _packed_gradient: &TensorSpec,
    _hidden: &HiddenKeysMetadata,
    _grid: &Vec<usize>,
    tracked_tokens: &bool,
) -> (TensorSpec, TensorSpec, TokenGradientsMetadata) {
    let tokens = token_gradients(content, token_scale, *tracked_tokens);
    (content_queries.clone(), axis_scores.clone(), tokens)
}

#[allow(clippy::too_many_arguments, reason = "the operation has this many tensors")]
pub(super) fn scatter_backward(
    content: &TensorSpec,
    token_scale: &TensorSpec,
    content_keys: &TensorSpec,
    axis_scores: &TensorSpec,
    key_bias: &TensorSpec,
    values: &TensorSpec,
    _output: &TensorSpec,
    _log_sum_exp: &TensorSpec,
    _output_gradient: &TensorSpec,
    _points: &GridPointsMetadata,
    _grid: &Vec<usize>,
    tracked_tokens: &bool,
) -> (TensorSpec, TensorSpec, TensorSpec, TensorSpec, TokenGradientsMetadata) {
    (
        content_keys.clone(),
        axis_scores.clone(),
        key_bias.clone(),
        values.clone(),
        token_gradients(content, token_scale, *tracked_tokens),
    )
}

pub(super) fn affine_parameters_backward(
    x: &TensorSpec,
    output_gradient: &TensorSpec,
) -> (TensorSpec, TensorSpec) {
    let last = |of: &TensorSpec| of.shape[of.shape.num_dims() - 1];
    let (channels_in, channels_out) = (last(x), last(output_gradient));
    let weight = TensorSpec::new(Shape::new([channels_in, channels_out]), x.dtype);
    (weight, TensorSpec::new(Shape::new([channels_out]), x.dtype))
}

pub(super) fn product(x: &TensorSpec, weight: &TensorSpec) -> TensorSpec {
    TensorSpec::new(Shape::new([x.shape[0], weight.shape[1]]), x.dtype)
}

pub(super) fn normalise(
    x: &TensorSpec,
    _gamma: &TensorSpec,
    _beta: &TensorSpec,
    _epsilon: &f64,
) -> TensorSpec {
    x.clone()
}

pub(super) fn normalise_backward(
    x: &TensorSpec,
    gamma: &TensorSpec,
    _output_gradient: &TensorSpec,
    _epsilon: &f64,
) -> (TensorSpec, TensorSpec, TensorSpec) {
    (x.clone(), gamma.clone(), gamma.clone())
}

fn token_gradients(
    content: &TensorSpec,
    token_scale: &TensorSpec,
    tracked: bool,
) -> TokenGradientsMetadata {
    if !tracked {
        return TokenGradientsMetadata::None;
    }
    TokenGradientsMetadata::Some { content: content.clone(), token_scale: token_scale.clone() }
}
