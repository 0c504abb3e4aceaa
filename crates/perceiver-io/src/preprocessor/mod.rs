//! Raw inputs become tokens.

mod audio;
mod image;
mod multimodal;
mod one_hot;
mod text;

use std::fmt::Debug;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use perceiver_core::{Content, Positions, Segment, TokenArray};

pub use audio::{AudioPreprocessor, AudioPreprocessorConfig};
pub use image::{Frames, ImageInput, ImagePreparation, ImagePreprocessor, ImagePreprocessorConfig};
pub use multimodal::{MultimodalInput, MultimodalPreprocessor, MultimodalPreprocessorConfig};
pub use one_hot::OneHotPreprocessor;
pub use text::{TextPreprocessor, TextPreprocessorConfig};

use crate::Combination;

/// Turns one kind of raw input into tokens.
///
/// # Source
/// `AbstractPreprocessor`.
pub trait Preprocessor: Module + ModuleDisplay + Debug {
    /// The raw input.
    type Input;

    /// Channels of the tokens it makes.
    fn channels(&self) -> usize;

    /// The tokens of an input.
    fn forward(&self, input: Self::Input) -> Preprocessed;
}

/// Tokens, and what they were before positions and padding joined them.
///
/// # Source
/// The triple every reference preprocessor returns; its `modality_sizes` are the tokens of each
/// segment.
#[derive(Debug, Clone)]
pub struct Preprocessed {
    /// One segment a modality.
    pub tokens: TokenArray,
    /// Each segment without positions (`inputs_without_pos`).
    pub without_positions: Vec<Content>,
}

impl Preprocessed {
    /// Tokens that came without positions.
    #[must_use]
    pub fn from_content(content: Tensor<3>) -> Self {
        Self { tokens: TokenArray::dense(content.clone()), without_positions: vec![content.into()] }
    }

    /// Content joined by its positions.
    pub(crate) fn combine(
        content: impl Into<Content>,
        positions: Positions,
        combination: Combination,
    ) -> Self {
        let content = content.into();
        let segment = match combination {
            Combination::Concat => Segment::from_content(content.clone()).with_positions(positions),
            Combination::Add => {
                Segment::from_content(content.to_dense() + positions.to_table().unsqueeze::<3>())
            }
        };
        Self { tokens: TokenArray::new(vec![segment]), without_positions: vec![content] }
    }

    /// `[batch, tokens, token_channels]`.
    #[must_use]
    pub fn dims(&self) -> [usize; 3] {
        self.tokens.dims()
    }
}
