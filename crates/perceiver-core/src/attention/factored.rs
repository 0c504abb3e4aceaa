use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

use super::moments::moments;
use super::{dot, expand_batch};
use crate::ops::FactoredTokens;
use crate::positions::narrow_points;
use crate::token_array::concat;
use crate::{Axis, Content, LinearMap, Positions, Segment};

/// A segment of tokens in the form of the factored operations, layer normalisation included.
///
/// Normalised, token `j` is `scale[j] (token[j] − mean[j])`, so the mean becomes one more content
/// channel, and no normalised token is ever built.
#[derive(Debug, Clone)]
pub(super) struct Factored {
    /// `[batch, tokens, content_channels + 1]`: the channels that are a token's own (raw content, then
    /// the row of a table) and the mean over all channels. The batch is 1 if all examples are equal.
    pub(super) content: Tensor<3>,
    /// Inverse deviation over all channels, `[batch, tokens]`.
    pub(super) scale: Tensor<2>,
    /// Cells that are tokens; all of them if absent.
    pub(super) points: Option<Tensor<1, Int>>,
    /// Maps raw content to the token's channels; if absent, raw content is those channels.
    map: Option<LinearMap>,
    raw_channels: usize,
    table_channels: usize,
    /// Lengths of the axes of the tokens' grid. The operations take only tokens on a grid, so tokens
    /// without grid positions get arbitrary rows and columns.
    lengths: Vec<usize>,
    /// The tables of all axes, stacked: `[lengths, position_channels]`, with zeros in the channels of
    /// other axes.
    tables: Option<Tensor<2>>,
    /// `[padding_channels]`.
    padding: Option<Tensor<1>>,
}

impl Factored {
    /// Multiplications of one vector with a segment: by content and mean, and by the tables of the
    /// axes.
    pub(super) fn numbers(segment: &Segment) -> usize {
        let content = segment.content().map_or(0, Content::fewest);
        let (table, axes) = match segment.positions() {
            Some(Positions::Grid(grid)) => {
                (0, grid.axes.iter().map(|axis| axis.table.shape().num_elements()).sum())
            }
            Some(Positions::Table(table)) => (table.dims()[1], 0),
            None => (0, 0),
        };
        (content + table + 1) * segment.tokens() + axes
    }

    pub(super) fn new(segment: &Segment) -> Self {
        let segment = &segment.clone().distinct();
        let (mean, scale) = moments(segment);
        let [batch, tokens] = mean.dims();
        let mut own = Vec::with_capacity(3);
        let (mut map, mut raw_channels, mut table_channels) = (None, 0, 0);
        if let Some(content) = segment.content() {
            let (raw, by) = content.fewest_channels();
            (map, raw_channels) = (by, raw.dims()[2]);
            own.push(raw);
        }
        let (mut lengths, mut tables) = (nearly_square(tokens).to_vec(), None);
        let mut points = None;
        match segment.positions() {
            Some(Positions::Grid(grid)) => {
                lengths = grid.axes.iter().map(|axis| axis.table.dims()[0]).collect();
                tables = Some(stacked(&grid.axes));
                points = grid.points.clone();
            }
            Some(Positions::Table(table)) => {
                table_channels = table.dims()[1];
                own.push(expand_batch(table.clone().unsqueeze(), batch));
            }
            None => {}
        }
        own.push(mean.unsqueeze_dim(2));
        Self {
            content: concat(own, 2),
            scale,
            points,
            map,
            raw_channels,
            table_channels,
            lengths,
            tables,
            padding: segment.padding().cloned(),
        }
    }

    /// Expands arrays that all examples share to `batch` examples.
    pub(super) fn expand(self, batch: usize) -> Self {
        let content = expand_batch(self.content, batch);
        Self { content, scale: expand_batch(self.scale, batch), ..self }
    }

    /// The tokens `start..start + count`.
    pub(super) fn narrow(&self, start: usize, count: usize) -> Self {
        let [_, tokens] = self.scale.dims();
        if count == tokens {
            return self.clone();
        }
        Self {
            content: self.content.clone().narrow(1, start, count),
            scale: self.scale.clone().narrow(1, start, count),
            points: Some(narrow_points(self.points.as_ref(), start, count, &self.scale.device())),
            ..self.clone()
        }
    }

    /// The arrays of the tokens, for an operation.
    pub(super) fn arrays(&self) -> FactoredTokens<Dispatch> {
        FactoredTokens {
            content: self.content.clone().into_dispatch(),
            scale: self.scale.clone().into_dispatch(),
            grid: self.grid(),
        }
    }

    /// Length of every axis, then an axis of length 1 for the terms that all tokens share.
    fn grid(&self) -> Vec<usize> {
        let mut lengths = self.lengths.clone();
        lengths.push(1);
        lengths
    }

