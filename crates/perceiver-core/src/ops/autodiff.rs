//! The operations under burn's autodiff: one node each, which keeps the operation's input and output
//! and recomputes probabilities. It keeps no array of `queries × keys`.

mod attention;
mod layers;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata};

use self::attention::{AttentionBackward, PackedAttentionBackward, attend};
use self::layers::{AffineBackward, AffineState, GeluBackward, NormaliseBackward, NormaliseState};
use super::attention::cat;
use super::blocks::slice;
use super::{
    AttentionInput, AttentionOutput, FactoredTokens, GatherGradients, GatherInput, GridPoints,
    HiddenKeys, PerceiverOps, ScatterGradients, ScatterInput, TokenGradients,
};

impl<B: PerceiverOps, C: CheckpointStrategy> PerceiverOps for Autodiff<B, C> {
    fn attention(input: AttentionInput<Self>) -> FloatTensor<Self> {
        attend(AttentionBackward, input, |attended| attended.output.clone())
    }

    fn attention_forward(input: AttentionInput<Self>) -> AttentionOutput<Self> {
        let channels = input.values.shape()[3];
        let packed = attend(PackedAttentionBackward, input, |attended| {
            cat::<B>(vec![attended.output.clone(), attended.log_sum_exp.clone()], 3)
        });
        let part = |start, end| slice::<Self>(&packed, 3, start, end);
        AttentionOutput { output: part(0, channels), log_sum_exp: part(channels, channels + 1) }
    }

    fn gather_attend(input: GatherInput<Self>) -> FloatTensor<Self> {
        let GatherInput { content_queries, axis_scores, tokens, hidden } = input;
        let (content_queries, content_queries_node) = content_queries.into_parts();
        let (axis_scores, axis_scores_node) = axis_scores.into_parts();
        let (content, content_node) = tokens.content.into_parts();
        let (scale, scale_node) = tokens.scale.into_parts();
        let tokens = FactoredTokens { content, scale, grid: tokens.grid };
        let hidden = hidden.untracked();
        let input = GatherInput { content_queries, axis_scores, tokens, hidden };
        let packed = B::gather_attend(input.clone());
        let nodes = [content_queries_node, axis_scores_node, content_node, scale_node];
        match GatherBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::UnTracked(node) => node.finish(packed),
            OpsKind::Tracked(node) => node.finish((input, packed.clone()), packed),
        }
    }

    fn scatter_attend(input: ScatterInput<Self>) -> FloatTensor<Self> {
        let ScatterInput { tokens, points, content_keys, axis_scores, key_bias, values } = input;
        let (content, content_node) = tokens.content.into_parts();
        let (scale, scale_node) = tokens.scale.into_parts();
        let (content_keys, content_keys_node) = content_keys.into_parts();
        let (axis_scores, axis_scores_node) = axis_scores.into_parts();
        let (key_bias, key_bias_node) = key_bias.into_parts();
        let (values, values_node) = values.into_parts();
        let tokens = FactoredTokens { content, scale, grid: tokens.grid };
        let points = points.untracked();
        let input = ScatterInput { tokens, points, content_keys, axis_scores, key_bias, values };
        let attended = B::scatter_attend_forward(input.clone());
        let nodes = [
            content_keys_node,
            axis_scores_node,
            key_bias_node,
            values_node,
            content_node,
            scale_node,
        ];
        let output = attended.output.clone();
        match ScatterBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::UnTracked(node) => node.finish(output),
            OpsKind::Tracked(node) => node.finish((input, attended), output),
        }
    }

    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        match GeluBackward.prepare::<C>([x_node]).compute_bound().stateful() {
            OpsKind::UnTracked(node) => node.finish(B::exact_gelu(x)),
            OpsKind::Tracked(node) => node.finish(x.clone(), B::exact_gelu(x)),
        }
    }

    fn affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let is_frozen = !weight.is_tracked() && !bias.is_tracked();
        let needs_weight = x.is_tracked();
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let nodes = [x_node, weight_node, bias_node];
        match AffineBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::UnTracked(node) => node.finish(B::affine(x, weight, bias)),
            OpsKind::Tracked(node) => {
                let state = AffineState {
                    x: (!is_frozen).then(|| x.clone()),
                    weight: needs_weight.then(|| weight.clone()),
                };
                node.finish(state, B::affine(x, weight, bias))
            }
        }
    }

    fn normalise(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (gamma, gamma_node) = gamma.into_parts();
        let (beta, beta_node) = beta.into_parts();
        let output = B::normalise(x.clone(), gamma.clone(), beta, epsilon);
        let nodes = [x_node, gamma_node, beta_node];
        match NormaliseBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::UnTracked(node) => node.finish(output),
            OpsKind::Tracked(node) => node.finish(NormaliseState { x, gamma, epsilon }, output),
        }
    }
}

