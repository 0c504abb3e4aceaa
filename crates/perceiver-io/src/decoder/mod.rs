//! Latents become outputs.

mod basic;
mod classification;
mod flow;
mod multimodal;
mod projection;
mod video;

use std::fmt::Debug;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

pub use basic::{BasicDecoder, BasicDecoderConfig, QueryConfig};
pub use classification::{ClassificationDecoder, ClassificationDecoderConfig};
pub use flow::{OpticalFlowDecoder, OpticalFlowDecoderConfig};
pub use multimodal::{
    MultimodalDecoder, MultimodalDecoderConfig, MultimodalQueryConfig, OutputPoints,
    SubsampledPoints,
};
pub use projection::ProjectionDecoder;
pub use video::BasicVideoAutoencodingDecoder;

use crate::Preprocessed;

/// Asks the latents, one query per output element.
///
/// Queries are made apart from decoding so that one encoding can be decoded many times, at
/// different points.
///
/// # Source
/// Perceiver IO section 3.2; `PerceiverAbstractDecoder`.
pub trait Decoder: Module + ModuleDisplay + Debug {
    /// Which output elements are wanted, where there is a choice.
    type Points: Clone + Default + Debug;
    /// What is asked.
    type Queries;
    /// What comes back.
    type Output;

    /// The queries for an input (`decoder_query`).
    fn queries(&self, inputs: &Preprocessed, points: &Self::Points) -> Self::Queries;

    /// How many queries there are of each modality, for a postprocessor to split the answers by.
    fn sizes(&self, queries: &Self::Queries) -> Vec<usize>;

    /// The answers; attention maps on request.
    ///
    /// # Shapes
    /// - `latents`: `[batch, latents, latent_channels]`
    fn forward(
        &self,
        queries: &Self::Queries,
        latents: Tensor<3>,
        attentions: bool,
    ) -> Decoded<Self::Output>;
}

/// What a decoder returns.
///
/// # Source
/// `PerceiverDecoderOutput`.
#[derive(Debug, Clone)]
#[doc(alias = "PerceiverDecoderOutput")]
pub struct Decoded<T> {
    /// The answers.
    pub logits: T,
    /// Probabilities of the cross-attention, `[batch, heads, queries, latents]`.
    pub cross_attentions: Option<Tensor<4>>,
}

impl<T> Decoded<T> {
    fn map<U>(self, f: impl FnOnce(T) -> U) -> Decoded<U> {
        Decoded { logits: f(self.logits), cross_attentions: self.cross_attentions }
    }
}
