use burn::tensor::TensorData;

/// Correlations of neighbours in photos, between two frames, rows, columns and colours of a patch.
/// Correlations at larger distances are powers of them.
const CORRELATIONS: [f64; 4] = [0.95, 0.9, 0.9, 0.95];

/// Mean square of a photo's pixels, in -1 to 1.
const POWER: f64 = 0.25;

/// Mean squares below this one are noise, which is not amplified.
const LEAST_POWER: f64 = 2e-3;

/// The initial projection of patches of two frames, `[values, channels]`, with which its channels are
/// nearly uncorrelated over photos, with equal power.
///
/// Flow shows in the difference of frames next to that of pixels: a twentieth of a photo's contrast.
/// Random weights mix it with brightness, which is twenty times as strong, and a small model does not
/// find it in hours. Here the channels are the means and the first and second differences of frames,
/// rows, columns and colours, divided by their standard deviation over photos.
///
/// # Source
/// The statistics are those of a Markov process along each axis, the usual model of photos in image
/// coding (Jain 1989, section 2.9). Differences, which are the discrete cosines of two and three
/// pixels, nearly decorrelate it.
pub(super) fn whitening([values, channels]: [usize; 2]) -> TensorData {
    TensorData::new(white_channels(channels), [values, channels])
}

/// `[values of both patches, channels]` by rows; channels beyond those of the patches are zero.
fn white_channels(channels: usize) -> Vec<f32> {
    let mut basis = vec![vec![1.0]];
    let mut powers = vec![POWER];
    for (correlation, size) in CORRELATIONS.into_iter().zip([2, 3, 3, 3]) {
        let axis = cosines(size);
        let power = axis.iter().map(|wave| power(wave, correlation));
        let power: Vec<_> = power.collect();
        powers = product(&powers, &power);
        basis = basis.iter().flat_map(|row| axis.iter().map(|wave| product(row, wave))).collect();
    }
    let values = basis.len();
    let mut weights = vec![0.0; values * channels];
    for (channel, (wave, power)) in basis.iter().zip(&powers).enumerate().take(channels) {
        for (value, level) in wave.iter().enumerate() {
            weights[value * channels + channel] = (level / power.max(LEAST_POWER).sqrt()) as f32;
        }
    }
    weights
}

/// The mean, the difference and, for three values, the second difference, each of length one.
fn cosines(size: usize) -> Vec<Vec<f64>> {
    let waves: &[&[f64]] = match size {
        2 => &[&[1.0, 1.0], &[1.0, -1.0]],
        _ => &[&[1.0, 1.0, 1.0], &[1.0, 0.0, -1.0], &[1.0, -2.0, 1.0]],
    };
    let length = |wave: &[f64]| wave.iter().map(|level| level * level).sum::<f64>().sqrt();
    waves.iter().map(|wave| wave.iter().map(|level| level / length(wave)).collect()).collect()
}

/// Mean square of a wave's response to neighbours with a correlation.
fn power(wave: &[f64], correlation: f64) -> f64 {
    let pairs = wave.iter().enumerate().flat_map(|(place, one)| {
        let other = move |(other, level): (usize, &f64)| {
            one * level * correlation.powi(place.abs_diff(other) as i32)
        };
        wave.iter().enumerate().map(other)
    });
    pairs.sum()
}

/// Outer product, by rows.
fn product(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().flat_map(|one| other.iter().map(move |other| one * other)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covariance of two values of a photo's patches, by frame, row, column and colour.
    fn covariance(one: usize, other: usize) -> f64 {
        let axes = |value: usize| [value / 27, value / 9 % 3, value / 3 % 3, value % 3];
        let steps = axes(one).into_iter().zip(axes(other)).map(|(one, other)| one.abs_diff(other));
        let factors = CORRELATIONS.into_iter().zip(steps);
        factors.fold(POWER, |power, (correlation, steps)| power * correlation.powi(steps as i32))
    }

    /// Mean product of two channels over photos.
    fn found(one: usize, other: usize) -> f64 {
        let weights = white_channels(64);
        let values = (0..54).flat_map(|one| (0..54).map(move |other| (one, other)));
        let weight = |value: usize, channel: usize| f64::from(weights[value * 64 + channel]);
        values.map(|(a, b)| weight(a, one) * covariance(a, b) * weight(b, other)).sum()
    }

    #[test]
    fn motion_has_the_power_of_brightness_and_noise_has_not() {
        // Brightness, what changes from column to column, row to row and frame to frame.
        for channel in [0, 3, 9, 27] {
            let power = found(channel, channel);
            assert!((power - 1.0).abs() < 1e-5, "channel {channel}: {power}");
        }
        // Second differences of rows, columns, colours and frames: a three-hundredth of the least.
        let quiet = found(53, 53);
        assert!(quiet < 0.01, "{quiet}");
        // Channels beyond those of the patches.
        assert_eq!([found(54, 54), found(63, 63)], [0.0; 2]);
    }

    #[test]
    fn channels_are_nearly_uncorrelated() {
        let products = (0..54).flat_map(|one| (0..one).map(move |other| found(one, other).abs()));
        let most = products.fold(0.0, f64::max);
        assert!(most < 0.25, "{most}");
    }
}
