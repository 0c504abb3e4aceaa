//! Gradients of the three operations, from probabilities computed again block by block.
//!
//! Only inputs, output and log-sum-exp are kept from the forward pass; a block's probabilities are
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

/// Examples that hide every key. They attend to all keys evenly whatever the scores are, and these
/// get no gradient.
///
/// A log-sum-exp as large as theirs has no digits left for the number of keys, so that number is
/// taken from the mask: their probabilities come out as one instead of its inverse, and the output's
/// gradient is divided in their place.
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

    /// The log-sum-exp whose difference from a hidden score is exactly zero.
    fn log_sum_exp(&self, tensor: FloatTensor<B>) -> FloatTensor<B> {
        let lowest = lowest_finite(tensor.dtype());
        B::float_mask_fill(tensor.clone(), self.like(&tensor), lowest.into())
    }

    /// The output's gradient as each key's share of it.
    fn share(&self, gradient: FloatTensor<B>) -> FloatTensor<B> {
        let shared = B::float_div_scalar(gradient.clone(), (self.keys as f64).into());
        B::float_mask_where(gradient.clone(), self.like(&gradient), shared)
    }

    /// Zero, where scores are to get no gradient.
    fn silence(&self, tensor: FloatTensor<B>) -> FloatTensor<B> {
        B::float_mask_fill(tensor.clone(), self.like(&tensor), 0.0.into())
    }

    fn like(&self, tensor: &FloatTensor<B>) -> BoolTensor<B> {
        B::bool_expand(self.examples.clone(), tensor.shape())
    }
}

impl<B: Backend> TokenGradients<B> {
    /// From blocks `[batch, block, content_channels]` and `[batch, 1, 1, block]`, if there are any.
    fn from_blocks(content: Vec<FloatTensor<B>>, token_scale: Vec<FloatTensor<B>>) -> Self {
        if content.is_empty() {
            return Self::None;
        }
        let content = cat::<B>(content, 1);
        let [batch, tokens, _] = content.shape().dims::<3>();
        let token_scale = B::float_reshape(cat::<B>(token_scale, 3), Shape::new([batch, tokens]));
        Self::Some { content, token_scale }
    }
}

/// `Σ gradient · output` of each row: what every one of its score gradients is measured from.
fn balance<B: Backend>(gradient: FloatTensor<B>, output: FloatTensor<B>) -> FloatTensor<B> {
    B::float_sum_dim(B::float_mul(gradient, output), 3)
}

/// Adds to a sum that may not have begun.
fn add_to<B: Backend>(sum: &mut Option<FloatTensor<B>>, term: FloatTensor<B>) {
    *sum = Some(match sum.take() {
        Some(sum) => B::float_add(sum, term),
        None => term,
    });
}
