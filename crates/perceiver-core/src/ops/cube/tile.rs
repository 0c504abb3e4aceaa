//! A tile of scores in the shared memory of a cube, and the steps of the kernels on it.
//!
//! A cube of [`UNITS`] units holds the scores of [`ROWS`] rows against [`KEYS`] keys, all in single
//! precision. Arrays pass through shared memory a few channels or keys at a time, so channels are
//! unlimited and the tile stays within WebGPU's 16 KiB.

use cubecl::prelude::*;

/// Rows whose scores a cube holds.
pub(super) const ROWS: usize = 32;
/// Keys whose scores a cube holds.
pub(super) const KEYS: usize = 64;
/// Units of a cube.
pub(super) const UNITS: usize = 256;
/// Channels that the units of a cube sum for all rows, with [`SUMS`] sums per unit.
pub(super) const SLAB: usize = 128;
/// Shared memory of a cube in bytes.
pub(super) const SHARED: usize =
    size_of::<f32>() * (ROWS * STRIDE + CHANNELS * (ROWS + 1 + KEYS + 1) + UNITS + ROWS);

/// Units that share a row of scores: unit `u` takes the keys `u / ROWS`, `u / ROWS + SLOTS`, … of row
/// `u % ROWS`.
pub(super) const SLOTS: usize = UNITS / ROWS;
/// Distance between rows of scores; odd, so that rows begin in different banks.
pub(super) const STRIDE: usize = KEYS + 1;
/// Channels of rows and keys that are in shared memory at a time.
const CHANNELS: usize = 16;
/// Keys whose values are in shared memory at a time.
const VALUES: usize = 8;
/// Sums that a unit holds per slab: 4 channels of 4 rows.
const SUMS: usize = 16;

const _: () = assert!(VALUES * SLAB <= CHANNELS * (KEYS + 1), "values share the keys' memory");

/// Memory that the units of a cube share.
#[derive(CubeType)]
pub(super) struct Tile {
    /// Scores, later weights, `[ROWS, STRIDE]`.
    pub(super) scores: Shared<[f32]>,
    /// Some channels of the rows, `[CHANNELS, ROWS + 1]`.
    rows: Shared<[f32]>,
    /// Some channels of the keys, `[CHANNELS, KEYS + 1]`, or values of some keys,
    /// `[VALUES, SLAB]`.
    keys: Shared<[f32]>,
    /// One number per unit, `[SLOTS, ROWS]`.
    parts: Shared<[f32]>,
    /// One number per row.
    factors: Shared<[f32]>,
}

/// The work of one cube.
#[derive(CubeType)]
pub(super) struct Share {
    /// Index of batch and head, out of `arrays`.
    pub(super) array: usize,
    pub(super) arrays: usize,
    /// Index of the range of keys, out of `splits`.
    pub(super) split: usize,
    pub(super) splits: usize,
    /// The first row.
    pub(super) row: usize,
    pub(super) rows: usize,
    /// The first channel of the sums.
    pub(super) channel: usize,
    pub(super) channels: usize,
}

/// Lines of contiguous channels in an array.
#[derive(CubeType)]
pub(super) struct Lines {
    /// Index of the first channel of the first line.
    pub(super) first: usize,
    /// Distance between lines.
    pub(super) stride: usize,
}

/// The lines of `[outer, inner, lines, channels]`, in any layout with contiguous channels, starting at
/// `line`.
#[cube]
pub(super) fn lines<E: Float>(array: &Tensor<E>, outer: usize, inner: usize, line: usize) -> Lines {
    let stride = array.stride(2);
    Lines { first: outer * array.stride(0) + inner * array.stride(1) + line * stride, stride }
}

/// The work of this cube: none if `array` is not less than `arrays`.
///
/// Neighbouring cubes take neighbouring rows, so that they read the same keys at the same time.
#[cube]
pub(super) fn share(
    arrays: usize,
    splits: usize,
    rows: usize,
    channels: usize,
    #[comptime] slabs: usize,
) -> Share {
    let tiles = rows.div_ceil(ROWS);
    let groups = channels.div_ceil(slabs * SLAB);
    let rest = CUBE_POS / tiles;
    let row = CUBE_POS % tiles * ROWS;
    let channel = rest % groups * (slabs * SLAB);
    let rest = rest / groups;
    Share {
        array: rest / splits,
        arrays,
        split: rest % splits,
        splits,
        row,
        rows,
        channel,
        channels,
    }
}

