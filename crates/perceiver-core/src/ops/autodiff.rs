//! The operations under burn's autodiff: one node each, which keeps what the operation took and
//! returned and computes probabilities again. Nothing of `queries × keys` numbers is kept.

mod attention;
mod layers;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata};

use self::attention::{AttentionBackward, AttentionState, PackedAttentionBackward, attend};
use self::layers::{AffineBackward, AffineState, GeluBackward, NormaliseBackward, NormaliseState};
use super::attention::cat;
use super::blocks::slice;
use super::{GridPoints, HiddenKeys, PerceiverOps, TokenGradients};

impl<B: PerceiverOps, C: CheckpointStrategy> PerceiverOps for Autodiff<B, C> {
    fn attention(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        hidden: HiddenKeys<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        let result = |state: &AttentionState<B>| state.output.clone();
        attend(AttentionBackward, [queries, keys, values], hidden, scale, result)
    }

    fn attention_forward(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        hidden: HiddenKeys<Self>,
        scale: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let channels = values.shape()[3];
        let result = |state: &AttentionState<B>| {
            cat::<B>(vec![state.output.clone(), state.log_sum_exp.clone()], 3)
        };
        let inputs = [queries, keys, values];
        let packed = attend(PackedAttentionBackward, inputs, hidden, scale, result);
        let part = |start, end| slice::<Self>(&packed, 3, start, end);
        (part(0, channels), part(channels, channels + 1))
    }

    fn gather_attend(
        content_queries: FloatTensor<Self>,
        axis_scores: FloatTensor<Self>,
        content: FloatTensor<Self>,
        token_scale: FloatTensor<Self>,
        hidden: HiddenKeys<Self>,
        grid: Vec<usize>,
    ) -> FloatTensor<Self> {
        let hidden = hidden.untracked();
        let (content_queries, of_content_queries) = content_queries.into_parts();
        let (axis_scores, of_axis_scores) = axis_scores.into_parts();
        let (content, of_content) = content.into_parts();
        let (token_scale, of_token_scale) = token_scale.into_parts();
        let packed = B::gather_attend(
            content_queries.clone(),
            axis_scores.clone(),
            content.clone(),
            token_scale.clone(),
            hidden.clone(),
            grid.clone(),
        );
        let nodes = [of_content_queries, of_axis_scores, of_content, of_token_scale];
        match GatherBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::UnTracked(node) => node.finish(packed),
            OpsKind::Tracked(node) => {
                let state = GatherState {
                    content_queries,
                    axis_scores,
                    content,
                    token_scale,
                    packed: packed.clone(),
                    hidden,
                    grid,
                };
                node.finish(state, packed)
            }
        }
    }

    fn scatter_attend(
        content: FloatTensor<Self>,
        token_scale: FloatTensor<Self>,
        content_keys: FloatTensor<Self>,
        axis_scores: FloatTensor<Self>,
        key_bias: FloatTensor<Self>,
        values: FloatTensor<Self>,
        points: GridPoints<Self>,
        grid: Vec<usize>,
    ) -> FloatTensor<Self> {
        let points = points.untracked();
        let (content, of_content) = content.into_parts();
        let (token_scale, of_token_scale) = token_scale.into_parts();
        let (content_keys, of_content_keys) = content_keys.into_parts();
        let (axis_scores, of_axis_scores) = axis_scores.into_parts();
        let (key_bias, of_key_bias) = key_bias.into_parts();
        let (values, of_values) = values.into_parts();
        let (output, log_sum_exp) = B::scatter_attend_forward(
            content.clone(),
            token_scale.clone(),
            content_keys.clone(),
            axis_scores.clone(),
            key_bias.clone(),
            values.clone(),
            points.clone(),
            grid.clone(),
        );
        let nodes =
            [of_content_keys, of_axis_scores, of_key_bias, of_values, of_content, of_token_scale];
        match ScatterBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::UnTracked(node) => node.finish(output),
            OpsKind::Tracked(node) => {
                let state = ScatterState {
                    content,
                    token_scale,
                    content_keys,
                    axis_scores,
                    key_bias,
                    values,
                    output: output.clone(),
                    log_sum_exp,
                    points,
                    grid,
                };
                node.finish(state, output)
            }
        }
    }

    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, of_x) = x.into_parts();
        match GeluBackward.prepare::<C>([of_x]).compute_bound().stateful() {
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
        let (x, of_x) = x.into_parts();
        let (weight, of_weight) = weight.into_parts();
        let (bias, of_bias) = bias.into_parts();
        let nodes = [of_x, of_weight, of_bias];
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
        let (x, of_x) = x.into_parts();
        let (gamma, of_gamma) = gamma.into_parts();
        let (beta, of_beta) = beta.into_parts();
        let output = B::normalise(x.clone(), gamma.clone(), beta, epsilon);
        let nodes = [of_x, of_gamma, of_beta];
        match NormaliseBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::UnTracked(node) => node.finish(output),
            OpsKind::Tracked(node) => node.finish(NormaliseState { x, gamma, epsilon }, output),
        }
    }
}