impl<B: Backend, C: CheckpointStrategy> HiddenKeys<Autodiff<B, C>> {
    /// Autodiff leaves booleans to the inner backend.
    fn untracked(self) -> HiddenKeys<B> {
        match self {
            Self::None => HiddenKeys::None,
            Self::Some(hidden) => HiddenKeys::Some(hidden),
        }
    }
}

impl<B: Backend, C: CheckpointStrategy> GridPoints<Autodiff<B, C>> {
    /// Autodiff leaves integers to the inner backend.
    fn untracked(self) -> GridPoints<B> {
        match self {
            Self::All => GridPoints::All,
            Self::Some(points) => GridPoints::Some(points),
        }
    }
}

#[derive(Debug)]
struct GatherBackward;

impl<B: PerceiverOps> Backward<B, 4> for GatherBackward {
    /// The input and the packed result.
    type State = (GatherInput<B>, FloatTensor<B>);

    fn backward(self, node: Ops<Self::State, 4>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let packed_gradient = gradients.consume::<B>(&node.node);
        let parents = node.parents.map(|parent| Some(parent?.id));
        let (input, packed) = node.state;
        let tracked_tokens = parents[2..].iter().any(Option::is_some);
        let GatherGradients { content_queries, axis_scores, tokens } =
            B::gather_attend_backward(input, packed, packed_gradient, tracked_tokens);
        let mut found = vec![content_queries, axis_scores];
        found.extend(listed(tokens));
        register::<B>(parents, found, gradients);
    }
}

#[derive(Debug)]
struct ScatterBackward;

/// Parents in the order of the gradients, tokens last.
impl<B: PerceiverOps> Backward<B, 6> for ScatterBackward {
    type State = (ScatterInput<B>, AttentionOutput<B>);

    fn backward(self, node: Ops<Self::State, 6>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let output_gradient = gradients.consume::<B>(&node.node);
        let parents = node.parents.map(|parent| Some(parent?.id));
        let (input, attended) = node.state;
        let tracked_tokens = parents[4..].iter().any(Option::is_some);
        let ScatterGradients { content_keys, axis_scores, key_bias, values, tokens } =
            B::scatter_attend_backward(input, attended, output_gradient, tracked_tokens);
        let mut found = vec![content_keys, axis_scores, key_bias, values];
        found.extend(listed(tokens));
        register::<B>(parents, found, gradients);
    }
}

/// In the order of the operation's parents.
fn listed<B: Backend>(tokens: TokenGradients<B>) -> Vec<FloatTensor<B>> {
    match tokens {
        TokenGradients::None => Vec::new(),
        TokenGradients::Some { content, scale } => vec![content, scale],
    }
}

/// Registers the gradients of tracked parents and drops the others.
fn register<B: Backend>(
    parents: impl IntoIterator<Item = Option<NodeId>>,
    found: Vec<FloatTensor<B>>,
    gradients: &mut Gradients,
) {
    for (parent, gradient) in parents.into_iter().zip(found) {
        if let Some(parent) = parent {
            gradients.register::<B>(parent, gradient);
        }
    }
}
