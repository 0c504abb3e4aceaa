//! The decoder direction: a tile of factored tokens attends to dense keys.

use cubecl::prelude::*;

use super::grid::columns;
use super::softmax::{absorb, conclude, softmax};
use super::tile::{
    KEYS, Lines, SLOTS, STRIDE, Tile, multiply, own_row, own_slot, share, sums, tile,
};

/// A tile of tokens attends to one range of the keys.
///
/// # Shapes
/// - `content`: `[batch, tokens, content_channels]`
/// - `token_scale`: `[batch, tokens]`
/// - `content_keys`: `[batch, heads, keys, content_channels]`
/// - `axis_scores`: `[batch, heads, keys, axes]`
/// - `key_bias`: `[batch, heads, keys]`
/// - `values`: `[batch, heads, keys, v_channels]`
/// - `points`: `[tokens]`
/// - `output` and `statistics`: as [`conclude`] writes them
#[cube(launch)]
pub(super) fn scatter<E: Float, O: Float, I: Int>(
    content: &Tensor<E>,
    token_scale: &Tensor<E>,
    content_keys: &Tensor<E>,
    axis_scores: &Tensor<E>,
    key_bias: &Tensor<E>,
    values: &Tensor<E>,
    points: ComptimeOption<&[I]>,
    output: &mut Tensor<O>,
    statistics: &mut Tensor<O>,
    grid: Sequence<usize>,
    splits: usize,
    split_keys: usize,
    #[comptime] slabs: usize,
    #[comptime] partial: bool,
    #[define(E, O, I)] _types: [ElemType; 3],
) {
    let heads = values.shape(1);
    let key_count = values.shape(2);
    let arrays = values.shape(0) * heads;
    let share = share(arrays, splits, content.shape(1), values.shape(3), slabs);
    if share.array >= arrays {
        terminate!();
    }
    // Rows beyond the last repeat it and are not written.
    let token = min(share.row + own_row(), share.rows - 1);
    #[comptime]
    let cell = match points {
        ComptimeOption::Some(points) => usize::cast_from(points[token]),
        ComptimeOption::None => token,
    };
    let columns = columns(cell, axis_scores.shape(3), &grid);
    let example = share.array / heads * share.rows;
    let factor = f32::cast_from(token_scale[example + token]);

    let channels = content.shape(2);
    let rows = Lines { first: (example + share.row) * channels, stride: channels };
    let mut tile = tile();
    let mut sums = sums(slabs);
    let mut softmax = softmax();
    let end = min((share.split + 1) * split_keys, key_count);
    for start in range_stepped(share.split * split_keys, end, KEYS) {
        let count = min(end - start, KEYS);
        let key = share.array * key_count + start;
        let key_lines = Lines { first: key * channels, stride: channels };
        multiply::<E>(&mut tile, content, &rows, content_keys, &key_lines, count, channels, &share);
        finish_scores::<E>(&mut tile, axis_scores, key_bias, key, count, &columns, factor);
        let value_lines = Lines { first: key * share.channels, stride: share.channels };
        absorb::<E>(&mut tile, &mut softmax, &mut sums, values, &value_lines, count, &share, slabs);
    }
    conclude::<O>(
        &mut tile, &softmax, &mut sums, output, statistics, heads, &share, slabs, partial,
    );
}

/// Turns the products of the unit's row into scores.
#[cube]
fn finish_scores<E: Float>(
    tile: &mut Tile,
    axis_scores: &Tensor<E>,
    key_bias: &Tensor<E>,
    first: usize,
    key_count: usize,
    columns: &Sequence<usize>,
    factor: f32,
) {
    for key in range_stepped(own_slot(), key_count, SLOTS) {
        let at = own_row() * STRIDE + key;
        let line = (first + key) * axis_scores.shape(3);
        let mut score = tile.scores[at];
        #[unroll]
        for axis in 0..columns.len() {
            score += f32::cast_from(axis_scores[line + columns[axis]]);
        }
        tile.scores[at] = score * factor + f32::cast_from(key_bias[first + key]);
    }
}
