use std::f32::consts::PI;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use perceiver_core::{Axis, Grid};

/// Fourier features: every coordinate as itself, and as sines and cosines of π f times it for
/// frequencies f from 1 to half the resolution.
///
/// Position channels are ordered (coordinates, sines axis by axis, cosines axis by axis).
///
/// # Source
/// Perceiver section 3.2 and appendix D; `PerceiverFourierPositionEncoding`. Tables are computed
/// on the host with the reference's single-precision steps: at the audio model's highest
/// frequency the argument reaches 48 000 radians, where rounding in another order shows.
#[derive(Module, Debug)]
pub struct FourierPositionEncoding {
    bands: usize,
    #[module(skip)]
    max_resolution: Vec<usize>,
    concat_positions: bool,
    sine_only: bool,
}

impl FourierPositionEncoding {
    pub(crate) const fn new(
        bands: usize,
        max_resolution: Vec<usize>,
        concat_positions: bool,
        sine_only: bool,
    ) -> Self {
        Self { bands, max_resolution, concat_positions, sine_only }
    }

    pub(crate) fn dimensions(&self) -> usize {
        self.max_resolution.len()
    }

    pub(crate) fn channels(&self) -> usize {
        self.dimensions() * self.axis_channels()
    }

    const fn axis_channels(&self) -> usize {
        self.phases() * self.bands + self.concat_positions as usize
    }

    const fn phases(&self) -> usize {
        if self.sine_only { 1 } else { 2 }
    }

    /// Coordinates from -1 to 1, both ends included.
    pub(crate) fn grid(&self, lengths: &[usize], device: &Device) -> Grid {
        self.tables(lengths, |length| linear_positions(-1.0, 1.0, length), device)
    }

    /// Coordinates `-1 + 2 i / length`.
    pub(crate) fn cells(&self, lengths: &[usize], device: &Device) -> Grid {
        let coordinates = |length: usize| {
            (0..length).map(|i| -1.0 + (2 * i) as f32 / length as f32).collect::<Vec<_>>()
        };
        self.tables(lengths, coordinates, device)
    }

    fn tables(
        &self,
        lengths: &[usize],
        coordinates: impl Fn(usize) -> Vec<f32>,
        device: &Device,
    ) -> Grid {
        assert_eq!(
            lengths.len(),
            self.dimensions(),
            "a Fourier encoding of {} axes does not describe a grid of {lengths:?}",
            self.dimensions()
        );
        let axes = lengths.iter().enumerate().map(|(axis, &length)| {
            let rows = fourier_features(
                &coordinates(length),
                self.bands,
                self.max_resolution[axis],
                self.concat_positions,
                self.sine_only,
            );
            let data = TensorData::new(rows, [length, self.axis_channels()]);
            Axis { table: Tensor::from_data(data, device), channels: self.channels_of(axis) }
        });
        Grid { axes: axes.collect(), points: None }
    }

    /// Where one axis' columns lie among all position channels.
    fn channels_of(&self, axis: usize) -> Vec<usize> {
        let coordinates = if self.concat_positions { self.dimensions() } else { 0 };
        let block = |phase: usize| {
            let start = coordinates + (phase * self.dimensions() + axis) * self.bands;
            start..start + self.bands
        };
        let coordinate = self.concat_positions.then_some(axis);
        coordinate.into_iter().chain((0..self.phases()).flat_map(block)).collect()
    }
}

/// The features of coordinates along one axis, row by row: the coordinate if asked for, the sines
/// by rising frequency, then the cosines unless left out.
///
/// # Shapes
/// - returns: `[coordinates, axis_channels]`, row-major
///
/// # Source
/// `generate_fourier_features`.
#[must_use]
pub fn fourier_features(
    coordinates: &[f32],
    bands: usize,
    max_resolution: usize,
    concat_positions: bool,
    sine_only: bool,
) -> Vec<f32> {
    let frequencies = linear_positions(1.0, max_resolution as f32 / 2.0, bands);
    let mut rows = Vec::new();
    for &coordinate in coordinates {
        if concat_positions {
            rows.push(coordinate);
        }
        let angles = || frequencies.iter().map(|f| PI * (coordinate * f));
        rows.extend(angles().map(f32::sin));
        if !sine_only {
            rows.extend(angles().map(f32::cos));
        }
    }
    rows
}

/// `count` numbers from `start` to `end`, both included.
///
/// Rounded as `torch.linspace` rounds: by steps from the nearer end, fused.
///
/// # Source
/// `build_linear_positions`.
#[must_use]
pub fn linear_positions(start: f32, end: f32, count: usize) -> Vec<f32> {
    if count == 1 {
        return vec![start];
    }
    let step = (end - start) / (count.max(1) - 1) as f32;
    (0..count)
        .map(|i| {
            if i < count / 2 {
                step.mul_add(i as f32, start)
            } else {
                (-step).mul_add((count - 1 - i) as f32, end)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_positions_reach_both_ends_exactly() {
        for count in 2..400 {
            let positions = linear_positions(-1.0, 1.0, count);
            assert_eq!((positions[0], positions[count - 1]), (-1.0, 1.0), "of {count}");
            assert!(positions.is_sorted(), "of {count}");
        }
        assert_eq!(linear_positions(-1.0, 1.0, 1), [-1.0]);
        assert!(linear_positions(-1.0, 1.0, 0).is_empty());
    }

    #[test]
    fn the_highest_frequency_is_half_the_resolution() {
        let features = fourier_features(&[0.25], 2, 8, true, false);
        let expected = [0.25, (PI / 4.0).sin(), PI.sin(), (PI / 4.0).cos(), PI.cos()];
        let close =
            features.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6);
        assert!(close && features.len() == expected.len(), "{features:?}");
    }

    #[test]
    fn the_channels_of_all_axes_are_every_channel_once() {
        for (concat, sine_only) in [(true, true), (true, false), (false, true), (false, false)] {
            let encoding = FourierPositionEncoding::new(3, vec![4, 5, 6], concat, sine_only);
            let mut channels: Vec<_> = (0..3).flat_map(|axis| encoding.channels_of(axis)).collect();
            channels.sort_unstable();
            assert!(channels.into_iter().eq(0..encoding.channels()));
        }
    }
}
