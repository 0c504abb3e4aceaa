use burn::tensor::{Int, Tensor};

use crate::init::LAYER_NORM_EPSILON;
use crate::{Axis, Positions, Segment};

/// A segment of tokens as the factored operations take it, layer normalisation included.
///
/// Normalised, token `j` is `scale[j] (token[j] − mean[j])`, so the mean travels as one more
/// content channel, and no normalised token is ever built.
pub(super) struct Factored {
    /// `[batch, tokens, content_channels + 1]`: content, then the mean over all channels.
    pub(super) content: Tensor<3>,
    /// Inverse deviation over all channels, `[batch, tokens]`.
    pub(super) scale: Tensor<2>,
    /// The axes that positions vary along.
    pub(super) axes: Vec<Axis>,
    /// Cells that are tokens; all of them when absent.
    pub(super) points: Option<Tensor<1, Int>>,
    /// `[padding_channels]`.
    padding: Option<Tensor<1>>,
    content_channels: usize,
    position_channels: usize,
}

/// Channel sums of one token that do not depend on the example, `[tokens]` or `[1]`.
struct Sums {
    channels: usize,
    sum: Tensor<1>,
    square: Tensor<1>,
}

impl Factored {
    /// Whether the factored operations gain from this segment: its positions are a grid's, or it
    /// is one token.
    pub(super) fn suits(segment: &Segment) -> bool {
        segment.tokens() == 1 || matches!(segment.positions(), Some(Positions::Grid(_)))
    }

    /// # Panics
    /// If the segment does not suit.
    pub(super) fn new(segment: &Segment) -> Self {
        let (content, axes, points, padding) = match segment.positions() {
            Some(Positions::Grid(grid)) => {
                let padding = segment.padding().cloned();
                (segment.content().cloned(), grid.axes.clone(), grid.points.clone(), padding)
            }
            _ => (Some(segment.to_dense()), Vec::new(), None, None),
        };
        let content_channels = content.as_ref().map_or(0, |content| content.dims()[2]);
        let mut known: Vec<Sums> = Vec::new();
        known.extend(position_sums(&axes, points.as_ref()));
        known.extend(padding.as_ref().map(padding_sums));
        let (mean, scale) = moments(segment, content.as_ref(), &known);
        let mean = mean.unsqueeze_dim(2);
        let content = match content {
            Some(content) => Tensor::cat(vec![content, mean], 2),
            None => mean,
        };
        let position_channels = axes.iter().map(|axis| axis.channels.len()).sum();
        Self { content, scale, axes, points, padding, content_channels, position_channels }
    }

    /// Length of every axis, and one axis of length 1 for what all tokens share.
    pub(super) fn grid(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.table.dims()[0]).chain([1]).collect()
    }

    /// Splits vectors over all channels into what the operations take: vectors over content and
    /// mean, and their products with every axis' table and with the padding.
    ///
    /// # Shapes
    /// - `vectors`: `[batch, heads, rows, token_channels]`
    /// - returns: `[batch, heads, rows, content_channels + 1]`, `[batch, heads, rows, axes]`
    pub(super) fn contract(&self, vectors: &Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let mean = vectors.clone().sum_dim(3).neg();
        let content = if self.content_channels == 0 {
            mean
        } else {
            Tensor::cat(vec![vectors.clone().narrow(3, 0, self.content_channels), mean], 3)
        };
        let mut scores = Vec::with_capacity(self.axes.len() + 1);
        for axis in &self.axes {
            let channels = axis.channels.iter().map(|channel| self.content_channels + channel);
            let picked = vectors.clone().select(3, indices(channels, vectors));
            scores.push(picked.matmul(axis.table.clone().transpose().unsqueeze::<4>()));
        }
        scores.push(match &self.padding {
            Some(padding) => {
                let [channels] = padding.dims();
                let start = self.content_channels + self.position_channels;
                let picked = vectors.clone().narrow(3, start, channels);
                picked.matmul(padding.clone().reshape([1, 1, channels, 1]))
            }
            None => vectors.clone().narrow(3, 0, 1).zeros_like(),
        });
        (content, Tensor::cat(scores, 3))
    }

    /// Assembles weighted sums of normalised tokens from what
    /// [`gather_attend`](crate::ops::gather_attend) returns.
    ///
    /// # Shapes
    /// - `sums`: `[batch, heads, rows, content_channels + 1 + axes]`
    /// - returns: `[batch, heads, rows, token_channels]`
    pub(super) fn assemble(&self, sums: Tensor<4>) -> Tensor<4> {
        let mean = sums.clone().narrow(3, self.content_channels, 1);
        let mut offset = self.content_channels + 1;
        let mut parts = Vec::with_capacity(3);
        if self.content_channels > 0 {
            parts.push(sums.clone().narrow(3, 0, self.content_channels));
        }
        if !self.axes.is_empty() {
            let mut columns = Vec::with_capacity(self.axes.len());
            let mut order = vec![0; self.position_channels];
            let mut column = 0;
            for axis in &self.axes {
                let [length, _] = axis.table.dims();
                let marginal = sums.clone().narrow(3, offset, length);
                columns.push(marginal.matmul(axis.table.clone().unsqueeze::<4>()));
                offset += length;
                for &channel in &axis.channels {
                    order[channel] = column;
                    column += 1;
                }
            }
            let columns = Tensor::cat(columns, 3);
            let order = indices(order.into_iter(), &columns);
            parts.push(columns.select(3, order));
        }
        if let Some(padding) = &self.padding {
            let [channels] = padding.dims();
            let weight = sums.narrow(3, offset, 1);
            parts.push(weight.matmul(padding.clone().reshape([1, 1, 1, channels])));
        }
        Tensor::cat(parts, 3) - mean
    }
}

