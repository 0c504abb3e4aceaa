use std::f32::consts::PI;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use perceiver_core::{Axis, Grid};

/// Fourier features: each coordinate itself, and the sine and cosine of π f times the coordinate for
/// frequencies f from 1 to half the resolution.
///
/// From -1 to 1, the highest frequency completes half as many cycles as the resolution, so a resolution
/// of `2 / d` tells apart points at a distance of `d`.
///
/// Position channels are ordered (coordinates, sines axis by axis, cosines axis by axis).
///
/// # Source
/// Perceiver section 3.2 and appendix D; `PerceiverFourierPositionEncoding`. The tables of a grid are
/// computed on the host in the reference's single-precision steps: at the audio model's highest
/// frequency the argument reaches 48 000 radians, where another rounding order shows.
#[derive(Module, Debug, PartialEq)]
pub struct FourierPositionEncoding {
    /// Frequencies per axis.
    pub bands: usize,
    /// Points along each axis for which the highest frequency is Nyquist's.
    #[module(skip)]
    pub max_resolution: Vec<usize>,
    /// If true, the coordinates themselves are channels, too.
    pub concat_positions: bool,
    /// If true, the cosines are left out.
    pub sine_only: bool,
}

impl FourierPositionEncoding {
    /// Coordinates, sines and cosines: the features of every published model.
    #[must_use]
    pub fn new(bands: usize, max_resolution: &[usize]) -> Self {
        let max_resolution = max_resolution.to_vec();
        Self { bands, max_resolution, concat_positions: true, sine_only: false }
    }

    /// The features of any coordinates, such as those of a point cloud.
    ///
    /// # Shapes
    /// - `coordinates`: `[batch, points, dimensions]`; published models use coordinates from -1 to 1
    /// - returns: `[batch, points, position_channels]`
    ///
    /// # Panics
    /// If there are more or fewer dimensions than the encoding has.
    ///
    /// # Source
    /// `generate_fourier_features`.
    ///
    /// # Differences
    /// The reference gives every example the sines and cosines of the first one.
    #[must_use]
    pub fn encode(&self, coordinates: Tensor<3>) -> Tensor<3> {
        let [_, _, found] = coordinates.dims();
        let dimensions = self.dimensions();
        assert!(found == dimensions, "coordinates have {found} dimensions, expected {dimensions}");
        let frequencies = self.max_resolution.iter().flat_map(|&r| frequencies(self.bands, r));
        let frequencies = TensorData::new(frequencies.collect(), [1, 1, dimensions, self.bands]);
        let frequencies =
            Tensor::<4>::from_data(frequencies, (&coordinates.device(), coordinates.dtype()));
        let angles = coordinates.clone().unsqueeze_dim::<4>(3) * frequencies * PI;
        let angles: Tensor<3> = angles.flatten(2, 3);
        let mut features = Vec::with_capacity(3);
        features.extend(self.concat_positions.then_some(coordinates));
        features.push(angles.clone().sin());
        features.extend((!self.sine_only).then(|| angles.cos()));
        Tensor::cat(features, 2)
    }

    /// Dimensions of the coordinates.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.max_resolution.len()
    }

    /// Channels of an encoded position.
    #[must_use]
    pub fn channels(&self) -> usize {
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
        let dimensions = self.dimensions();
        assert!(
            lengths.len() == dimensions,
            "a Fourier encoding of {dimensions} axes does not describe a grid of {lengths:?}"
        );
        let axes = lengths.iter().enumerate().map(|(axis, &length)| {
            let coordinates = coordinates(length);
            let features = fourier_features(&coordinates, self.bands, self.max_resolution[axis]);
            let mut rows = Vec::with_capacity(length * self.axis_channels());
            for (i, coordinate) in coordinates.into_iter().enumerate() {
                rows.extend(self.concat_positions.then_some(coordinate));
                let first = i * 2 * self.bands;
                rows.extend_from_slice(&features[first..first + self.phases() * self.bands]);
            }
            let data = TensorData::new(rows, [length, self.axis_channels()]);
            Axis { table: Tensor::from_data(data, device), channels: self.channels_of(axis) }
        });
        Grid { axes: axes.collect(), points: None }
    }

    /// Indices of the columns of one axis among all position channels.
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

