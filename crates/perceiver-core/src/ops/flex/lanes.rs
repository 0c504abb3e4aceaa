//! Loops that the compiler turns into vector instructions.
//!
//! Each works on [`LANES`] independent accumulators, so that the order of its sums does not depend
//! on the instructions a CPU has. They are inlined into closures given to [`pulp::Arch::dispatch`],
//! which compiles them for every instruction set and picks one at run time.

/// Numbers taken at a time: one AVX-512 register.
const LANES: usize = 16;

/// `e^x` for `x ≤ 88`, within 2 units in the last place where that is a normal number, and zero
/// below.
///
/// # Source
/// Range reduction and polynomial as in Cephes' `expf`.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Below, the result would not be a normal number.
    const LOWEST: f32 = -87.336_54;
    // Added and taken away, it rounds to an integer; its bits then end in that integer.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let power = rounded - ROUND;
    let rest = power.mul_add(-LN_2_LOW, power.mul_add(-LN_2_HIGH, x));
    let mut series = 1.987_569_1e-4_f32;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        series = series.mul_add(rest, coefficient);
    }
    let mantissa = series.mul_add(rest * rest, rest) + 1.0;
    let scale = f32::from_bits(rounded.to_bits().wrapping_shl(23).wrapping_add(1.0_f32.to_bits()));
    if x < LOWEST { 0.0 } else { mantissa * scale }
}

/// The largest number.
#[inline(always)]
pub(super) fn maximum(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, x);
        }
    }
    rest.iter().chain(&lanes).fold(f32::NEG_INFINITY, |largest, &x| larger(largest, x))
}

/// Unlike [`f32::max`], one instruction.
#[inline(always)]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Replaces every number by `e^(x − shift)` and returns their sum.
#[inline(always)]
pub(super) fn exp_shifted(row: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *x = exp(*x - shift);
            *lane += *x;
        }
    }
    let mut sum = 0.0;
    for x in rest {
        *x = exp(*x - shift);
        sum += *x;
    }
    lanes.iter().fold(sum, |sum, lane| sum + lane)
}

/// Sets the scores of hidden keys to the lowest finite number.
#[inline(always)]
pub(super) fn hide(scores: &mut [f32], hidden: &[u8]) {
    for (score, &hidden) in scores.iter_mut().zip(hidden) {
        *score = if hidden == 0 { *score } else { f32::MIN };
    }
}

/// Multiplies weights by scales, adds them to `along` one by one, and returns their sum.
#[inline(always)]
pub(super) fn scale_into(weights: &mut [f32], scales: &[f32], along: &mut [f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = weights.as_chunks_mut::<LANES>();
    let (scale_chunks, scale_rest) = scales.as_chunks::<LANES>();
    let (along_chunks, along_rest) = along.as_chunks_mut::<LANES>();
    for ((chunk, scales), along) in chunks.iter_mut().zip(scale_chunks).zip(along_chunks) {
        for i in 0..LANES {
            chunk[i] *= scales[i];
            along[i] += chunk[i];
            lanes[i] += chunk[i];
        }
    }
    let mut sum = 0.0;
    for ((weight, scale), along) in rest.iter_mut().zip(scale_rest).zip(along_rest) {
        *weight *= scale;
        *along += *weight;
        sum += *weight;
    }
    lanes.iter().fold(sum, |sum, lane| sum + lane)
}

/// Replaces scores by `scale · (score + along + shared) + bias`.
#[inline(always)]
pub(super) fn affine(
    scores: &mut [f32],
    along: &[f32],
    shared: &[f32],
    scale: f32,
    bias: &[f32],
) {
    let terms = along.iter().zip(shared).zip(bias);
    for (score, ((along, shared), bias)) in scores.iter_mut().zip(terms) {
        *score = scale.mul_add(*score + along + shared, *bias);
    }
}
