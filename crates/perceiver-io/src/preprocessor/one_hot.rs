use burn::module::Module;
use burn::tensor::{Tensor, assert_shape};

use super::{Preprocessed, Preprocessor};

/// Turns a vector of label scores into one token.
///
/// # Source
/// `PerceiverOneHotPreprocessor`.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverOneHotPreprocessor")]
pub struct OneHotPreprocessor {
    labels: usize,
}

impl OneHotPreprocessor {
    /// A preprocessor for `labels` labels.
    #[must_use]
    pub const fn new(labels: usize) -> Self {
        Self { labels }
    }
}

impl Preprocessor for OneHotPreprocessor {
    /// `[batch, labels]`.
    type Input = Tensor<2>;

    fn channels(&self) -> usize {
        self.labels
    }

    /// # Panics
    /// If the input has more or fewer labels.
    fn forward(&self, scores: Tensor<2>) -> Preprocessed {
        assert_shape!(scores, [_, self.labels]);
        Preprocessed::from_content(scores.unsqueeze_dim(1))
    }
}
