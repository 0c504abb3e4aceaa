//! Loops that the compiler vectorises.
//!
//! Each keeps [`LANES`] independent accumulators, so that the order of its sums does not depend on the
//! instructions of the CPU. They are inlined into functions that [`multiversion`] compiles for several
//! instruction sets, one of which is picked at run time.

/// Independent accumulators: the numbers in an AVX-512 register.
const LANES: usize = 16;

/// `a · b + c`, rounded once. WebAssembly has no instruction for that, so there it is rounded twice
/// rather than computed by a function call.
#[inline(always)]
pub(super) fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(target_family = "wasm") { a * b + c } else { a.mul_add(b, c) }
}

/// `e^x` for `x ≤ 88`: within 2 units in the last place if the result is a normal number, zero if it
/// is smaller.
///
/// # Source
/// Range reduction and polynomial as in Cephes' `expf`.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Below this, the result is no longer a normal number.
    const LOWEST: f32 = -87.336_54;
    // Adding this rounds to an integer, which then forms the last bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let rounded = multiply_add(x, std::f32::consts::LOG2_E, ROUND);
    let power = rounded - ROUND;
    let rest = multiply_add(power, -LN_2_LOW, multiply_add(power, -LN_2_HIGH, x));
    let mut series = 1.987_569_1e-4_f32;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        series = multiply_add(series, rest, coefficient);
    }
    let mantissa = multiply_add(series, rest * rest, rest) + 1.0;
    let scale = f32::from_bits(rounded.to_bits().wrapping_shl(23).wrapping_add(1.0_f32.to_bits()));
    if x < LOWEST { 0.0 } else { mantissa * scale }
}

/// `x Φ(x)`, within `2e-7 · max(1, |x|)`.
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    x * normal(x)
}

/// The derivative of [`gelu`], `Φ(x) + x φ(x)`, within `4e-7`.
#[inline(always)]
pub(super) fn gelu_slope(x: f32) -> f32 {
    const DENSITY: f32 = 0.398_942_3;
    multiply_add(x * DENSITY, exp(-0.5 * x * x), normal(x))
}

/// `Φ(x)`, the cumulative normal distribution.
///
/// # Source
/// The complementary error function of Numerical Recipes (2nd edition, section 6.2), whose relative
/// error is below 1.2e-7.
#[inline(always)]
fn normal(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = multiply_add(z, 0.5, 1.0).recip();
    let mut series = 0.170_872_77_f32;
    for coefficient in [
        -0.822_152_23,
        1.488_515_9,
        -1.135_204,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
        -1.265_512_2,
    ] {
        series = multiply_add(series, t, coefficient);
    }
    let tail = 0.5 * t * exp(multiply_add(z, -z, series));
    if x > 0.0 { 1.0 - tail } else { tail }
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

/// The sum of a function of every number.
#[inline(always)]
pub(super) fn sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += of(x);
        }
    }
    rest.iter().map(|&x| of(x)).chain(lanes).sum()
}

/// The sum of products.
#[inline(always)]
pub(super) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (left_chunks, left_rest) = left.as_chunks::<LANES>();
    let (right_chunks, right_rest) = right.as_chunks::<LANES>();
    for (left, right) in left_chunks.iter().zip(right_chunks) {
        for ((lane, left), right) in lanes.iter_mut().zip(left).zip(right) {
            *lane = multiply_add(*left, *right, *lane);
        }
    }
    left_rest.iter().zip(right_rest).map(|(left, right)| left * right).chain(lanes).sum()
}

/// The larger number. Unlike [`f32::max`], a single instruction.
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

/// Multiplies weights by scales, adds each to its entry of `along`, and returns their sum.
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
pub(super) fn affine(scores: &mut [f32], along: &[f32], shared: &[f32], scale: f32, bias: &[f32]) {
    let terms = along.iter().zip(shared).zip(bias);
    for (score, ((along, shared), bias)) in scores.iter_mut().zip(terms) {
        *score = multiply_add(scale, *score + along + shared, *bias);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_within_two_units_in_the_last_place() {
        for x in (-87_336..=88_000).map(|x| x as f32 / 1000.0) {
            let exact = f64::from(x).exp();
            let unit = f64::from((exact as f32).next_up()) - f64::from(exact as f32);
            let error = (f64::from(exp(x)) - exact).abs() / unit;
            assert!(error <= 2.0, "exp({x}) is off by {error} units");
        }
    }

    #[test]
    fn the_gelu_matches_an_integrated_normal_density() {
        // Simpson's rule, starting where the density vanishes in double precision.
        let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let (start, step) = (-40.0, 1.0 / 256.0);
        let mut area = 0.0;
        for i in 0..(60.0 / step) as usize {
            let from = start + i as f64 * step;
            area += step / 6.0
                * (density(from) + 4.0 * density(from + step / 2.0) + density(from + step));
            let x = from + step;
            let error = (f64::from(gelu(x as f32)) - x * area).abs() / x.abs().max(1.0);
            assert!(error <= 2e-7, "gelu({x}) is off by {error:.1e}");
            let error = (f64::from(gelu_slope(x as f32)) - area - x * density(x)).abs();
            assert!(error <= 4e-7, "the slope of gelu at {x} is off by {error:.1e}");
        }
        assert!(gelu(f32::NAN).is_nan());
    }

    #[test]
    fn the_exponential_of_a_very_low_number_is_zero() {
        assert_eq!([-87.4, -1e30, f32::MIN, f32::NEG_INFINITY].map(exp), [0.0; 4]);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn the_largest_number_is_found_in_whole_vectors_and_after_them() {
        for length in [1, 15, 16, 17, 40] {
            for place in 0..length {
                let row: Vec<f32> =
                    (0..length).map(|i| if i == place { 3.0 } else { -4.0 }).collect();
                assert_eq!(maximum(&row), 3.0, "{length} numbers, the largest at {place}");
            }
        }
    }
}
