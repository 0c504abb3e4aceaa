//! Position encodings: places of tokens as channels.

mod fourier;
mod trainable;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor};
use perceiver_core::{Grid, Initialisation, Positions, ops};

pub use fourier::{FourierPositionEncoding, fourier_features, linear_positions};
pub use trainable::TrainablePositionEncoding;

/// Configuration of an encoding of positions.
#[derive(Debug, Clone, PartialEq)]
pub enum PositionEncodingConfig {
    /// Sines and cosines of the coordinates. Has no parameters, so it is the encoding itself.
    Fourier(FourierPositionEncoding),
    /// One learned vector per position.
    Trainable {
        /// Number of positions.
        positions: usize,
        /// Axes of the grid that the positions form (2 for an image, 3 for a video).
        dimensions: usize,
        /// Channels of each vector.
        channels: usize,
    },
}

/// A position encoding and its optional projection.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionConfig {
    /// The encoding.
    pub encoding: PositionEncodingConfig,
    /// Input and output channels of a linear map that follows the encoding.
    pub projection: Option<(usize, usize)>,
}

/// Combination of content and positions into tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combination {
    /// Concatenated along the channels.
    Concat,
    /// Summed; both have the same channels.
    Add,
}

/// A position encoding module with its optional projection.
///
/// # Source
/// `build_position_encoding`.
#[derive(Module, Debug)]
pub struct PositionEncoding {
    pub(crate) position_embeddings: EncodingKind,
    pub(crate) positions_projection: Option<Linear>,
}

/// The two kinds, where the reference has subclasses.
#[derive(Module, Debug)]
pub(crate) enum EncodingKind {
    Fourier(FourierPositionEncoding),
    Trainable(TrainablePositionEncoding),
}

impl Combination {
    /// Channels of a token.
    pub(crate) const fn channels(self, content: usize, positions: usize) -> usize {
        match self {
            Self::Concat => content.saturating_add(positions),
            Self::Add => positions,
        }
    }
}

impl PositionConfig {
    /// Fourier features with coordinates and both phases: what every published model uses.
    #[must_use]
    pub fn fourier(bands: usize, max_resolution: &[usize]) -> Self {
        let fourier = FourierPositionEncoding::new(bands, max_resolution);
        Self { encoding: PositionEncodingConfig::Fourier(fourier), projection: None }
    }

    /// One learned vector per position, along one axis.
    #[must_use]
    pub const fn trainable(positions: usize, channels: usize) -> Self {
        let encoding = PositionEncodingConfig::Trainable { positions, dimensions: 1, channels };
        Self { encoding, projection: None }
    }

    /// The same encoding followed by a linear map.
    #[must_use]
    pub fn projected(self, from: usize, to: usize) -> Self {
        Self { projection: Some((from, to)), ..self }
    }

    /// Channels of an encoded position.
    #[must_use]
    pub fn channels(&self) -> usize {
        match (self.projection, &self.encoding) {
            (Some((_, to)), _) => to,
            (None, PositionEncodingConfig::Trainable { channels, .. }) => *channels,
            (None, PositionEncodingConfig::Fourier(fourier)) => fourier.channels(),
        }
    }

    /// Axes that the encoding describes.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        match &self.encoding {
            PositionEncodingConfig::Fourier(encoding) => encoding.dimensions(),
            PositionEncodingConfig::Trainable { dimensions, .. } => *dimensions,
        }
    }

    /// Fresh parameters.
    #[must_use]
    pub fn init(&self, init: Initialisation, device: &Device) -> PositionEncoding {
        let position_embeddings = match &self.encoding {
            PositionEncodingConfig::Fourier(fourier) => EncodingKind::Fourier(fourier.clone()),
            PositionEncodingConfig::Trainable { positions, dimensions, channels } => {
                EncodingKind::Trainable(TrainablePositionEncoding::new(
                    *positions,
                    *dimensions,
                    *channels,
                    init,
                    device,
                ))
            }
        };
        let positions_projection = self.projection.map(|(from, to)| init.linear(from, to, device));
        PositionEncoding { position_embeddings, positions_projection }
    }
}

impl PositionEncoding {
    /// Channels of an encoded position.
    #[must_use]
    pub fn channels(&self) -> usize {
        match &self.positions_projection {
            Some(projection) => projection.weight.dims()[1],
            None => self.encoding_channels(),
        }
    }

    fn encoding_channels(&self) -> usize {
        match &self.position_embeddings {
            EncodingKind::Fourier(fourier) => fourier.channels(),
            EncodingKind::Trainable(trainable) => trainable.channels(),
        }
    }

    /// If true, there is one learned vector per position; otherwise, any coordinates have one.
    #[must_use]
    pub const fn is_trainable(&self) -> bool {
        matches!(self.position_embeddings, EncodingKind::Trainable(_))
    }

