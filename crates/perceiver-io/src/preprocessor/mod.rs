//! Turn raw inputs into tokens.

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
pub use image::{ImageInput, ImagePreparation, ImagePreprocessor, ImagePreprocessorConfig, Pixels};
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

    /// Channels of its tokens.
    fn channels(&self) -> usize;

    /// The tokens of an input.
    fn forward(&self, input: Self::Input) -> Preprocessed;
}

/// The tokens of an input, and their content without positions and padding.
///
/// # Source
/// The triple that every preprocessor of the reference returns; its `modality_sizes` are the tokens of
/// each segment.
#[derive(Debug, Clone)]
pub struct Preprocessed {
    /// The tokens, one segment per modality.
    pub tokens: TokenArray,
    /// The content of each segment (`inputs_without_pos`).
    pub without_positions: Vec<Content>,
}

impl Preprocessed {
    /// Tokens without positions.
    ///
    /// # Shapes
    /// - `content`: `[batch, tokens, content_channels]`
    #[must_use]
    pub fn from_content(content: Tensor<3>) -> Self {
        Self { tokens: TokenArray::dense(content.clone()), without_positions: vec![content.into()] }
    }

    /// Tokens whose positions differ from example to example, such as the points of a cloud.
    ///
    /// # Shapes
    /// - `content`: `[batch, tokens, content_channels]`
    /// - `positions`: `[batch, tokens, position_channels]`
    ///
    /// # Panics
    /// If the two differ in batch or tokens.
    #[must_use]
    pub fn with_positions(content: Tensor<3>, positions: Tensor<3>) -> Self {
        let ([batch, tokens, _], found) = (content.dims(), positions.dims());
        assert!(
            found[..2] == [batch, tokens],
            "positions are of {} examples of {} tokens, content is of {batch} of {tokens}",
            found[0],
            found[1]
        );
        let tokens = Tensor::cat(vec![content.clone(), positions], 2);
        Self { tokens: TokenArray::dense(tokens), without_positions: vec![content.into()] }
    }

    /// Tokens whose positions are the same in every example, such as the pixels of an image.
    /// Attention reads the positions of a grid axis by axis.
    ///
    /// # Shapes
    /// - `content`: `[batch, tokens, content_channels]`
    ///
    /// # Panics
    /// If there are more or fewer positions than tokens.
    #[must_use]
    pub fn with_shared_positions(content: impl Into<Content>, positions: Positions) -> Self {
        let content = content.into();
        let segment = Segment::from_content(content.clone()).with_positions(positions);
        Self { tokens: TokenArray::new(vec![segment]), without_positions: vec![content] }
    }

    /// Content and positions, combined into tokens.
    pub(crate) fn combine(
        content: impl Into<Content>,
        positions: Positions,
        combination: Combination,
    ) -> Self {
        match combination {
            Combination::Concat => Self::with_shared_positions(content, positions),
            Combination::Add => {
                let content = content.into();
                let tokens = content.to_dense() + positions.to_table().unsqueeze::<3>();
                Self { tokens: TokenArray::dense(tokens), without_positions: vec![content] }
            }
        }
    }

    /// `[batch, tokens, token_channels]`.
    #[must_use]
    pub fn dims(&self) -> [usize; 3] {
        self.tokens.dims()
    }
}
