//! Turn latents into outputs.

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

/// Queries the latents, once per output element.
///
/// Making queries is separate from decoding, so that one encoding can be decoded many times, at
/// different points.
///
/// # Source
/// Perceiver IO section 3.2; `PerceiverAbstractDecoder`.
pub trait Decoder: Module + ModuleDisplay + Debug {
    /// Selects output elements, if the decoder can decode some of them.
    type Points: Clone + Default + Debug;
    /// The queries.
    type Queries;
    /// The answers.
    type Output;

    /// The queries for an input (`decoder_query`).
    fn queries(&self, inputs: &Preprocessed, points: &Self::Points) -> Self::Queries;

    /// The number of queries per modality, by which a postprocessor splits the answers.
    fn sizes(&self, queries: &Self::Queries) -> Vec<usize>;

    /// The answers to queries, and attention maps if `attentions`.
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

/// The result of a decoder.
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
