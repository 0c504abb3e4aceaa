use burn::tensor::{Device, Int, Tensor};

use crate::{Content, Positions};

/// An array of tokens, kept factored: channels that depend on one axis of a grid are stored once per
/// place on that axis, not once per token.
///
/// An optical flow pair has 182 528 tokens with 322 channels, of which 258 are Fourier positions that
/// depend only on the row or only on the column. Attention contracts them once per axis (see
/// `docs/structured-attention.md`), so preprocessors and decoders pass them on unexpanded.
/// [`to_dense`](Self::to_dense) writes them out.
///
/// # Source
/// The input byte array of Perceiver section 3; `[batch, tokens, token_channels]` in the reference.
#[derive(Debug, Clone)]
pub struct TokenArray {
    segments: Vec<Segment>,
}

/// Tokens of one modality. The channels of a token are `content ++ positions ++ padding`.
#[derive(Debug, Clone)]
pub struct Segment {
    batch: usize,
    tokens: usize,
    content: Option<Content>,
    positions: Option<Positions>,
    padding: Option<Tensor<1>>,
}

impl TokenArray {
    /// Concatenates segments along the tokens.
    ///
    /// # Panics
    /// If there is no segment, or two differ in batch or channels.
    #[must_use]
    pub fn new(segments: Vec<Segment>) -> Self {
        let first = segments.first().expect("a token array has at least one segment");
        for segment in &segments {
            let ([batch, channels], expected) = (segment.sizes(), first.sizes());
            assert!(
                [batch, channels] == expected,
                "segments differ: one has {} examples of {} channels, another {batch} of {channels}",
                expected[0],
                expected[1]
            );
        }
        Self { segments }
    }

    /// Tokens without known structure.
    ///
    /// # Shapes
    /// - `tokens`: `[batch, tokens, token_channels]`
    #[must_use]
    pub fn dense(tokens: Tensor<3>) -> Self {
        Self { segments: vec![Segment::from_content(tokens)] }
    }

    /// The segments in token order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// `[batch, tokens, token_channels]`.
    #[must_use]
    pub fn dims(&self) -> [usize; 3] {
        let tokens = self.segments.iter().map(Segment::tokens).sum();
        [self.segments[0].batch, tokens, self.segments[0].channels()]
    }

    /// The device of the tokens.
    #[must_use]
    pub fn device(&self) -> Device {
        self.segments[0].device()
    }

    /// One example if all are equal, because no segment has content; otherwise all.
    pub(crate) fn distinct(&self) -> Self {
        let segments = &self.segments;
        if segments.iter().any(|segment| segment.content.is_some()) {
            return self.clone();
        }
        Self { segments: segments.iter().cloned().map(Segment::distinct).collect() }
    }

    /// Every channel of every token written out, as in the reference.
    ///
    /// # Shapes
    /// - returns: `[batch, tokens, token_channels]`
    #[must_use]
    pub fn to_dense(&self) -> Tensor<3> {
        concat(self.segments.iter().map(Segment::to_dense).collect(), 1)
    }
}

impl Segment {
    /// Tokens of content only.
    ///
    /// # Shapes
    /// - `content`: `[batch, tokens, content_channels]`
    #[must_use]
    pub fn from_content(content: impl Into<Content>) -> Self {
        let content = content.into();
        let [batch, tokens, _] = content.dims();
        Self { batch, tokens, content: Some(content), positions: None, padding: None }
    }

    /// Tokens of positions only.
    #[must_use]
    pub fn from_positions(batch: usize, positions: Positions) -> Self {
        let tokens = positions.tokens();
        Self { batch, tokens, content: None, positions: Some(positions), padding: None }
    }

    /// Tokens that are all the same vector, `padding`.
    ///
    /// # Shapes
    /// - `padding`: `[token_channels]`
    #[must_use]
    pub const fn from_padding(batch: usize, tokens: usize, padding: Tensor<1>) -> Self {
        Self { batch, tokens, content: None, positions: None, padding: Some(padding) }
    }

