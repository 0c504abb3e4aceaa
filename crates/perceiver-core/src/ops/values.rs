//! Arguments and results of the operations, in a backend's own tensors.
//!
//! A caller fills the inputs with the tensors of burn's `Dispatch`: `tensor.into_dispatch()`.

use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, ExtensionType};
use burn::tensor::{Int, Tensor};

use crate::KeyMask;

/// Arguments of [`attention`](super::attention()).
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "_cube"))]
pub struct AttentionInput<B: Backend> {
    /// `[batch, heads, queries, qk_channels]`.
    pub queries: FloatTensor<B>,
    /// `[batch, heads, keys, qk_channels]`.
    pub keys: FloatTensor<B>,
    /// `[batch, heads, keys, v_channels]`.
    pub values: FloatTensor<B>,
    /// Keys that no query attends to.
    #[extension_type]
    pub hidden: HiddenKeys<B>,
    /// Factor of every score.
    pub scale: f64,
}

/// Attended values and the normaliser of their weights.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "_cube"))]
pub struct AttentionOutput<B: Backend> {
    /// `[batch, heads, queries, v_channels]`.
    pub output: FloatTensor<B>,
    /// Log-sum-exp of each query's scores, `[batch, heads, queries, 1]`.
    pub log_sum_exp: FloatTensor<B>,
}

/// Gradients of [`AttentionInput`], shaped like its fields.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "_cube"))]
pub struct AttentionGradients<B: Backend> {
    /// `[batch, heads, queries, qk_channels]`.
    pub queries: FloatTensor<B>,
    /// `[batch, heads, keys, qk_channels]`.
    pub keys: FloatTensor<B>,
    /// `[batch, heads, keys, v_channels]`.
    pub values: FloatTensor<B>,
}

/// Tokens on a grid, the last axis varying fastest, with the content that is each token's own. Whatever
/// depends on the place along one axis enters an operation through `axis_scores`.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "_cube"))]
pub struct FactoredTokens<B: Backend> {
    /// `[batch, tokens, content_channels]`, at least one channel.
    pub content: FloatTensor<B>,
    /// `[batch, tokens]`.
    pub scale: FloatTensor<B>,
    /// Length of every axis, slowest first. Their sum is `axes` in the shapes of other arrays.
    pub grid: Vec<usize>,
}

/// Arguments of [`gather_attend`](super::gather_attend).
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "_cube"))]
pub struct GatherInput<B: Backend> {
    /// `[batch, heads, queries, content_channels]`.
    pub content_queries: FloatTensor<B>,
    /// Term of a query's score for each place on an axis, axis after axis:
    /// `[batch, heads, queries, axes]`.
    pub axis_scores: FloatTensor<B>,
    /// Keys and values; every cell of the grid is a token.
    #[extension_type]
    pub tokens: FactoredTokens<B>,
    /// Tokens that no query attends to.
    #[extension_type]
    pub hidden: HiddenKeys<B>,
}

/// Gradients of [`GatherInput`], shaped like its fields.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "_cube"))]
pub struct GatherGradients<B: Backend> {
    /// `[batch, heads, queries, content_channels]`.
    pub content_queries: FloatTensor<B>,
    /// `[batch, heads, queries, axes]`.
    pub axis_scores: FloatTensor<B>,
    /// Gradients of the tokens, if requested.
    #[extension_type]
    pub tokens: TokenGradients<B>,
}

/// Arguments of [`scatter_attend`](super::scatter_attend).
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "_cube"))]
pub struct ScatterInput<B: Backend> {
    /// Queries.
    #[extension_type]
    pub tokens: FactoredTokens<B>,
    /// Cells of the grid that are queries.
    #[extension_type]
    pub points: GridPoints<B>,
    /// `[batch, heads, keys, content_channels]`.
    pub content_keys: FloatTensor<B>,
    /// Term of a key's score for each place on an axis, axis after axis:
    /// `[batch, heads, keys, axes]`.
    pub axis_scores: FloatTensor<B>,
    /// Added to every score of a key, `[batch, heads, keys]`.
    pub key_bias: FloatTensor<B>,
    /// `[batch, heads, keys, v_channels]`.
    pub values: FloatTensor<B>,
}

/// Gradients of [`ScatterInput`], shaped like its fields.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "_cube"))]
pub struct ScatterGradients<B: Backend> {
    /// `[batch, heads, keys, content_channels]`.
    pub content_keys: FloatTensor<B>,
    /// `[batch, heads, keys, axes]`.
    pub axis_scores: FloatTensor<B>,
    /// `[batch, heads, keys]`.
    pub key_bias: FloatTensor<B>,
    /// `[batch, heads, keys, v_channels]`.
    pub values: FloatTensor<B>,
    /// Gradients of the tokens, if requested.
    #[extension_type]
    pub tokens: TokenGradients<B>,
}

/// Keys hidden from attention.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "_cube"))]
pub enum HiddenKeys<B: Backend> {
    /// Every key is visible.
    None,
    /// `[batch, keys]`, `true` where hidden.
    Some(BoolTensor<B>),
}

/// Cells of a grid that are tokens.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "_cube"))]
pub enum GridPoints<B: Backend> {
    /// Every cell, in row-major order.
    All,
    /// `[tokens]`, flat row-major indices.
    Some(IntTensor<B>),
}

/// Gradients of factored tokens.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "_cube"))]
pub enum TokenGradients<B: Backend> {
    /// Not requested.
    None,
    /// Shaped like the fields of [`FactoredTokens`].
    Some {
        /// `[batch, tokens, content_channels]`.
        content: FloatTensor<B>,
        /// `[batch, tokens]`.
        scale: FloatTensor<B>,
    },
}

impl AttentionInput<Dispatch> {
    /// Attention to every key, with scores divided by the square root of `qk_channels`.
    ///
    /// # Shapes
    /// - `queries`: `[batch, heads, queries, qk_channels]`
    /// - `keys`: `[batch, heads, keys, qk_channels]`
    /// - `values`: `[batch, heads, keys, v_channels]`
    #[must_use]
    pub fn new(queries: Tensor<4>, keys: Tensor<4>, values: Tensor<4>) -> Self {
        let [_, _, _, qk_channels] = queries.dims();
        Self {
            queries: queries.into_dispatch(),
            keys: keys.into_dispatch(),
            values: values.into_dispatch(),
            hidden: HiddenKeys::None,
            scale: 1.0 / (qk_channels as f64).sqrt(),
        }
    }

    /// Hides the keys that the mask hides.
    ///
    /// # Shapes
    /// - `mask`: `[batch, keys]`
    #[must_use]
    pub fn mask(self, mask: Option<&KeyMask>) -> Self {
        Self { hidden: mask.into(), ..self }
    }

    /// Multiplies scores by this number.
    #[must_use]
    pub fn scale(self, scale: f64) -> Self {
        Self { scale, ..self }
    }
}

impl From<Option<&KeyMask>> for HiddenKeys<Dispatch> {
    fn from(mask: Option<&KeyMask>) -> Self {
        mask.map_or(Self::None, |mask| Self::Some(mask.hidden().into_dispatch()))
    }
}

impl From<Option<Tensor<1, Int>>> for GridPoints<Dispatch> {
    fn from(points: Option<Tensor<1, Int>>) -> Self {
        points.map_or(Self::All, |points| Self::Some(points.into_dispatch()))
    }
}
