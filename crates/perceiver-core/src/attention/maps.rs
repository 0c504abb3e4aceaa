use burn::tensor::Tensor;

use super::{expand_batch, split_heads};
use crate::attention::CrossAttention;
use crate::{KeyMask, TokenArray, ops};

/// Probabilities per block: 16 MiB in single precision.
const BLOCK: usize = 1 << 22;

/// The attention probabilities of a cross-attention, block by block.
///
/// Each item is `[batch, heads, queries, keys]` for the next queries; each of its rows sums to one.
/// Apart from the queries themselves, memory does not grow with their number.
///
/// # Panics
/// When iterated, if the mask is not `[batch, keys]`.
#[derive(Debug, Clone)]
pub struct AttentionMaps {
    /// `[batch, heads, queries, qk_channels]`
    queries: Tensor<4>,
    /// `[batch, heads, keys, qk_channels]`
    keys: Tensor<4>,
    mask: Option<KeyMask>,
    scale: f64,
    /// Queries per block.
    block: usize,
    start: usize,
}

impl CrossAttention {
    /// The attention probabilities of `queries` over `inputs`.
    ///
    /// # Shapes
    /// - `queries`: `[batch, queries, query_channels]`
    /// - `inputs`: `[batch, keys, input_channels]`
    /// - `mask`: `[batch, keys]`
    ///
    /// # Panics
    /// If queries or inputs have other channels than the attention, differ in batch, or there are no
    /// inputs.
    #[must_use]
    pub fn maps(
        &self,
        queries: &TokenArray,
        inputs: &TokenArray,
        mask: Option<&KeyMask>,
    ) -> AttentionMaps {
        self.assert_fits(queries.dims(), inputs.dims());
        let projections = &self.projections;
        let [batch, keys, _] = inputs.dims();
        let block = (BLOCK / (batch * projections.heads * keys).max(1)).max(1);
        // Queries that all examples share are projected once.
        let projected = ops::layer_norm(&projections.layernorm1, queries.distinct().to_dense());
        let projected = expand_batch(ops::linear(&projections.query, projected), batch);
        let inputs = ops::layer_norm(&projections.layernorm2, inputs.to_dense());
        AttentionMaps {
            queries: split_heads(projected, projections.heads),
            keys: split_heads(ops::linear(&projections.key, inputs), projections.heads),
            mask: mask.cloned(),
            scale: self.scale(),
            block,
            start: 0,
        }
    }
}

impl AttentionMaps {
    /// `[batch, heads, queries, keys]` of all blocks together.
    #[must_use]
    pub fn dims(&self) -> [usize; 4] {
        let [batch, heads, queries, _] = self.queries.dims();
        [batch, heads, queries, self.keys.dims()[2]]
    }
}

impl Iterator for AttentionMaps {
    type Item = Tensor<4>;

    fn next(&mut self) -> Option<Tensor<4>> {
        let [_, _, queries, _] = self.dims();
        let count = self.block.min(queries - self.start);
        if count == 0 {
            return None;
        }
        let block = self.queries.clone().narrow(2, self.start, count);
        self.start += count;
        let keys = self.keys.clone();
        Some(ops::attention_probabilities(block, keys, self.mask.as_ref(), self.scale))
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Device, Distribution, TensorData};

    use super::*;

    #[test]
    fn blocks_are_parts_of_the_whole() {
        let device = Device::flex();
        let random = |shape| Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let (queries, keys) = (random([2, 3, 5, 4]), random([2, 3, 7, 4]));
        let hidden = (0..14).map(|key| key % 7 == 3).collect();
        let hidden = Tensor::from_data(TensorData::new::<bool, _>(hidden, [2, 7]), &device);
        let mask = Some(KeyMask::from_hidden(hidden));
        let whole = ops::attention_probabilities(queries.clone(), keys.clone(), mask.as_ref(), 0.5);
        let maps = AttentionMaps { queries, keys, mask, scale: 0.5, block: 2, start: 0 };
        assert_eq!(maps.dims(), [2, 3, 5, 7]);
        let blocks: Vec<_> = maps.collect();
        assert_eq!(blocks.len(), 3);
        Tensor::cat(blocks, 2).into_data().assert_eq(&whole.into_data(), true);
    }
}
