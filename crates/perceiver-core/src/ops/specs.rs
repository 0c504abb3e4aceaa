//! Shapes of the operations' results, which Fusion needs before they run.

use burn::backend::fusion::custom::TensorSpec;
use burn::tensor::Shape;

use super::values::*;

pub(super) fn attention(input: &AttentionInputMetadata) -> AttentionOutputMetadata {
    attended(&input.queries, input.queries.shape[2], &input.values)
}

pub(super) fn attention_backward(
    input: &AttentionInputMetadata,
    _output: &AttentionOutputMetadata,
    _output_gradient: &TensorSpec,
) -> AttentionGradientsMetadata {
    AttentionGradientsMetadata {
        queries: input.queries.clone(),
        keys: input.keys.clone(),
        values: input.values.clone(),
    }
}

pub(super) fn gather(input: &GatherInputMetadata) -> TensorSpec {
    let [batch, heads, rows, channels] = input.content_queries.shape.dims::<4>();
    let channels = channels + input.axis_scores.shape[3] + 1;
    TensorSpec::new(Shape::new([batch, heads, rows, channels]), input.content_queries.dtype)
}

pub(super) fn gather_backward(
    input: &GatherInputMetadata,
    _packed: &TensorSpec,
    _packed_gradient: &TensorSpec,
    tracked_tokens: &bool,
) -> GatherGradientsMetadata {
    GatherGradientsMetadata {
        content_queries: input.content_queries.clone(),
        axis_scores: input.axis_scores.clone(),
        tokens: token_gradients(&input.tokens, *tracked_tokens),
    }
}

pub(super) fn scatter(input: &ScatterInputMetadata) -> AttentionOutputMetadata {
    attended(&input.tokens.content, input.tokens.content.shape[1], &input.values)
}

pub(super) fn scatter_backward(
    input: &ScatterInputMetadata,
    _output: &AttentionOutputMetadata,
    _output_gradient: &TensorSpec,
    tracked_tokens: &bool,
) -> ScatterGradientsMetadata {
    ScatterGradientsMetadata {
        content_keys: input.content_keys.clone(),
        axis_scores: input.axis_scores.clone(),
        key_bias: input.key_bias.clone(),
        values: input.values.clone(),
        tokens: token_gradients(&input.tokens, *tracked_tokens),
    }
}

pub(super) fn affine_parameters_backward(
    x: &TensorSpec,
    output_gradient: &TensorSpec,
) -> (TensorSpec, TensorSpec) {
    let last = |spec: &TensorSpec| spec.shape[spec.shape.num_dims() - 1];
    let (channels_in, channels_out) = (last(x), last(output_gradient));
    let weight = TensorSpec::new(Shape::new([channels_in, channels_out]), x.dtype);
    (weight, TensorSpec::new(Shape::new([channels_out]), x.dtype))
}

pub(super) fn product(x: &TensorSpec, weight: &TensorSpec) -> TensorSpec {
    TensorSpec::new(Shape::new([x.shape[0], weight.shape[1]]), x.dtype)
}

/// Each of `rows` queries, of the queries' type, attends to `values`.
fn attended(queries: &TensorSpec, rows: usize, values: &TensorSpec) -> AttentionOutputMetadata {
    let [batch, heads, _, channels] = values.shape.dims::<4>();
    let spec =
        |channels| TensorSpec::new(Shape::new([batch, heads, rows, channels]), queries.dtype);
    AttentionOutputMetadata { output: spec(channels), log_sum_exp: spec(1) }
}

fn token_gradients(tokens: &FactoredTokensMetadata, tracked: bool) -> TokenGradientsMetadata {
    if !tracked {
        return TokenGradientsMetadata::None;
    }
    TokenGradientsMetadata::Some { content: tokens.content.clone(), scale: tokens.scale.clone() }
}
