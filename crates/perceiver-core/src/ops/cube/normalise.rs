//! Layer normalisation.

use cubecl::prelude::*;

use super::tile::UNITS;

/// A cube takes a row: first its mean, then its variance around the mean.
///
/// # Shapes
/// - `x` and `output`: `[rows, channels]`
/// - `gamma` and `beta`: `[channels]`
#[cube(launch)]
pub(super) fn normalise<E: Float>(
    x: &Tensor<E>,
    gamma: &Tensor<E>,
    beta: &Tensor<E>,
    output: &mut Tensor<E>,
    epsilon: f32,
    #[define(E)] _type: ElemType,
) {
    let row = CUBE_POS;
    if row >= x.shape(0) {
        terminate!();
    }
    let channels = x.shape(1);
    let first = row * channels;
    let mut parts = Shared::<[f32]>::new_slice(UNITS);

    let mut sum = 0.0f32;
    for channel in range_stepped(UNIT_POS as usize, channels, UNITS) {
        sum += f32::cast_from(x[first + channel]);
    }
    let mean = total(&mut parts, sum) / f32::cast_from(channels);

    let mut squares = 0.0f32;
    for channel in range_stepped(UNIT_POS as usize, channels, UNITS) {
        let centred = f32::cast_from(x[first + channel]) - mean;
        squares += centred * centred;
    }
    let variance = total(&mut parts, squares) / f32::cast_from(channels);
    let deviation = (variance + epsilon).sqrt();

    for channel in range_stepped(UNIT_POS as usize, channels, UNITS) {
        let normal = (f32::cast_from(x[first + channel]) - mean) / deviation;
        let scaled = normal * f32::cast_from(gamma[channel]) + f32::cast_from(beta[channel]);
        output[first + channel] = E::cast_from(scaled);
    }
}

/// The sum over all units of a cube, returned to each of them.
#[cube]
fn total(parts: &mut Shared<[f32]>, part: f32) -> f32 {
    let unit = UNIT_POS as usize;
    parts[unit] = part;
    sync_cube();
    #[unroll]
    for step in 1..=comptime!(UNITS.ilog2()) {
        let half = comptime!(UNITS >> step);
        if unit < half {
            parts[unit] += parts[unit + half];
        }
        sync_cube();
    }
    let total = parts[0];
    sync_cube();
    total
}
