//! What the operations take and return besides tensors and numbers.

use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, ExtensionType};

/// Keys hidden from attention, as the operations take them.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "_cube"))]
pub enum HiddenKeys<B: Backend> {
    /// None is hidden.
    None,
    /// `[batch, keys]`, `true` where hidden.
    Some(BoolTensor<B>),
}

/// Cells of a grid that are tokens, as the operations take them.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "_cube"))]
pub enum GridPoints<B: Backend> {
    /// Every cell, in row-major order.
    All,
    /// `[tokens]`, flat row-major indices.
    Some(IntTensor<B>),
}

/// Gradients of factored tokens, where anything they were made from is trained.
#[derive(ExtensionType, Clone, Debug)]
#[extension_type(fusion: cfg(feature = "_cube"))]
pub enum TokenGradients<B: Backend> {
    /// Not asked for.
    None,
    /// Shaped as the tokens are.
    Some {
        /// `[batch, tokens, content_channels]`
        content: FloatTensor<B>,
        /// `[batch, tokens]`
        token_scale: FloatTensor<B>,
    },
}
