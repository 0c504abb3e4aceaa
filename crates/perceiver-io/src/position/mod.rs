//! Where a token is, as channels.

mod fourier;
mod trainable;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor};
use perceiver_core::{Grid, Initialisation, Positions, ops};

pub use fourier::{FourierPositionEncoding, fourier_features, linear_positions};
pub use trainable::TrainablePositionEncoding;

/// How positions are encoded.
#[derive(Debug, Clone, PartialEq)]
pub enum PositionEncodingConfig {
    /// Sines and cosines of the coordinates.
    Fourier {
        /// Frequencies an axis.
        bands: usize,
        /// Elements along each axis at which the highest frequency is Nyquist's.
        max_resolution: Vec<usize>,
        /// Whether the coordinates themselves are channels too.
        concat_positions: bool,
        /// Whether the cosines are left out.
        sine_only: bool,
    },
    /// One learned vector a position.
    Trainable {
        /// Number of positions.
        positions: usize,
        /// Axes they stand for (2 for an image, 3 for a video).
        dimensions: usize,
        /// Channels of each.
        channels: usize,
    },
}

/// A position encoding and what is done with it.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionConfig {
    /// How positions are encoded.
    pub encoding: PositionEncodingConfig,
    /// A linear map of the encoding, from and to how many channels.
    pub projection: Option<(usize, usize)>,
}

/// How content and positions become one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combination {
    /// Side by side.
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
        let encoding = PositionEncodingConfig::Fourier {
            bands,
            max_resolution: max_resolution.to_vec(),
            concat_positions: true,
            sine_only: false,
        };
        Self { encoding, projection: None }
    }

    /// One learned vector a position, along one axis.
    #[must_use]
    pub const fn trainable(positions: usize, channels: usize) -> Self {
        let encoding = PositionEncodingConfig::Trainable { positions, dimensions: 1, channels };
        Self { encoding, projection: None }
    }

    /// The same, projected.
    #[must_use]
    pub fn projected(self, from: usize, to: usize) -> Self {
        Self { projection: Some((from, to)), ..self }
    }

    /// Channels of an encoded position.
    #[must_use]
    pub fn channels(&self) -> usize {
        if let Some((_, to)) = self.projection {
            return to;
        }
        match &self.encoding {
            PositionEncodingConfig::Fourier {
                bands,
                max_resolution,
                concat_positions,
                sine_only,
            } => FourierPositionEncoding::new(
                *bands,
                max_resolution.clone(),
                *concat_positions,
                *sine_only,
            )
            .channels(),
            PositionEncodingConfig::Trainable { channels, .. } => *channels,
        }
    }

    /// Axes the encoding describes.
    #[must_use]
    pub const fn dimensions(&self) -> usize {
        match &self.encoding {
            PositionEncodingConfig::Fourier { max_resolution, .. } => max_resolution.len(),
            PositionEncodingConfig::Trainable { dimensions, .. } => *dimensions,
        }
    }

    /// A fresh encoding.
    #[must_use]
    pub fn init(&self, init: Initialisation, device: &Device) -> PositionEncoding {
        let position_embeddings = match &self.encoding {
            PositionEncodingConfig::Fourier {
                bands,
                max_resolution,
                concat_positions,
                sine_only,
            } => EncodingKind::Fourier(FourierPositionEncoding::new(
                *bands,
                max_resolution.clone(),
                *concat_positions,
                *sine_only,
            )),
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

    /// Axes the encoding describes.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        match &self.position_embeddings {
            EncodingKind::Fourier(fourier) => fourier.dimensions(),
            EncodingKind::Trainable(trainable) => trainable.dimensions(),
        }
    }

    /// The positions of a whole grid. Fourier coordinates run from -1 to 1, both ends included.
    ///
    /// `interpolate` fits a trainable encoding of a square grid to another one, bicubically.
    ///
    /// # Panics
    /// If the encoding describes another number of axes, or a trainable one has another number of
    /// positions than the grid has cells.
    #[must_use]
    pub fn grid(&self, lengths: &[usize], interpolate: bool, device: &Device) -> Positions {
        let positions = match &self.position_embeddings {
            EncodingKind::Fourier(fourier) => Positions::Grid(fourier.grid(lengths, device)),
            EncodingKind::Trainable(trainable) if interpolate => {
                let [height, width] = *lengths else {
                    panic!("only positions on a plane interpolate, not along {lengths:?}")
                };
                Positions::Table(trainable.interpolate(height, width))
            }
            EncodingKind::Trainable(trainable) => Positions::Table(trainable.table()),
        };
        self.project(positions)
    }

    /// The positions of some cells of a grid. Fourier coordinates are `-1 + 2 i / length`, unlike
    /// those of [`grid`](Self::grid): the reference's two formulas, kept apart.
    ///
    /// A trainable encoding gives all its positions whatever the points, as the reference does.
    ///
    /// # Shapes
    /// - `points`: `[points]`, flat row-major indices into the grid; every cell when absent
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
    #[should_panic(expected = "a Fourier encoding of 2 axes does not describe a grid of [2, 3, 4]")]
    fn a_grid_of_other_axes_is_refused() {
        let device = Device::flex();
        let fourier = PositionConfig::fourier(2, &[4, 3]).init(Initialisation::default(), &device);
        let _ = fourier.grid(&[2, 3, 4], false, &device);
    }
}
