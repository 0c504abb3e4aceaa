use burn::module::Module;
use burn::nn::Embedding;
use burn::tensor::{Device, Int, Tensor, assert_shape};
use perceiver_core::{Initialisation, TokenArray};

use super::{Preprocessed, Preprocessor};

/// Sizes of a [`TextPreprocessor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextPreprocessorConfig {
    /// Token ids.
    pub vocabulary: usize,
    /// Tokens of the longest text.
    pub max_positions: usize,
    /// Channels of an embedding, and of a token.
    pub channels: usize,
}

/// Embeds token ids and adds learned positions.
///
/// # Source
/// Perceiver IO section 4.1; `PerceiverTextPreprocessor`.
#[derive(Module, Debug)]
#[doc(alias = "PerceiverTextPreprocessor")]
pub struct TextPreprocessor {
    embeddings: Embedding,
    position_embeddings: Embedding,
}

impl TextPreprocessorConfig {
    /// Channels of the tokens.
    #[must_use]
    pub const fn channels(&self) -> usize {
        self.channels
    }

    /// Fresh parameters.
    #[must_use]
    pub fn init(&self, init: Initialisation, device: &Device) -> TextPreprocessor {
        TextPreprocessor {
            embeddings: init.embedding(self.vocabulary, self.channels, device),
            position_embeddings: init.embedding(self.max_positions, self.channels, device),
        }
    }
}

impl TextPreprocessor {
    /// The embedding table, `[vocabulary, channels]`, which the masked language model shares with its
    /// output.
    #[must_use]
    pub fn embedding_table(&self) -> Tensor<2> {
        self.embeddings.weight.val()
    }
}

impl Preprocessor for TextPreprocessor {
    /// Token ids, `[batch, tokens]`.
    type Input = Tensor<2, Int>;

    fn channels(&self) -> usize {
        self.embeddings.weight.dims()[1]
    }

    /// # Panics
    /// If there are more tokens than positions.
    fn forward(&self, ids: Tensor<2, Int>) -> Preprocessed {
        let [_, tokens] = ids.dims();
        let [max_positions, channels] = self.position_embeddings.weight.dims();
        assert!(tokens <= max_positions, "{tokens} tokens exceed {max_positions} positions");
        let content = self.embeddings.forward(ids);
        let positions = self.position_embeddings.weight.val().narrow(0, 0, tokens);
        assert_shape!(positions, [tokens, channels]);
        Preprocessed {
            tokens: TokenArray::dense(content.clone() + positions.unsqueeze::<3>()),
            without_positions: vec![content.into()],
        }
    }
}
