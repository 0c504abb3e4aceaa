//! The running softmax over the keys, and the statistics from which splits are merged.

use cubecl::prelude::*;

use super::tile::{
    Lines, Share, Tile, exponentiate, lines, own_row, own_slot, rescale, row_maximum, weigh, write,
};

/// The state of a row's softmax, known to all units of the row.
#[derive(CubeType)]
pub(super) struct Softmax {
    /// The largest score so far.
    pub(super) maximum: f32,
    /// `Σ exp(score - maximum)`.
    pub(super) total: f32,
}

#[cube]
pub(super) fn softmax() -> Softmax {
    Softmax { maximum: f32::new(f32::MIN), total: f32::new(0.0) }
}

/// Adds a tile of scores, which it turns into weights. Returns the factor by which earlier sums must be
/// multiplied.
#[cube]
pub(super) fn extend(tile: &mut Tile, softmax: &mut Softmax, key_count: usize) -> f32 {
    let maximum = row_maximum(tile, softmax.maximum, key_count);
    let shrink = (softmax.maximum - maximum).exp();
    softmax.total = softmax.total * shrink + exponentiate(tile, maximum, key_count);
    softmax.maximum = maximum;
    shrink
}

/// Adds a tile of scores and the values of its keys.
#[cube]
pub(super) fn absorb<E: Float>(
    tile: &mut Tile,
    softmax: &mut Softmax,
    sums: &mut Array<f32>,
    values: &Tensor<E>,
    value_lines: &Lines,
    key_count: usize,
    share: &Share,
    #[comptime] slabs: usize,
) {
    let shrink = extend(tile, softmax, key_count);
    rescale(tile, sums, shrink, slabs);
    weigh::<E>(tile, sums, values, value_lines, key_count, share, slabs);
}

/// Writes the attended values, `[batch, heads, rows, channels]` or, if `partial`,
/// `[splits, arrays, rows, channels]`, and the statistics.
#[cube]
pub(super) fn conclude<O: Float>(
    tile: &mut Tile,
    softmax: &Softmax,
    sums: &mut Array<f32>,
    output: &mut Tensor<O>,
    statistics: &mut Tensor<O>,
    heads: usize,
    share: &Share,
    #[comptime] slabs: usize,
    #[comptime] partial: bool,
) {
    rescale(tile, sums, 1.0 / softmax.total, slabs);
    let mut outer = share.array / heads;
    let mut inner = share.array % heads;
    if partial {
        outer = share.split;
        inner = share.array;
    }
    let target = lines::<O>(&*output, outer, inner, share.row);
    let first = target.first + share.channel;
    write::<O>(output, &*sums, first, target.stride, 1, share, slabs);
    write_statistics::<O>(softmax, statistics, share, partial);
}

/// Writes the log-sum-exp of each row's scores, `[arrays, rows]`, or, if `partial`, their maximum and
/// total, `[2, splits, arrays, rows]`.
///
/// Merging needs both: if every key is hidden, the log-sum-exp is so low that the number of keys rounds
/// away.
#[cube]
pub(super) fn write_statistics<O: Float>(
    softmax: &Softmax,
    statistics: &mut Tensor<O>,
    share: &Share,
    #[comptime] partial: bool,
) {
    if share.channel == 0 && own_slot() == 0 && share.row + own_row() < share.rows {
        let row = (share.split * share.arrays + share.array) * share.rows + share.row + own_row();
        if partial {
            statistics[row] = O::cast_from(softmax.maximum);
            let all = share.splits * share.arrays * share.rows;
            statistics[all + row] = O::cast_from(softmax.total);
        } else {
            statistics[row] = O::cast_from(softmax.maximum + softmax.total.ln());
        }
    }
}
