use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::token_array::concat;

/// Position channels that all examples share.
#[derive(Debug, Clone)]
pub enum Positions {
    /// One row per token: trainable or projected positions. `[tokens, position_channels]`.
    Table(Tensor<2>),
    /// Channels that each depend on one axis of a grid: Fourier features.
    Grid(Grid),
}

/// Position channels over a grid, the last axis varying fastest along the tokens.
#[derive(Debug, Clone)]
pub struct Grid {
    /// The axes, slowest first.
    pub axes: Vec<Axis>,
    /// The cells that are tokens, as flat row-major indices `[tokens]`; every cell in order if absent.
    pub points: Option<Tensor<1, Int>>,
}

/// The channels that depend on one axis.
#[derive(Debug, Clone)]
pub struct Axis {
    /// `[length, axis_channels]`.
    pub table: Tensor<2>,
    /// Index of each of `axis_channels` among the position channels.
    pub channels: Vec<usize>,
}

impl Positions {
    /// Number of tokens.
    #[must_use]
    pub fn tokens(&self) -> usize {
        match self {
            Self::Table(table) => table.dims()[0],
            Self::Grid(grid) => grid.tokens(),
        }
    }

    /// Position channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        match self {
            Self::Table(table) => table.dims()[1],
            Self::Grid(grid) => grid.axes.iter().map(|axis| axis.channels.len()).sum(),
        }
    }

    /// The position channels of every token, written out.
    ///
    /// # Shapes
    /// - returns: `[tokens, position_channels]`
    #[must_use]
    pub fn to_table(&self) -> Tensor<2> {
        match self {
            Self::Table(table) => table.clone(),
            Self::Grid(grid) => grid.to_table(),
        }
    }
}

impl Positions {
    /// The positions of the tokens `start..start + count`.
    pub(crate) fn narrow(&self, start: usize, count: usize) -> Self {
        match self {
            Self::Table(table) => Self::Table(table.clone().narrow(0, start, count)),
            Self::Grid(grid) => Self::Grid(grid.narrow(start, count)),
        }
    }

    /// The positions of the tokens at `points`.
    pub(crate) fn select(&self, points: Tensor<1, Int>) -> Self {
        match self {
            Self::Table(table) => Self::Table(table.clone().select(0, points)),
            Self::Grid(grid) => {
                let points = match &grid.points {
                    None => points,
                    Some(cells) => cells.clone().select(0, points),
                };
                Self::Grid(Grid { axes: grid.axes.clone(), points: Some(points) })
            }
        }
    }
}

impl Grid {
    fn narrow(&self, start: usize, count: usize) -> Self {
        let device = self.axes[0].table.device();
        let points = narrow_points(self.points.as_ref(), start, count, &device);
        Self { axes: self.axes.clone(), points: Some(points) }
    }

    /// Length of every axis, slowest first.
    #[must_use]
    pub fn lengths(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.table.dims()[0]).collect()
    }

    /// Number of tokens.
    #[must_use]
    pub fn tokens(&self) -> usize {
        match &self.points {
            Some(points) => points.dims()[0],
            None => self.lengths().iter().product(),
        }
    }

    fn to_table(&self) -> Tensor<2> {
        let lengths = self.lengths();
        let columns: Vec<_> = (0..lengths.len()).map(|a| self.expand_axis(&lengths, a)).collect();
        let columns = concat(columns, 1);
        let from: Vec<usize> = self.axes.iter().flat_map(|axis| axis.channels.clone()).collect();
        let mut order = vec![0i64; from.len()];
        for (column, &channel) in from.iter().enumerate() {
            order[channel] = column as i64;
        }
        if order.windows(2).all(|pair| pair[0] < pair[1]) {
            return columns;
        }
        let device = columns.device();
        let count = order.len();
        columns.select(1, Tensor::<1, Int>::from_data(TensorData::new(order, [count]), &device))
    }

    /// The channels of one axis at every token: `[tokens, axis_channels]`.
    fn expand_axis(&self, lengths: &[usize], axis: usize) -> Tensor<2> {
        let table = self.axes[axis].table.clone();
        let [length, channels] = table.dims();
        let outer: usize = lengths[..axis].iter().product();
        let inner: usize = lengths[axis + 1..].iter().product();
        match &self.points {
            Some(points) => {
                let index = (points.clone() / inner as i64) % length as i64;
                table.select(0, index)
            }
            None => table
                .reshape([1, length, 1, channels])
                .expand([outer, length, inner, channels])
                .reshape([outer * length * inner, channels]),
        }
    }
}

/// The points `start..start + count` of a grid's `points`, or of its cells in order.
pub(crate) fn narrow_points(
    points: Option<&Tensor<1, Int>>,
    start: usize,
    count: usize,
    device: &Device,
) -> Tensor<1, Int> {
    match points {
        Some(points) => points.clone().narrow(0, start, count),
        // Not `Tensor::arange`: Fusion computes it as a running sum of ones, which takes 0.2 ms for a
        // block of optical flow on an H200.
        None => {
            let cells: Vec<_> = (start as i64..(start + count) as i64).collect();
            Tensor::from_data(TensorData::new(cells, [count]), device)
        }
    }
}