    /// Axes of the grid that the encoding describes.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        match &self.position_embeddings {
            EncodingKind::Fourier(fourier) => fourier.dimensions(),
            EncodingKind::Trainable(trainable) => trainable.dimensions(),
        }
    }

    /// The positions of a whole grid. Fourier coordinates run from -1 to 1, both ends included. A
    /// trainable encoding returns its whole table, whatever the lengths.
    ///
    /// # Panics
    /// If the grid has more or fewer axes than a Fourier encoding.
    #[must_use]
    pub fn grid(&self, lengths: &[usize], device: &Device) -> Positions {
        self.project(match &self.position_embeddings {
            EncodingKind::Fourier(fourier) => Positions::Grid(fourier.grid(lengths, device)),
            EncodingKind::Trainable(trainable) => Positions::Table(trainable.table()),
        })
    }

    /// Like [`grid`](Self::grid), but resamples a trainable encoding of a square grid bicubically to
    /// this grid.
    ///
    /// # Panics
    /// If the grid has more or fewer axes than a Fourier encoding, or if the encoding is trainable and
    /// the grid does not have two axes, or the encoding has no square grid.
    #[must_use]
    pub fn interpolated_grid(&self, lengths: &[usize], device: &Device) -> Positions {
        let EncodingKind::Trainable(trainable) = &self.position_embeddings else {
            return self.grid(lengths, device);
        };
        let [height, width] = *lengths else {
            panic!("positions interpolate on a plane, not on a grid of {lengths:?}")
        };
        self.project(Positions::Table(trainable.interpolate(height, width)))
    }

    /// The positions of some cells of a grid. Fourier coordinates are `-1 + 2 i / length`, other than
    /// in [`grid`](Self::grid): the reference has two formulas.
    ///
    /// A trainable encoding returns all its positions for any points, as the reference does.
    ///
    /// # Shapes
    /// - `points`: `[points]`, flat row-major indices into the grid; every cell if absent
    #[must_use]
    pub fn points(
        &self,
        lengths: &[usize],
        points: Option<Tensor<1, Int>>,
        device: &Device,
    ) -> Positions {
        let positions = match &self.position_embeddings {
            EncodingKind::Fourier(fourier) => {
                Positions::Grid(Grid { points, ..fourier.cells(lengths, device) })
            }
            EncodingKind::Trainable(trainable) => Positions::Table(trainable.table()),
        };
        self.project(positions)
    }

    /// The encoding of any coordinates, such as those of a point cloud. See
    /// [`FourierPositionEncoding::encode`].
    ///
    /// # Shapes
    /// - `coordinates`: `[batch, points, dimensions]`
    /// - returns: `[batch, points, position_channels]`
    ///
    /// # Panics
    /// If the encoding is trainable, or has more or fewer dimensions than the coordinates.
    #[must_use]
    pub fn encode(&self, coordinates: Tensor<3>) -> Tensor<3> {
        let EncodingKind::Fourier(fourier) = &self.position_embeddings else {
            panic!("a trainable encoding knows positions by number, not by coordinates")
        };
        let positions = fourier.encode(coordinates);
        match &self.positions_projection {
            None => positions,
            Some(projection) => ops::linear(projection, positions),
        }
    }

    fn project(&self, positions: Positions) -> Positions {
        match &self.positions_projection {
            None => positions,
            Some(projection) => Positions::Table(ops::linear(projection, positions.to_table())),
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn chosen_points_are_rows_of_all_points() {
        let device = Device::flex();
        let config = PositionConfig::fourier(2, &[4, 3]);
        let fourier = config.init(Initialisation::default(), &device);
        let config = config.projected(10, 5);
        let projected = config.init(Initialisation { std: 0.5 }, &device);
        let points = Tensor::<1, Int>::from_data([11, 0, 7], &device);
        for encoding in [fourier, projected] {
            let all = encoding.points(&[4, 3], None, &device).to_table();
            let some = encoding.points(&[4, 3], Some(points.clone()), &device).to_table();
            let expected = all.select(0, points.clone()).into_data();
            some.into_data().assert_approx_eq::<f32>(&expected, burn::tensor::Tolerance::default());
        }
    }

    #[test]
    fn coordinates_of_a_grid_are_projected_as_the_grid_is() {
        let device = Device::flex();
        let config = PositionConfig::fourier(2, &[4]).projected(5, 3);
        let encoding = config.init(Initialisation { std: 0.5 }, &device);
        let expected = encoding.grid(&[4], &device).to_table().unsqueeze::<3>().into_data();
        let coordinates = linear_positions(-1.0, 1.0, 4);
        let coordinates = Tensor::<1>::from_data(coordinates.as_slice(), &device);
        let found = encoding.encode(coordinates.reshape([1, 4, 1])).into_data();
        found.assert_approx_eq::<f32>(&expected, burn::tensor::Tolerance::absolute(1e-6));
    }

    #[test]
    #[should_panic(expected = "a trainable encoding knows positions by number")]
    fn trainable_positions_have_no_coordinates() {
        let device = Device::flex();
        let encoding = PositionConfig::trainable(4, 3).init(Initialisation::default(), &device);
        let _ = encoding.encode(Tensor::zeros([1, 4, 1], &device));
    }

    #[test]
    #[should_panic(expected = "a Fourier encoding of 2 axes does not describe a grid of [2, 3, 4]")]
    fn a_grid_with_more_axes_is_refused() {
        let device = Device::flex();
        let fourier = PositionConfig::fourier(2, &[4, 3]).init(Initialisation::default(), &device);
        let _ = fourier.grid(&[2, 3, 4], &device);
    }
}
