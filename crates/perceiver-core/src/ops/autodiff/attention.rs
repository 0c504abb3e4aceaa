//! Gradients of attention between dense arrays.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata};

use super::register;
use crate::ops::attention::cat;
use crate::ops::blocks::slice;
use crate::ops::{AttentionGradients, AttentionInput, AttentionOutput, PerceiverOps};

/// The input and the output of the forward pass.
type State<B> = (AttentionInput<B>, AttentionOutput<B>);

/// Attends and returns `result` of the output; `backward` receives the gradient of that result.
pub(super) fn attend<B: PerceiverOps, C: CheckpointStrategy>(
    backward: impl Backward<B, 3, State = State<B>>,
    input: AttentionInput<Autodiff<B, C>>,
    result: impl FnOnce(&AttentionOutput<B>) -> FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    let AttentionInput { queries, keys, values, hidden, scale } = input;
    let hidden = hidden.untracked();
    let (queries, queries_node) = queries.into_parts();
    let (keys, keys_node) = keys.into_parts();
    let (values, values_node) = values.into_parts();
    let input = AttentionInput { queries, keys, values, hidden, scale };
    let attended = B::attention_forward(input.clone());
    let result = result(&attended);
    let nodes = [queries_node, keys_node, values_node];
    match backward.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::UnTracked(node) => node.finish(result),
        OpsKind::Tracked(node) => node.finish((input, attended), result),
    }
}

#[derive(Debug)]
pub(super) struct AttentionBackward;

impl<B: PerceiverOps> Backward<B, 3> for AttentionBackward {
    type State = State<B>;

    fn backward(self, node: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let output_gradient = gradients.consume::<B>(&node.node);
        let parents = node.parents.map(|parent| Some(parent?.id));
        let (input, attended) = node.state;
        let AttentionGradients { queries, keys, values } =
            B::attention_backward(input, attended, output_gradient);
        register::<B>(parents, vec![queries, keys, values], gradients);
    }
}

/// Attention whose output carries the log-sum-exp of its scores as one more channel.
#[derive(Debug)]
pub(super) struct PackedAttentionBackward;

impl<B: PerceiverOps> Backward<B, 3> for PackedAttentionBackward {
    type State = State<B>;

    /// The gradient of the log-sum-exp, times a probability, is added to the gradient of each score.
    /// A channel whose values are all 0 and whose output is −1 adds it through the balance alone.
    fn backward(self, node: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let packed_gradient = gradients.consume::<B>(&node.node);
        let parents = node.parents.map(|parent| Some(parent?.id));
        let (input, attended) = node.state;
        let channels = input.values.shape()[3];
        let input = AttentionInput { values: with_channel::<B>(input.values, 0.0), ..input };
        let attended =
            AttentionOutput { output: with_channel::<B>(attended.output, -1.0), ..attended };
        let AttentionGradients { queries, keys, values } =
            B::attention_backward(input, attended, packed_gradient);
        let values = slice::<B>(&values, 3, 0, channels);
        register::<B>(parents, vec![queries, keys, values], gradients);
    }
}

/// An array with one more channel, which is `number` everywhere.
fn with_channel<B: Backend>(array: FloatTensor<B>, number: f64) -> FloatTensor<B> {
    let mut shape = array.shape();
    shape[3] = 1;
    let channel = B::float_full(shape, number.into(), &array.device(), array.dtype().into());
    cat::<B>(vec![array, channel], 3)
}
