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
        let (expected, found) = (content.dims(), positions.dims());
        assert!(
            found[..2] == expected[..2],
            "positions of shape {found:?} do not fit content of shape {expected:?}"
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

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Device, TensorData};
    use perceiver_core::{Axis, Grid};

    use super::*;

    fn tensor<const D: usize, const N: usize>(numbers: [f32; N], shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(numbers.to_vec(), shape), &Device::flex())
    }

    #[test]
    fn positions_follow_the_content_of_their_own_example() {
        let content = tensor([1.0, 2.0, 3.0, 4.0], [2, 2, 1]);
        let positions = tensor([0.1, 0.2, 0.3, 0.4], [2, 2, 1]);
        let made = Preprocessed::with_positions(content.clone(), positions);
        let expected = [[[1.0, 0.1], [2.0, 0.2]], [[3.0, 0.3], [4.0, 0.4]]];
        made.tokens.to_dense().into_data().assert_eq(&TensorData::from(expected), false);
        let found = made.without_positions[0].to_dense().into_data();
        found.assert_eq(&content.into_data(), true);
    }

    #[test]
    fn shared_positions_stay_on_their_grid() {
        let axis = Axis { table: tensor([0.1, 0.2], [2, 1]), channels: vec![0] };
        let positions = Positions::Grid(Grid { axes: vec![axis], points: None });
        let content = tensor([1.0, 2.0, 3.0, 4.0], [2, 2, 1]);
        let made = Preprocessed::with_shared_positions(content, positions);
        assert!(matches!(made.tokens.segments()[0].positions(), Some(Positions::Grid(_))));
        let expected = [[[1.0, 0.1], [2.0, 0.2]], [[3.0, 0.1], [4.0, 0.2]]];
        made.tokens.to_dense().into_data().assert_eq(&TensorData::from(expected), false);
    }

    #[test]
    #[should_panic(expected = "positions of shape [1, 3, 1] do not fit content of shape [2, 2, 1]")]
    fn positions_of_more_tokens_than_the_content_are_refused() {
        let content = tensor([1.0, 2.0, 3.0, 4.0], [2, 2, 1]);
        let _ = Preprocessed::with_positions(content, tensor([0.1, 0.2, 0.3], [1, 3, 1]));
    }
}
