use burn::tensor::{Int, Tensor};

use super::moments::moments;
use super::{dot, expand_batch};
use crate::positions::narrow_points;
use crate::token_array::concat;
use crate::{Axis, Content, LinearMap, Positions, Segment};

/// A segment of tokens as the factored operations take it, layer normalisation included.
///
/// Normalised, token `j` is `scale[j] (token[j] − mean[j])`, so the mean travels as one more
/// content channel, and no normalised token is ever built.
#[derive(Debug, Clone)]
pub(super) struct Factored {
    /// `[batch, tokens, content_channels + 1]`: what a token has of its own, which is raw content
    /// and rows of a table, then the mean over all channels. Batch is 1 where examples do not
    /// differ.
    pub(super) content: Tensor<3>,
    /// Inverse deviation over all channels, `[batch, tokens]`.
    pub(super) scale: Tensor<2>,
    /// Cells that are tokens; all of them when absent.
    pub(super) points: Option<Tensor<1, Int>>,
    /// How raw content becomes the token's channels; by being them when absent.
    map: Option<LinearMap>,
    raw_channels: usize,
    table_channels: usize,
    /// Lengths of the axes that tokens lie along. Without positions, rows and columns that mean
    /// nothing: the operations know no other tokens than a grid's.
    lengths: Vec<usize>,
    /// The axes' tables under each other, `[lengths, position_channels]`, with zeros in the
    /// channels of other axes.
    tables: Option<Tensor<2>>,
    /// `[padding_channels]`.
    padding: Option<Tensor<1>>,
}

impl Factored {
    /// Numbers of a segment that one vector is multiplied by: content and mean, and the tables of
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

    /// The same for `batch` examples.
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

    /// Length of every axis, and one axis of length 1 for what all tokens share.
    pub(super) fn grid(&self) -> Vec<usize> {
        let mut lengths = self.lengths.clone();
        lengths.push(1);
        lengths
    }

    /// Splits vectors over all channels into what the operations take: vectors over content and
    /// mean, and their products with every axis' table and with what all tokens share.
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

    /// Assembles weighted sums of normalised tokens from what
    /// [`gather_attend`](crate::ops::gather_attend) returns.
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

/// Two factors of `tokens`, as near to each other as can be.
fn nearly_square(tokens: usize) -> [usize; 2] {
    let rows = (1..=tokens.isqrt()).rev().find(|rows| tokens.is_multiple_of(*rows)).unwrap_or(1);
    [rows, tokens / rows]
}

/// The tables of all axes under each other, each in its own channels.
fn stacked(axes: &[Axis]) -> Tensor<2> {
    let channels = axes.iter().map(|axis| axis.channels.len()).sum();
    let tables = axes.iter().map(|axis| {
        let [_, own] = axis.table.dims();
        // Channels of other axes take the column behind the table's own, which is zero.
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