#[cube]
pub(super) fn tile() -> Tile {
    Tile {
        scores: Shared::new_slice(ROWS * STRIDE),
        rows: Shared::new_slice(CHANNELS * (ROWS + 1)),
        keys: Shared::new_slice(CHANNELS * (KEYS + 1)),
        parts: Shared::new_slice(UNITS),
        factors: Shared::new_slice(ROWS),
    }
}

/// The row of scores that this unit works on.
#[cube]
pub(super) fn own_row() -> usize {
    UNIT_POS as usize % ROWS
}

/// The first key that this unit takes in its row.
#[cube]
pub(super) fn own_slot() -> usize {
    UNIT_POS as usize / ROWS
}

/// Sets the scores to `rows · keysᵀ`. The units form a 16 by 16 grid; each takes 2 rows and 4 keys, 16
/// apart.
#[cube]
pub(super) fn multiply<E: Float>(
    tile: &mut Tile,
    rows: &Tensor<E>,
    row_lines: &Lines,
    keys: &Tensor<E>,
    key_lines: &Lines,
    key_count: usize,
    channels: usize,
    share: &Share,
) {
    let row_count = share.rows - share.row;
    let first_row = UNIT_POS as usize / 16 * 2;
    let first_key = UNIT_POS as usize % 16;
    let mut sums = Array::<f32>::new(8usize);
    #[unroll]
    for i in 0..8 {
        sums[i] = 0.0;
    }
    for channel in range_stepped(0, channels, CHANNELS) {
        stage::<E>(&mut tile.rows, rows, row_lines, row_count, channel, channels, ROWS);
        stage::<E>(&mut tile.keys, keys, key_lines, key_count, channel, channels, KEYS);
        sync_cube();
        for c in 0..CHANNELS {
            #[unroll]
            for r in 0..2 {
                let number = tile.rows[c * (ROWS + 1) + first_row + r];
                #[unroll]
                for k in 0..4 {
                    sums[r * 4 + k] += number * tile.keys[c * (KEYS + 1) + first_key + k * 16];
                }
            }
        }
        sync_cube();
    }
    #[unroll]
    for r in 0..2 {
        #[unroll]
        for k in 0..4 {
            tile.scores[(first_row + r) * STRIDE + first_key + k * 16] = sums[r * 4 + k];
        }
    }
    sync_cube();
}

/// Copies the channels of `count` lines, starting at `channel`, to `[CHANNELS, most + 1]`, with zeros
/// beyond the last.
#[cube]
fn stage<E: Float>(
    target: &mut Shared<[f32]>,
    source: &Tensor<E>,
    lines: &Lines,
    count: usize,
    channel: usize,
    channels: usize,
    #[comptime] most: usize,
) {
    for i in range_stepped(UNIT_POS as usize, most * CHANNELS, UNITS) {
        let (line, c) = (i / CHANNELS, i % CHANNELS);
        let mut number = 0.0f32;
        if line < count && channel + c < channels {
            let at = lines.first + line * lines.stride + channel + c;
            number = f32::cast_from(source[at]);
        }
        target[c * (most + 1) + line] = number;
    }
}

/// The largest of `previous` and the scores of the unit's row.
#[cube]
pub(super) fn row_maximum(tile: &mut Tile, previous: f32, key_count: usize) -> f32 {
    let mut largest = previous;
    for key in range_stepped(own_slot(), key_count, SLOTS) {
        largest = max(largest, tile.scores[own_row() * STRIDE + key]);
    }
    tile.parts[UNIT_POS as usize] = largest;
    sync_cube();
    for slot in 0..SLOTS {
        largest = max(largest, tile.parts[slot * ROWS + own_row()]);
    }
    sync_cube();
    largest
}

