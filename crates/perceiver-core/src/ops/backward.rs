//! Gradients of the three kinds of attention, which recompute probabilities block by block.
//!
//! The forward pass keeps only inputs, output and log-sum-exp; the probabilities of a block are
//! `exp(score − log-sum-exp)`. `docs/structured-attention.md` has the mathematics.

pub(super) mod attention;
pub(super) mod gather;
pub(super) mod scatter;

use burn::backend::tensor::{BoolTensor, FloatTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

use super::attention::cat;
use super::blocks::lowest_finite;
use super::{HiddenKeys, TokenGradients};

/// Examples whose keys are all hidden. They attend to all keys equally, whatever the scores are, so
/// the scores get no gradient.
///
/// Their log-sum-exp is too large to have digits left for the number of keys. Their probabilities
/// therefore come out as one, and the gradient of the output is divided by the number of keys, taken
/// from the mask, instead.
struct Blind<B: Backend> {
    /// `[batch, 1, 1, 1]`
    examples: BoolTensor<B>,
    keys: usize,
}

impl<B: Backend> Blind<B> {
    fn new(hidden: &HiddenKeys<B>) -> Option<Self> {
        let HiddenKeys::Some(hidden) = hidden else { return None };
        let [batch, keys] = hidden.shape().dims::<2>();
        let examples = B::bool_all_dim(hidden.clone(), 1);
        Some(Self { examples: B::bool_reshape(examples, Shape::new([batch, 1, 1, 1])), keys })
    }

    /// The log-sum-exp that makes the difference to a hidden score exactly zero.
    fn log_sum_exp(&self, tensor: FloatTensor<B>) -> FloatTensor<B> {
        let lowest = lowest_finite(tensor.dtype());
        B::float_mask_fill(tensor.clone(), self.like(&tensor), lowest.into())
    }

    /// The gradient of the output, divided among the keys.
    fn share(&self, gradient: FloatTensor<B>) -> FloatTensor<B> {
        let shared = B::float_div_scalar(gradient.clone(), (self.keys as f64).into());
        B::float_mask_where(gradient.clone(), self.like(&gradient), shared)
    }

    /// Zero where scores get no gradient.
    fn silence(&self, tensor: FloatTensor<B>) -> FloatTensor<B> {
        B::float_mask_fill(tensor.clone(), self.like(&tensor), 0.0.into())
    }

    fn like(&self, tensor: &FloatTensor<B>) -> BoolTensor<B> {
        B::bool_expand(self.examples.clone(), tensor.shape())
    }
}

impl<B: Backend> TokenGradients<B> {
    /// Joins blocks `[batch, block, content_channels]` and `[batch, 1, 1, block]`, if there are any.
    fn from_blocks(content: Vec<FloatTensor<B>>, scale: Vec<FloatTensor<B>>) -> Self {
        if content.is_empty() {
            return Self::None;
        }
        let content = cat::<B>(content, 1);
        let [batch, tokens, _] = content.shape().dims::<3>();
        let scale = B::float_reshape(cat::<B>(scale, 3), Shape::new([batch, tokens]));
        Self::Some { content, scale }
    }
}

/// `Σ gradient · output` of each row, which is subtracted from the gradient of each probability.
fn balance<B: Backend>(gradient: FloatTensor<B>, output: FloatTensor<B>) -> FloatTensor<B> {
    B::float_sum_dim(B::float_mul(gradient, output), 3)
}

/// Adds a term to a sum, or starts the sum with it.
fn add_to<B: Backend>(sum: &mut Option<FloatTensor<B>>, term: FloatTensor<B>) {
    *sum = Some(match sum.take() {
        Some(sum) => B::float_add(sum, term),
        None => term,
    });
}
