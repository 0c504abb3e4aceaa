/// How [`FillMask`](crate::FillMask) answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FillMaskOptions {
    /// Candidates for a span. 5 by default.
    pub top_k: usize,
    /// How many bytes a mask stands for. 1 by default.
    pub span: usize,
    /// The only texts to choose from, of any length, where there are some: each is given as many
    /// masks as it has bytes. Those with bytes that the model does not know are left out.
    pub words: Vec<String>,
    /// So many candidates, `top_k` at least, are scored again as wholes; 0, the default, for none.
    ///
    /// The model guesses masked bytes independently of each other, so that the best guess may mix
    /// two words. Here every byte is read with those before it filled in, at the cost of a pass
    /// for every beginning of a candidate.
    ///
    /// # Source
    /// PLL-word-l2r in "A Better Way to Do Masked Language Model Scoring", Kauf and Ivanova 2023.
    pub rescored: usize,
    /// Texts, or parts of them, that go through the model at once. 8 by default.
    pub batch: usize,
}

impl Default for FillMaskOptions {
    fn default() -> Self {
        Self { top_k: 5, span: 1, words: Vec::new(), rescored: 0, batch: 8 }
    }
}

impl FillMaskOptions {
    /// Sets how many candidates a span gets at most.
    #[must_use]
    pub fn with_top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k;
        self
    }

    /// Sets how many bytes a mask stands for; none counts as one.
    #[must_use]
    pub fn with_span(mut self, span: usize) -> Self {
        self.span = span;
        self
    }

    /// Sets the only texts to choose from.
    #[must_use]
    pub fn with_words<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words = words.into_iter().map(Into::into).collect();
        self
    }

    /// Sets how many candidates are scored again as wholes.
    #[must_use]
    pub fn with_rescored(mut self, rescored: usize) -> Self {
        self.rescored = rescored;
        self
    }

    /// Sets how many texts go through the model at once; none counts as one.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }
}
