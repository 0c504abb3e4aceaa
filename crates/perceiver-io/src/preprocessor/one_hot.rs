use burn::module::Module;
use burn::tensor::{Tensor, assert_shape};

use super::{Preprocessed, Preprocessor};

/// Makes one token of a vector of label scores.
///
/// # Source
/// `PerceiverOneHotPreprocessor`.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverOneHotPreprocessor")]
pub struct OneHotPreprocessor {
    labels: usize,
}

impl OneHotPreprocessor {
    /// For `labels` classes.
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
    /// If the input has another number of labels.
    fn forward(&self, scores: Tensor<2>) -> Preprocessed {
        assert_shape!(scores, [_, self.labels]);
        Preprocessed::from_content(scores.unsqueeze_dim(1))
    }
}