impl<B: Backend, C: CheckpointStrategy> HiddenKeys<Autodiff<B, C>> {
    /// Booleans are the inner backend's own.
    fn untracked(self) -> HiddenKeys<B> {
        match self {
            Self::None => HiddenKeys::None,
            Self::Some(hidden) => HiddenKeys::Some(hidden),
        }
    }
}

impl<B: Backend, C: CheckpointStrategy> GridPoints<Autodiff<B, C>> {
    /// Integers are the inner backend's own.
    fn untracked(self) -> GridPoints<B> {
        match self {
            Self::All => GridPoints::All,
            Self::Some(points) => GridPoints::Some(points),
        }
    }
}

#[derive(Debug)]
struct GatherBackward;

#[derive(Clone, Debug)]
struct GatherState<B: Backend> {
    content_queries: FloatTensor<B>,
    axis_scores: FloatTensor<B>,
    content: FloatTensor<B>,
    token_scale: FloatTensor<B>,
    packed: FloatTensor<B>,
    hidden: HiddenKeys<B>,
    grid: Vec<usize>,
}

impl<B: PerceiverOps> Backward<B, 4> for GatherBackward {
    type State = GatherState<B>;

    fn backward(self, node: Ops<Self::State, 4>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let of_packed = gradients.consume::<B>(&node.node);
        let parents = node.parents.map(|parent| Some(parent?.id));
        let state = node.state;
        let tracked_tokens = parents[2..].iter().any(Option::is_some);
        let (content_queries, axis_scores, tokens) = B::gather_attend_backward(
            state.content_queries,
            state.axis_scores,
            state.content,
            state.token_scale,
            state.packed,
            of_packed,
            state.hidden,
            state.grid,
            tracked_tokens,
        );
        let mut found = vec![content_queries, axis_scores];
        found.extend(listed(tokens));
        register::<B>(parents, found, gradients);
    }
}

#[derive(Debug)]
struct ScatterBackward;

#[derive(Clone, Debug)]
struct ScatterState<B: Backend> {
    content: FloatTensor<B>,
    token_scale: FloatTensor<B>,
    content_keys: FloatTensor<B>,
    axis_scores: FloatTensor<B>,
    key_bias: FloatTensor<B>,
    values: FloatTensor<B>,
    output: FloatTensor<B>,
    log_sum_exp: FloatTensor<B>,
    points: GridPoints<B>,
    grid: Vec<usize>,
}

/// Parents in the order of the gradients, tokens last.
impl<B: PerceiverOps> Backward<B, 6> for ScatterBackward {
    type State = ScatterState<B>;

    fn backward(self, node: Ops<Self::State, 6>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let of_output = gradients.consume::<B>(&node.node);
        let parents = node.parents.map(|parent| Some(parent?.id));
        let state = node.state;
        let tracked_tokens = parents[4..].iter().any(Option::is_some);
        let (content_keys, axis_scores, key_bias, values, tokens) = B::scatter_attend_backward(
            state.content,
            state.token_scale,
            state.content_keys,
            state.axis_scores,
            state.key_bias,
            state.values,
            state.output,
            state.log_sum_exp,
            of_output,
            state.points,
            state.grid,
            tracked_tokens,
        );
        let mut found = vec![content_keys, axis_scores, key_bias, values];
        found.extend(listed(tokens));
        register::<B>(parents, found, gradients);
    }
}

/// In the order of the operation's parents.
fn listed<B: Backend>(tokens: TokenGradients<B>) -> Vec<FloatTensor<B>> {
    match tokens {
        TokenGradients::None => Vec::new(),
        TokenGradients::Some { content, token_scale } => vec![content, token_scale],
    }
}

/// Hands each tracked parent its gradient; the others' are dropped.
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
