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
use crate::ops::{HiddenKeys, PerceiverOps};

/// Attends to keys by queries, and gives what `result` makes of it, whose gradient is `backward`'s.
pub(super) fn attend<B: PerceiverOps, C: CheckpointStrategy>(
    backward: impl Backward<B, 3, State = AttentionState<B>>,
    [queries, keys, values]: [FloatTensor<Autodiff<B, C>>; 3],
    hidden: HiddenKeys<Autodiff<B, C>>,
    scale: f64,
    result: impl FnOnce(&AttentionState<B>) -> FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    let hidden = hidden.untracked();
    let (queries, of_queries) = queries.into_parts();
    let (keys, of_keys) = keys.into_parts();
    let (values, of_values) = values.into_parts();
    let (output, log_sum_exp) =
        B::attention_forward(queries.clone(), keys.clone(), values.clone(), hidden.clone(), scale);
    let state = AttentionState { queries, keys, values, output, log_sum_exp, hidden, scale };
    let result = result(&state);
    let nodes = [of_queries, of_keys, of_values];
    match backward.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::UnTracked(node) => node.finish(result),
        OpsKind::Tracked(node) => node.finish(state, result),
    }
}

#[derive(Debug)]
pub(super) struct AttentionBackward;

#[derive(Clone, Debug)]
pub(super) struct AttentionState<B: Backend> {
    queries: FloatTensor<B>,
    keys: FloatTensor<B>,
    values: FloatTensor<B>,
    pub(super) output: FloatTensor<B>,
    pub(super) log_sum_exp: FloatTensor<B>,
    hidden: HiddenKeys<B>,
    scale: f64,
}

impl<B: PerceiverOps> Backward<B, 3> for AttentionBackward {
    type State = AttentionState<B>;

    fn backward(self, node: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let of_output = gradients.consume::<B>(&node.node);
        let parents = node.parents.map(|parent| Some(parent?.id));
        let (queries, keys, values) = node.state.backward(of_output);
        register::<B>(parents, vec![queries, keys, values], gradients);
    }
}

/// Attention whose output has the log-sum-exp of its scores beside it, as one more channel.
#[derive(Debug)]
pub(super) struct PackedAttentionBackward;

impl<B: PerceiverOps> Backward<B, 3> for PackedAttentionBackward {
    type State = AttentionState<B>;

    /// The log-sum-exp's gradient, times a probability, is added to that of each score. As a channel
    /// of which every value is 0 and the output −1, it takes its way through the balance alone.
    fn backward(self, node: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let of_packed = gradients.consume::<B>(&node.node);
        let parents = node.parents.map(|parent| Some(parent?.id));
        let state = node.state;
        let channels = state.values.shape()[3];
        let state = AttentionState {
            values: with_channel::<B>(state.values, 0.0),
            output: with_channel::<B>(state.output, -1.0),
            ..state
        };
        let (queries, keys, values) = state.backward(of_packed);
        let values = slice::<B>(&values, 3, 0, channels);
        register::<B>(parents, vec![queries, keys, values], gradients);
    }
}

impl<B: PerceiverOps> AttentionState<B> {
    /// Gradients of queries, keys and values.
    fn backward(
        self,
        of_output: FloatTensor<B>,
    ) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
        B::attention_backward(
            self.queries,
            self.keys,
            self.values,
            self.output,
            self.log_sum_exp,
            of_output,
            self.hidden,
            self.scale,
        )
    }
}

/// An array with one more channel, the same number everywhere.
fn with_channel<B: Backend>(array: FloatTensor<B>, number: f64) -> FloatTensor<B> {
    let mut shape = array.shape();
    shape[3] = 1;
    let channel = B::float_full(shape, number.into(), &array.device(), array.dtype().into());
    cat::<B>(vec![array, channel], 3)
}
