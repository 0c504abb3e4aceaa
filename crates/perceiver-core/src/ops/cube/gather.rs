//! The encoder direction: a tile of dense queries reads factored tokens.

use cubecl::prelude::*;

use super::grid::columns;
use super::softmax::{Softmax, extend, softmax, write_statistics};
use super::tile::{
    KEYS, Lines, ROWS, SLOTS, STRIDE, Share, Tile, UNITS, multiply, own_row, own_slot, share, sums,
    tile, weigh, write,
};

/// A tile of queries reads one range of the tokens.
///
/// A cube reads its tokens twice, first only for the softmax: with final weights it can add to the
/// marginals in global memory, which are too large to be rescaled for every tile. Each marginal belongs
/// to one unit, so no two units add to it.
///
/// # Shapes
/// - `content_queries`: `[batch, heads, queries, content_channels]`
/// - `axis_scores`: `[batch, heads, queries, axes]`
/// - `content`: `[batch, tokens, content_channels]`
/// - `token_scale`: `[batch, tokens]`
/// - `hidden`: `[batch, tokens]`
/// - `partials`: `[splits, batch, heads, content_channels + axes, queries]`, initially zero
/// - `statistics`: as [`write_statistics`] writes them, partial
#[cube(launch)]
pub(super) fn gather<E: Float, B: Int>(
    content_queries: &Tensor<E>,
    axis_scores: &Tensor<E>,
    content: &Tensor<E>,
    token_scale: &Tensor<E>,
    hidden: ComptimeOption<&[B]>,
    partials: &mut Tensor<f32>,
    statistics: &mut Tensor<f32>,
    grid: Sequence<usize>,
    lowest: f32,
    splits: usize,
    split_tokens: usize,
    #[comptime] slabs: usize,
    #[define(E, B)] _types: [ElemType; 2],
) {
    let heads = content_queries.shape(1);
    let tokens = content.shape(1);
    let arrays = content_queries.shape(0) * heads;
    let share = share(arrays, splits, content_queries.shape(2), content.shape(2), slabs);
    if share.array >= arrays {
        terminate!();
    }
    let example = share.array / heads * tokens;
    let first = share.split * split_tokens;
    let end = min(first + split_tokens, tokens);

    let columns = share.channels + axis_scores.shape(3);
    let place = (share.split * arrays + share.array) * columns * share.rows + share.row;
    let mut tile = tile();
    let mut sums = sums(slabs);
    let mut softmax = softmax();
    for pass in 0..2u32 {
        for start in range_stepped(first, end, KEYS) {
            let count = min(end - start, KEYS);
            let token = example + start;
            scores::<E, B>(
                &mut tile,
                content_queries,
                axis_scores,
                content,
                token_scale,
                &hidden,
                &grid,
                lowest,
                example,
                start,
                count,
                &share,
            );
            if pass == 0 {
                extend(&mut tile, &mut softmax, count);
            } else {
                finish_weights::<E>(&mut tile, &softmax, token_scale, token, count);
                if share.channel == 0 && share.row + own_row() < share.rows {
                    let marginals = place + share.channels * share.rows + own_row();
                    add_marginals(
                        &tile, partials, marginals, share.rows, &grid, tokens, start, count,
                    );
                }
                let lines = Lines { first: token * share.channels, stride: share.channels };
                weigh::<E>(&mut tile, &mut sums, content, &lines, count, &share, slabs);
            }
        }
    }
    write::<f32>(partials, &sums, place + share.channel * share.rows, 1, share.rows, &share, slabs);
    write_statistics::<f32>(&softmax, statistics, &share, true);
}

/// Turns the scores of the unit's row into weights, zero beyond the last token.
#[cube]
fn finish_weights<E: Float>(
    tile: &mut Tile,
    softmax: &Softmax,
    token_scale: &Tensor<E>,
    token: usize,
    count: usize,
) {
    for key in range_stepped(own_slot(), KEYS, SLOTS) {
        let at = own_row() * STRIDE + key;
        let mut weight = 0.0f32;
        if key < count {
            let probability = (tile.scores[at] - softmax.maximum).exp() / softmax.total;
            weight = probability * f32::cast_from(token_scale[token + key]);
        }
        tile.scores[at] = weight;
    }
    sync_cube();
}

/// Computes the scores of `count` tokens, starting at `start`.
#[cube]
fn scores<E: Float, B: Int>(
    tile: &mut Tile,
    content_queries: &Tensor<E>,
    axis_scores: &Tensor<E>,
    content: &Tensor<E>,
    token_scale: &Tensor<E>,
    hidden: &ComptimeOption<&[B]>,
    grid: &Sequence<usize>,
    lowest: f32,
    example: usize,
    start: usize,
    count: usize,
    share: &Share,
) {
    let first_row = share.array * share.rows + share.row;
    let first = example + start;
    let channels = share.channels;
    let rows = Lines { first: first_row * channels, stride: channels };
    let tokens = Lines { first: first * channels, stride: channels };
    multiply::<E>(tile, content_queries, &rows, content, &tokens, count, channels, share);
    // Neighbouring units take neighbouring tokens, whose axis scores are neighbours, too.
    let key = UNIT_POS as usize % KEYS;
    if key < count {
        let axes = axis_scores.shape(3);
        let columns = columns(start + key, axes, grid);
        let factor = f32::cast_from(token_scale[first + key]);
        for row in range_stepped(UNIT_POS as usize / KEYS, ROWS, comptime!(UNITS / KEYS)) {
            let at = row * STRIDE + key;
            // Rows beyond the last repeat it and are not written.
            let line = (first_row + min(row, share.rows - share.row - 1)) * axes;
            let mut score = tile.scores[at];
            #[unroll]
            for axis in 0..columns.len() {
                score += f32::cast_from(axis_scores[line + columns[axis]]);
            }
            score *= factor;
            #[comptime]
            match hidden {
                ComptimeOption::Some(hidden) => {
                    if hidden[first + key] != B::from_int(0) {
                        score = lowest;
                    }
                }
                ComptimeOption::None => {}
            }
            tile.scores[at] = score;
        }
    }
    sync_cube();
}

/// Adds the weights of a tile to the marginals of the unit's row, `[axes, rows]`, starting at `place`.
///
/// The cells of an axis are assigned to slots in turn. Along an axis, tokens form runs of `inner` tokens
/// per cell. A tile touches few of them, and the same cell again if the axis is short.
#[cube]
fn add_marginals(
    tile: &Tile,
    partials: &mut Tensor<f32>,
    place: usize,
    rows: usize,
    grid: &Sequence<usize>,
    tokens: usize,
    start: usize,
    count: usize,
) {
    let mut inner = tokens;
    let mut first_column = 0usize;
    #[unroll]
    for axis in 0..grid.len() {
        let length = grid[axis];
        inner /= length;
        let first = start / inner;
        let last = (start + count - 1) / inner;
        let mut cell = first % length;
        for run in first..min(last + 1, first + length) {
            let column = first_column + cell;
            if column % SLOTS == own_slot() {
                let mut sum = 0.0f32;
                for again in range_stepped(run, last + 1, length) {
                    let from = max(again * inner, start) - start;
                    let to = min((again + 1) * inner, start + count) - start;
                    for key in from..to {
                        sum += tile.scores[own_row() * STRIDE + key];
                    }
                }
                partials[place + column * rows] += sum;
            }
            cell += 1;
            if cell == length {
                cell = 0;
            }
        }
        first_column += length;
    }
}
