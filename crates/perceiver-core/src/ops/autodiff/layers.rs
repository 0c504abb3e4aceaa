//! Gradients of the layers between attentions.

use burn::backend::Backend;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::tensor::FloatTensor;

use super::register;
use crate::ops::PerceiverOps;

#[derive(Debug)]
pub(super) struct GeluBackward;

impl<B: PerceiverOps> Backward<B, 1> for GeluBackward {
    /// The argument of the GELU.
    type State = FloatTensor<B>;

    fn backward(self, node: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let output_gradient = gradients.consume::<B>(&node.node);
        let parents = node.parents.map(|parent| Some(parent?.id));
        register::<B>(
            parents,
            vec![B::exact_gelu_backward(node.state, output_gradient)],
            gradients,
        );
    }
}

#[derive(Debug)]
pub(super) struct AffineBackward;

/// The arrays that the gradients of the tracked parents need.
#[derive(Clone, Debug)]
pub(super) struct AffineState<B: Backend> {
    pub(super) x: Option<FloatTensor<B>>,
    pub(super) weight: Option<FloatTensor<B>>,
}

impl<B: PerceiverOps> Backward<B, 3> for AffineBackward {
    type State = AffineState<B>;

    fn backward(self, node: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let output_gradient = gradients.consume::<B>(&node.node);
        let [x_node, weight_node, bias_node] = node.parents.map(|parent| Some(parent?.id));
        if let Some(x) = node.state.x {
            let (weight, bias) = B::affine_parameters_backward(x, output_gradient.clone());
            register::<B>([weight_node, bias_node], vec![weight, bias], gradients);
        }
        if let Some(weight) = node.state.weight {
            register::<B>(
                [x_node],
                vec![B::affine_input_backward(weight, output_gradient)],
                gradients,
            );
        }
    }
}

#[derive(Debug)]
pub(super) struct NormaliseBackward;

#[derive(Clone, Debug)]
pub(super) struct NormaliseState<B: Backend> {
    pub(super) x: FloatTensor<B>,
    pub(super) gamma: FloatTensor<B>,
    pub(super) epsilon: f64,
}

impl<B: PerceiverOps> Backward<B, 3> for NormaliseBackward {
    type State = NormaliseState<B>;

    fn backward(self, node: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let output_gradient = gradients.consume::<B>(&node.node);
        let parents = node.parents.map(|parent| Some(parent?.id));
        let NormaliseState { x, gamma, epsilon } = node.state;
        let (x, gamma, beta) = B::normalise_backward(x, gamma, output_gradient, epsilon);
        register::<B>(parents, vec![x, gamma, beta], gradients);
    }
}