    /// Splits vectors over all channels into the arguments of the operations: vectors over content and
    /// mean, and their products with the table of every axis and with the channels that all tokens
    /// share.
    ///
    /// # Shapes
    /// - `vectors`: `[batch, heads, rows, token_channels]`
    /// - returns: `[batch, heads, rows, content_channels + 1]`, `[batch, heads, rows, axes]`
    pub(super) fn contract(&self, vectors: &Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let mut shared = vectors.clone().narrow(3, 0, 1).zeros_like();
        let mut content = Vec::with_capacity(3);
        if self.raw_channels > 0 {
            let own = vectors.clone().narrow(3, 0, self.mapped_channels());
            content.push(match &self.map {
                None => own,
                Some(map) => {
                    shared = shared + dot(own.clone(), map.bias().unsqueeze());
                    own.matmul(map.weight().transpose().unsqueeze::<4>())
                }
            });
        }
        if self.table_channels > 0 {
            content.push(vectors.clone().narrow(3, self.mapped_channels(), self.table_channels));
        }
        content.push(vectors.clone().sum_dim(3).neg());

        let positions = match &self.tables {
            Some(tables) => {
                let start = self.mapped_channels();
                let picked = vectors.clone().narrow(3, start, self.position_channels());
                picked.matmul(tables.clone().transpose().unsqueeze::<4>())
            }
            None => shared.zeros_like().repeat_dim(3, self.lengths.iter().sum()),
        };
        if let Some(padding) = &self.padding {
            let [channels] = padding.dims();
            let start = self.mapped_channels() + self.position_channels();
            let picked = vectors.clone().narrow(3, start, channels);
            shared = shared + dot(picked, padding.clone().unsqueeze());
        }
        (concat(content, 3), Tensor::cat(vec![positions, shared], 3))
    }

    /// Assembles weighted sums of normalised tokens from the result of
    /// [`gather_attend`](crate::ops::gather_attend).
    ///
    /// # Shapes
    /// - `sums`: `[batch, heads, rows, content_channels + 1 + axes]`
    /// - returns: `[batch, heads, rows, token_channels]`
    pub(super) fn assemble(&self, sums: Tensor<4>) -> Tensor<4> {
        let entries = self.grid().iter().sum::<usize>();
        let own_channels = self.raw_channels + self.table_channels;
        let mean = sums.clone().narrow(3, own_channels, 1);
        let weight = sums.clone().narrow(3, own_channels + entries, 1);
        let mut parts = Vec::with_capacity(3);
        if self.raw_channels > 0 {
            let raw = sums.clone().narrow(3, 0, self.raw_channels);
            parts.push(match &self.map {
                None => raw,
                Some(map) => {
                    let bias = weight.clone().matmul(map.bias().unsqueeze::<4>());
                    raw.matmul(map.weight().unsqueeze::<4>()) + bias
                }
            });
        }
        if self.table_channels > 0 {
            parts.push(sums.clone().narrow(3, self.raw_channels, self.table_channels));
        }
        if let Some(tables) = &self.tables {
            let marginals = sums.narrow(3, own_channels + 1, tables.dims()[0]);
            parts.push(marginals.matmul(tables.clone().unsqueeze::<4>()));
        }
        if let Some(padding) = &self.padding {
            parts.push(weight.matmul(padding.clone().unsqueeze::<4>()));
        }
        concat(parts, 3) - mean
    }

    /// Channels of a token that are content.
    fn mapped_channels(&self) -> usize {
        self.map.as_ref().map_or(self.raw_channels, |map| map.dims()[1])
    }

    fn position_channels(&self) -> usize {
        self.tables.as_ref().map_or(self.table_channels, |tables| tables.dims()[1])
    }
}

/// The two factors of `tokens` that are closest to each other.
fn nearly_square(tokens: usize) -> [usize; 2] {
    let rows = (1..=tokens.isqrt()).rev().find(|rows| tokens.is_multiple_of(*rows)).unwrap_or(1);
    [rows, tokens / rows]
}

/// The tables of all axes, stacked, each in its own channels.
fn stacked(axes: &[Axis]) -> Tensor<2> {
    let channels = axes.iter().map(|axis| axis.channels.len()).sum();
    let tables = axes.iter().map(|axis| {
        let [_, own] = axis.table.dims();
        // Channels of other axes select the zero column appended to the table.
        let mut columns = vec![own as i64; channels];
        for (column, &channel) in axis.channels.iter().enumerate() {
            columns[channel] = column as i64;
        }
        let columns = Tensor::from_data(columns.as_slice(), &axis.table.device());
        let zero = axis.table.clone().narrow(1, 0, 1).zeros_like();
        Tensor::cat(vec![axis.table.clone(), zero], 1).select(1, columns)
    });
    Tensor::cat(tables.collect(), 0)
}