/// Turns scores into `exp(score - maximum)`, zero beyond the last key, and sums them over the unit's row.
#[cube]
pub(super) fn exponentiate(tile: &mut Tile, maximum: f32, key_count: usize) -> f32 {
    let mut sum = 0.0f32;
    for key in range_stepped(own_slot(), KEYS, SLOTS) {
        let at = own_row() * STRIDE + key;
        let mut weight = 0.0f32;
        if key < key_count {
            weight = (tile.scores[at] - maximum).exp();
        }
        tile.scores[at] = weight;
        sum += weight;
    }
    tile.parts[UNIT_POS as usize] = sum;
    sync_cube();
    let mut total = 0.0f32;
    for slot in 0..SLOTS {
        total += tile.parts[slot * ROWS + own_row()];
    }
    sync_cube();
    total
}

/// Multiplies the sums of each row by the factor that the units of that row pass.
#[cube]
pub(super) fn rescale(
    tile: &mut Tile,
    sums: &mut Array<f32>,
    factor: f32,
    #[comptime] slabs: usize,
) {
    if own_slot() == 0 {
        tile.factors[own_row()] = factor;
    }
    sync_cube();
    #[unroll]
    for slab in 0..slabs {
        #[unroll]
        for r in 0..4 {
            let factor = tile.factors[UNIT_POS as usize / 32 * 4 + r];
            #[unroll]
            for c in 0..4 {
                sums[slab * SUMS + r * 4 + c] *= factor;
            }
        }
    }
}

/// The sums of a unit, initially zero. The units form an 8 by 32 grid; each takes 4 rows and 4 channels
/// of every slab, 32 apart.
#[cube]
pub(super) fn sums(#[comptime] slabs: usize) -> Array<f32> {
    let mut sums = Array::<f32>::new(comptime!(slabs * SUMS));
    #[unroll]
    for i in 0..comptime!(slabs * SUMS) {
        sums[i] = 0.0;
    }
    sums
}

/// Adds `weights · values` to the sums.
#[cube]
pub(super) fn weigh<E: Float>(
    tile: &mut Tile,
    sums: &mut Array<f32>,
    values: &Tensor<E>,
    value_lines: &Lines,
    key_count: usize,
    share: &Share,
    #[comptime] slabs: usize,
) {
    let first_row = UNIT_POS as usize / 32 * 4;
    let first_channel = UNIT_POS as usize % 32;
    #[unroll]
    for slab in 0..slabs {
        for start in range_stepped(0, key_count, VALUES) {
            for i in range_stepped(UNIT_POS as usize, VALUES * SLAB, UNITS) {
                let line = start + i / SLAB;
                let channel = share.channel + slab * SLAB + i % SLAB;
                let mut number = 0.0f32;
                if line < key_count && channel < share.channels {
                    let at = value_lines.first + line * value_lines.stride + channel;
                    number = f32::cast_from(values[at]);
                }
                tile.keys[i] = number;
            }
            sync_cube();
            for k in 0..VALUES {
                #[unroll]
                for r in 0..4 {
                    let weight = tile.scores[(first_row + r) * STRIDE + start + k];
                    #[unroll]
                    for c in 0..4 {
                        let value = tile.keys[k * SLAB + first_channel + c * 32];
                        sums[slab * SUMS + r * 4 + c] += weight * value;
                    }
                }
            }
            sync_cube();
        }
    }
}

/// Writes the sums. `first` is the index for the first row and channel of the share.
#[cube]
pub(super) fn write<O: Float>(
    output: &mut Tensor<O>,
    sums: &Array<f32>,
    first: usize,
    row_stride: usize,
    channel_stride: usize,
    share: &Share,
    #[comptime] slabs: usize,
) {
    let first_row = UNIT_POS as usize / 32 * 4;
    let first_channel = UNIT_POS as usize % 32;
    #[unroll]
    for slab in 0..slabs {
        #[unroll]
        for r in 0..4 {
            #[unroll]
            for c in 0..4 {
                let row = first_row + r;
                let channel = slab * SLAB + first_channel + c * 32;
                if share.row + row < share.rows && share.channel + channel < share.channels {
                    let at = first + row * row_stride + channel * channel_stride;
                    output[at] = O::cast_from(sums[slab * SUMS + r * 4 + c]);
                }
            }
        }
    }
}