/// The features of coordinates along one axis, row by row: the sines in order of frequency, then the
/// cosines.
///
/// # Shapes
/// - returns: `[coordinates, 2 · bands]`, row-major
///
/// # Source
/// `generate_fourier_features`.
#[must_use]
pub fn fourier_features(coordinates: &[f32], bands: usize, max_resolution: usize) -> Vec<f32> {
    let frequencies = frequencies(bands, max_resolution);
    let mut rows = Vec::with_capacity(coordinates.len() * 2 * bands);
    for &coordinate in coordinates {
        let angles = || frequencies.iter().map(|f| PI * (coordinate * f));
        rows.extend(angles().map(f32::sin));
        rows.extend(angles().map(f32::cos));
    }
    rows
}

/// From 1 to the Nyquist frequency of the resolution.
fn frequencies(bands: usize, max_resolution: usize) -> Vec<f32> {
    linear_positions(1.0, max_resolution as f32 / 2.0, bands)
}

/// `count` numbers from `start` to `end`, both included.
///
/// Rounded like `torch.linspace`, which takes fused steps from the nearer end.
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
    #[cfg(feature = "flex")]
    use burn::tensor::Tolerance;
    #[cfg(feature = "flex")]
    use perceiver_core::Positions;

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
        let features = fourier_features(&[0.25], 2, 8);
        let expected = [(PI / 4.0).sin(), PI.sin(), (PI / 4.0).cos(), PI.cos()];
        let close =
            features.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6);
        assert!(close && features.len() == expected.len(), "{features:?}");
    }

    #[cfg(feature = "flex")]
    #[test]
    fn coordinates_of_a_grid_have_the_features_of_the_grid() {
        let device = Device::flex();
        let (rows, columns) = (linear_positions(-1.0, 1.0, 3), linear_positions(-1.0, 1.0, 4));
        let cells = rows.iter().flat_map(|&row| columns.iter().map(move |&column| [row, column]));
        let coordinates = TensorData::new(cells.flatten().collect::<Vec<_>>(), [1, 12, 2]);
        for (concat_positions, sine_only) in [(true, false), (false, true)] {
            let encoding = FourierPositionEncoding {
                concat_positions,
                sine_only,
                ..FourierPositionEncoding::new(5, &[6, 40])
            };
            let found = encoding.encode(Tensor::from_data(coordinates.clone(), &device));
            let expected = Positions::Grid(encoding.grid(&[3, 4], &device)).to_table();
            assert_eq!(encoding.channels(), expected.dims()[1]);
            let expected = expected.unsqueeze::<3>().into_data();
            found.into_data().assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-6));
        }
    }

    /// In double precision, example by example, where the reference repeats the first example's.
    #[cfg(feature = "flex")]
    #[test]
    fn each_example_has_the_features_of_its_own_coordinates() {
        let (bands, resolution) = (3, [8, 20, 5]);
        let coordinates: Vec<f64> = (0..2 * 4 * 3).map(|i| (1.3 * f64::from(i)).sin()).collect();
        let mut expected = Vec::new();
        for point in coordinates.chunks(3) {
            expected.extend_from_slice(point);
            for phase in [f64::sin, f64::cos] {
                for (coordinate, resolution) in point.iter().zip(resolution) {
                    let highest = resolution as f64 / 2.0;
                    // Frequencies 1, halfway, and the highest.
                    for frequency in [1.0, (1.0 + highest) / 2.0, highest] {
                        expected.push(phase(std::f64::consts::PI * frequency * coordinate));
                    }
                }
            }
        }
        let encoding = FourierPositionEncoding::new(bands, &resolution);
        let coordinates = TensorData::new(coordinates, [2, 4, 3]).convert::<f32>();
        let found = encoding.encode(Tensor::from_data(coordinates, &Device::flex()));
        let expected = TensorData::new(expected, [2, 4, encoding.channels()]).convert::<f32>();
        found.into_data().assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-5));
    }

    #[cfg(feature = "flex")]
    #[test]
    #[should_panic(expected = "coordinates have 2 dimensions, expected 3")]
    fn coordinates_of_other_dimensions_are_refused() {
        let encoding = FourierPositionEncoding::new(2, &[4, 4, 4]);
        let _ = encoding.encode(Tensor::zeros([1, 5, 2], &Device::flex()));
    }

    #[test]
    fn the_axes_have_every_channel_exactly_once() {
        for (concat, sine_only) in [(true, true), (true, false), (false, true), (false, false)] {
            let encoding = FourierPositionEncoding {
                concat_positions: concat,
                sine_only,
                ..FourierPositionEncoding::new(3, &[4, 5, 6])
            };
            let mut channels: Vec<_> = (0..3).flat_map(|axis| encoding.channels_of(axis)).collect();
            channels.sort_unstable();
            assert!(channels.into_iter().eq(0..encoding.channels()));
        }
    }
}