    /// Appends position channels to content.
    ///
    /// # Panics
    /// If there are positions or padding already, or more or fewer positions than tokens.
    #[must_use]
    pub fn with_positions(mut self, positions: Positions) -> Self {
        assert!(
            self.positions.is_none() && self.padding.is_none(),
            "the segment already has positions or padding"
        );
        let (count, tokens) = (positions.tokens(), self.tokens);
        assert!(count == tokens, "{count} positions do not fit {tokens} tokens");
        self.positions = Some(positions);
        self
    }

    /// Appends channels that all tokens share.
    ///
    /// # Shapes
    /// - `padding`: `[padding_channels]`
    ///
    /// # Panics
    /// If there is padding already.
    #[must_use]
    pub fn with_padding(mut self, padding: Tensor<1>) -> Self {
        assert!(self.padding.is_none(), "the segment already has padding");
        self.padding = Some(padding);
        self
    }

    /// Examples.
    #[must_use]
    pub const fn batch(&self) -> usize {
        self.batch
    }

    /// Tokens per example.
    #[must_use]
    pub const fn tokens(&self) -> usize {
        self.tokens
    }

    /// Channels of a token.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.content_channels()
            + self.positions.as_ref().map_or(0, Positions::channels)
            + self.padding.as_ref().map_or(0, |padding| padding.dims()[0])
    }

    /// Content channels of a token.
    #[must_use]
    pub fn content_channels(&self) -> usize {
        self.content.as_ref().map_or(0, |content| content.dims()[2])
    }

    /// The content channels.
    #[must_use]
    pub const fn content(&self) -> Option<&Content> {
        self.content.as_ref()
    }

    /// The position channels.
    #[must_use]
    pub const fn positions(&self) -> Option<&Positions> {
        self.positions.as_ref()
    }

    /// `[padding_channels]`.
    #[must_use]
    pub const fn padding(&self) -> Option<&Tensor<1>> {
        self.padding.as_ref()
    }

    /// One example if all are equal, because there is no content; otherwise all.
    pub(crate) fn distinct(self) -> Self {
        if self.content.is_some() { self } else { Self { batch: 1, ..self } }
    }

    /// The tokens `start..start + count`.
    ///
    /// # Panics
    /// If the range ends beyond the tokens.
    #[must_use]
    pub fn narrow(&self, start: usize, count: usize) -> Self {
        assert!(start + count <= self.tokens, "the range ends beyond {} tokens", self.tokens);
        if count == self.tokens {
            return self.clone();
        }
        Self {
            tokens: count,
            content: self.content.as_ref().map(|content| content.narrow(start, count)),
            positions: self.positions.as_ref().map(|positions| positions.narrow(start, count)),
            ..self.clone()
        }
    }

    /// The tokens at `points`, in any order.
    ///
    /// # Shapes
    /// - `points`: `[points]`
    #[must_use]
    pub fn select(&self, points: &Tensor<1, Int>) -> Self {
        Self {
            tokens: points.dims()[0],
            content: self.content.as_ref().map(|content| content.select(points.clone())),
            positions: self.positions.as_ref().map(|positions| positions.select(points.clone())),
            ..self.clone()
        }
    }

    /// Batch and channels, in which the segments of a token array agree.
    fn sizes(&self) -> [usize; 2] {
        [self.batch, self.channels()]
    }

    fn device(&self) -> Device {
        match (&self.content, &self.positions, &self.padding) {
            (Some(content), ..) => content.device(),
            (_, Some(Positions::Table(table)), _) => table.device(),
            (_, Some(Positions::Grid(grid)), _) => grid.axes[0].table.device(),
            (.., Some(padding)) => padding.device(),
            (None, None, None) => unreachable!("every constructor sets one of the three"),
        }
    }

    /// Every channel of every token written out.
    ///
    /// # Shapes
    /// - returns: `[batch, tokens, token_channels]`
    #[must_use]
    pub fn to_dense(&self) -> Tensor<3> {
        let [batch, tokens] = [self.batch, self.tokens];
        let mut parts = Vec::with_capacity(3);
        parts.extend(self.content.as_ref().map(Content::to_dense));
        if let Some(positions) = &self.positions {
            let channels = positions.channels();
            let table = positions.to_table();
            parts.push(table.unsqueeze::<3>().expand([batch, tokens, channels]));
        }
        if let Some(padding) = &self.padding {
            let [channels] = padding.dims();
            parts.push(padding.clone().reshape([1, 1, channels]).expand([batch, tokens, channels]));
        }
        concat(parts, 2)
    }
}