/// Mean and inverse deviation of every token over all its channels, both `[batch, tokens]`.
///
/// The variance is taken about the mean, as content may be far from zero.
fn moments(
    segment: &Segment,
    content: Option<&Tensor<3>>,
    known: &[Sums],
) -> (Tensor<2>, Tensor<2>) {
    let (batch, tokens) = (segment.batch(), segment.tokens());
    let channels = segment.channels() as f64;
    let spread = |sum: &Tensor<1>| sum.clone().unsqueeze::<2>().expand([batch, tokens]);
    let mut total: Option<Tensor<2>> = content.map(|x| x.clone().sum_dim(2).squeeze_dim(2));
    for part in known {
        let sum = spread(&part.sum);
        total = Some(match total {
            Some(total) => total + sum,
            None => sum,
        });
    }
    let mean = total.expect("a token has channels") / channels;
    let mut squares: Option<Tensor<2>> = content
        .map(|x| (x.clone() - mean.clone().unsqueeze_dim(2)).square().sum_dim(2).squeeze_dim(2));
    for part in known {
        let about_mean = spread(&part.square) - mean.clone() * spread(&part.sum) * 2.0
            + mean.clone().square() * part.channels as f64;
        squares = Some(match squares {
            Some(squares) => squares + about_mean,
            None => about_mean,
        });
    }
    let variance = squares.expect("a token has channels") / channels;
    (mean, (variance + LAYER_NORM_EPSILON).sqrt().recip())
}

/// Sums over position channels at every token, `[tokens]`.
fn position_sums(axes: &[Axis], points: Option<&Tensor<1, Int>>) -> Option<Sums> {
    let lengths: Vec<usize> = axes.iter().map(|axis| axis.table.dims()[0]).collect();
    let mut sums: Option<Sums> = None;
    for (a, axis) in axes.iter().enumerate() {
        let outer: usize = lengths[..a].iter().product();
        let inner: usize = lengths[a + 1..].iter().product();
        let at_tokens = |of_axis: Tensor<1>| match points {
            Some(points) => of_axis.select(0, (points.clone() / inner as i64) % lengths[a] as i64),
            None => of_axis
                .reshape([1, lengths[a], 1])
                .expand([outer, lengths[a], inner])
                .reshape([outer * lengths[a] * inner]),
        };
        let sum = at_tokens(axis.table.clone().sum_dim(1).squeeze_dim(1));
        let square = at_tokens(axis.table.clone().square().sum_dim(1).squeeze_dim(1));
        let channels = axis.channels.len();
        sums = Some(match sums {
            None => Sums { channels, sum, square },
            Some(so_far) => Sums {
                channels: so_far.channels + channels,
                sum: so_far.sum + sum,
                square: so_far.square + square,
            },
        });
    }
    sums
}

/// Sums over padding channels, `[1]`.
fn padding_sums(padding: &Tensor<1>) -> Sums {
    Sums {
        channels: padding.dims()[0],
        sum: padding.clone().sum(),
        square: padding.clone().square().sum(),
    }
}

fn indices(values: impl Iterator<Item = usize>, like: &Tensor<4>) -> Tensor<1, Int> {
    let values: Vec<i64> = values.map(|value| value as i64).collect();
    Tensor::from_data(values.as_slice(), &like.device())
}
