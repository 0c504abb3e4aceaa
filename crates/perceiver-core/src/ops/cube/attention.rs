//! Attention between dense arrays.

use cubecl::prelude::*;

use super::softmax::{absorb, conclude, softmax};
use super::tile::{
    KEYS, SLOTS, STRIDE, Tile, lines, multiply, own_row, own_slot, share, sums, tile,
};

/// A tile of queries attends to one range of the keys.
///
/// # Shapes
/// Queries, keys and values may have any layout with contiguous channels, so that heads need not be
/// separated in memory:
/// - `queries`: `[batch, heads, queries, qk_channels]`
/// - `keys`: `[batch, heads, keys, qk_channels]`
/// - `values`: `[batch, heads, keys, v_channels]`
/// - `hidden`: `[batch, keys]`
/// - `output` and `statistics`: as [`conclude`] writes them
#[cube(launch)]
pub(super) fn attention<E: Float, O: Float, B: Int>(
    queries: &Tensor<E>,
    keys: &Tensor<E>,
    values: &Tensor<E>,
    hidden: ComptimeOption<&[B]>,
    output: &mut Tensor<O>,
    statistics: &mut Tensor<O>,
    scale: f32,
    lowest: f32,
    splits: usize,
    split_keys: usize,
    #[comptime] slabs: usize,
    #[comptime] partial: bool,
    #[define(E, O, B)] _types: [ElemType; 3],
) {
    let heads = queries.shape(1);
    let key_count = keys.shape(2);
    let arrays = queries.shape(0) * heads;
    let share = share(arrays, splits, queries.shape(2), values.shape(3), slabs);
    if share.array >= arrays {
        terminate!();
    }
    let (example, head) = (share.array / heads, share.array % heads);
    let rows = lines::<E>(queries, example, head, share.row);
    let mut tile = tile();
    let mut sums = sums(slabs);
    let mut softmax = softmax();
    let end = min((share.split + 1) * split_keys, key_count);
    for start in range_stepped(share.split * split_keys, end, KEYS) {
        let count = min(end - start, KEYS);
        let key_lines = lines::<E>(keys, example, head, start);
        let channels = queries.shape(3);
        multiply::<E>(&mut tile, queries, &rows, keys, &key_lines, count, channels, &share);
        finish_scores::<B>(&mut tile, &hidden, example * key_count + start, count, scale, lowest);
        let value_lines = lines::<E>(values, example, head, start);
        absorb::<E>(&mut tile, &mut softmax, &mut sums, values, &value_lines, count, &share, slabs);
    }
    conclude::<O>(
        &mut tile, &softmax, &mut sums, output, statistics, heads, &share, slabs, partial,
    );
}

/// Scales the products of the unit's row, and hides keys by the flags that start at index `mask`.
#[cube]
fn finish_scores<B: Int>(
    tile: &mut Tile,
    hidden: &ComptimeOption<&[B]>,
    mask: usize,
    key_count: usize,
    scale: f32,
    lowest: f32,
) {
    for key in range_stepped(own_slot(), key_count, SLOTS) {
        let at = own_row() * STRIDE + key;
        let mut score = tile.scores[at] * scale;
        #[comptime]
        match hidden {
            ComptimeOption::Some(hidden) => {
                if hidden[mask + key] != B::from_int(0) {
                    score = lowest;
                }
            }
            ComptimeOption::None => {}
        }
        tile.scores[at] = score;
    }
}