/// `Tensor::cat` that does not copy a single part.
pub(crate) fn concat<const D: usize>(mut parts: Vec<Tensor<D>>, dim: usize) -> Tensor<D> {
    if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, dim) }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Int, TensorData};

    use super::*;
    use crate::{Axis, Grid};

    fn device() -> Device {
        Device::flex()
    }

    /// Two rows of three cells. The first and the last channel depend on the row, the one between them
    /// on the column.
    fn grid(points: Option<Tensor<1, Int>>) -> Positions {
        let rows = Tensor::from_data([[1.0, 10.0], [2.0, 20.0]], &device());
        let columns = Tensor::from_data([[-1.0], [-2.0], [-3.0]], &device());
        let axes = vec![
            Axis { table: rows, channels: vec![0, 2] },
            Axis { table: columns, channels: vec![1] },
        ];
        Positions::Grid(Grid { axes, points })
    }

    #[test]
    fn a_grid_expands_row_by_row_with_every_axis_in_its_channels() {
        let expected = [
            [1.0, -1.0, 10.0],
            [1.0, -2.0, 10.0],
            [1.0, -3.0, 10.0],
            [2.0, -1.0, 20.0],
            [2.0, -2.0, 20.0],
            [2.0, -3.0, 20.0],
        ];
        grid(None).to_table().into_data().assert_eq(&TensorData::from(expected), false);
    }

    #[test]
    fn points_of_a_grid_are_rows_of_its_table() {
        let points = Tensor::<1, Int>::from_data([5, 0, 4, 4], &device());
        let some = grid(Some(points.clone()));
        assert_eq!(some.tokens(), 4);
        let expected = grid(None).to_table().select(0, points);
        some.to_table().into_data().assert_eq(&expected.into_data(), true);
    }

    #[test]
    fn a_token_is_content_then_positions_then_padding() {
        let content = Tensor::from_data([[[7.0], [8.0]], [[9.0], [6.0]]], &device());
        let positions = Tensor::from_data([[1.0, 2.0], [3.0, 4.0]], &device());
        let segment = Segment::from_content(content)
            .with_positions(Positions::Table(positions))
            .with_padding(Tensor::from_data([0.5], &device()));
        let expected = [
            [[7.0, 1.0, 2.0, 0.5], [8.0, 3.0, 4.0, 0.5]],
            [[9.0, 1.0, 2.0, 0.5], [6.0, 3.0, 4.0, 0.5]],
        ];
        segment.to_dense().into_data().assert_eq(&TensorData::from(expected), false);
        assert_eq!(segment.channels(), 4);
    }

    #[test]
    #[should_panic(expected = "the range ends beyond 6 tokens")]
    fn narrowing_beyond_the_last_token_is_refused() {
        let _ = Segment::from_positions(1, grid(None)).narrow(1, 6);
    }

    #[test]
    fn segments_are_concatenated_along_the_tokens() {
        let padding = Segment::from_padding(2, 4, Tensor::from_data([1.0, 2.0, 3.0], &device()));
        let tokens = TokenArray::new(vec![Segment::from_positions(2, grid(None)), padding]);
        assert_eq!(tokens.dims(), [2, 10, 3]);
        let last = tokens.to_dense().narrow(0, 1, 1).narrow(1, 9, 1);
        last.into_data().assert_eq(&TensorData::from([[[1.0, 2.0, 3.0]]]), false);
    }

    #[test]
    #[should_panic(expected = "segments differ: one has 2 examples of 3 channels, another 2 of 2")]
    fn segments_with_different_channels_are_refused() {
        let narrow = Segment::from_content(Tensor::zeros([2, 4, 2], &device()));
        let _ = TokenArray::new(vec![Segment::from_positions(2, grid(None)), narrow]);
    }

    #[test]
    #[should_panic(expected = "6 positions do not fit 5 tokens")]
    fn more_positions_than_tokens_are_refused() {
        let content = Segment::from_content(Tensor::zeros([2, 5, 2], &device()));
        let _ = content.with_positions(grid(None));
    }
}
