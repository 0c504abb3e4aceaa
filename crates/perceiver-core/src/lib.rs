//! The Perceiver's core: attention between a small array of latents and a large array of tokens.
//!
//! A Perceiver reads any input through one cross-attention into a fixed number of latents, processes
//! them in a stack of self-attention layers, and (Perceiver IO) writes any output through one more
//! cross-attention, with one query per output element. This crate is independent of modalities:
//! images, text and sound are in `perceiver-io`.
//!
//! # Axis names
//!
//! Shapes in this workspace name their axes. These are the papers' letters for them:
//!
//! | name | meaning | paper |
//! |---|---|---|
//! | `batch` | examples | |
//! | `tokens` | input elements (pixels, bytes, patches) | M |
//! | `token_channels` | channels of a token, including its position | C |
//! | `latents` | latent vectors | N |
//! | `latent_channels` | channels of a latent | D |
//! | `queries` | output elements, one per decoder query | O |
//! | `heads` | attention heads | |
//!
//! Sources: Perceiver, arXiv 2103.03206; Perceiver IO, arXiv 2107.14795; Hugging Face
//! transformers 5.23, `models/perceiver`.

mod activation;
mod answers;
mod attention;
mod content;
mod encoder;
mod init;
#[cfg(all(feature = "_cube", feature = "persistence"))]
mod kernels;
mod latents;
mod layer;
mod linear_map;
mod mask;
mod memory;
mod mlp;
pub mod ops;
mod positions;
mod token_array;

pub use activation::Activation;
pub use answers::{AnswerBlock, AnswerStream};
pub use attention::{AttentionConfig, AttentionMaps, CrossAttention, SelfAttention};
pub use content::Content;
pub use encoder::{Encoder, EncoderConfig, EncoderOutput, Repeats};
pub use init::Initialisation;
#[cfg(all(feature = "_cube", feature = "persistence"))]
pub use kernels::keep_compiled_kernels;
pub use latents::Latents;
pub use layer::{CrossAttentionLayer, LayerConfig, SelfAttentionLayer};
pub use linear_map::LinearMap;
pub use mask::KeyMask;
pub use memory::keep_freed_memory;
pub use mlp::{Mlp, MlpConfig};
pub use positions::{Axis, Grid, Positions};
pub use token_array::{Segment, TokenArray};

/// Optional outputs of a forward pass.
///
/// Both cost memory: attention maps take the dense path, which materialises
/// `[batch, heads, queries, keys]` for every layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutputOptions {
    /// Return the latents before every self-attention layer and after every block.
    pub hidden_states: bool,
    /// Return the attention probabilities of every layer.
    pub attentions: bool,
}

/// The README's example, compiled.
#[cfg(all(doctest, feature = "flex"))]
#[doc = include_str!("../README.md")]
struct Readme;
