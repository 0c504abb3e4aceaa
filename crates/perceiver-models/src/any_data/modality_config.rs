//! The inputs of a model for any data.

use perceiver_io::PositionConfig;
use serde::{Deserialize, Serialize};

/// One input, by kind. Numbers are normalised by the means and deviations of the training part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ModalityConfig {
    /// Time steps with channels; a token per step.
    Series(SeriesConfig),
    /// A row of a table; a token per column.
    Table(TableConfig),
    /// Points with features; a token per point.
    Points(PointsConfig),
    /// A grid of one to three axes; a token per patch.
    Grid(GridConfig),
    /// Bytes or other ids; a token each.
    Tokens(TokensConfig),
}

/// A [`ModalityConfig::Series`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesConfig {
    /// Name of the modality.
    pub name: String,
    /// Encoding of a step's number.
    pub position: ModalityPosition,
    /// Steps of the longest series, which Fourier positions map to -1..1. Longer series continue
    /// beyond 1.
    #[serde(default)]
    pub max_length: usize,
    /// The numbers of a step.
    #[serde(default)]
    pub channels: Channels,
}

/// A [`ModalityConfig::Table`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// Name of the modality.
    pub name: String,
    /// Channels of the token of a column.
    pub embedding: usize,
    /// The columns, in the order of their tokens.
    #[serde(default)]
    pub columns: Vec<ColumnConfig>,
}

/// A column of a table: numbers, or names of categories.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnConfig {
    /// Name of the column.
    pub name: String,
    /// Mean of its numbers.
    #[serde(default)]
    pub mean: f64,
    /// Standard deviation of its numbers.
    #[serde(default = "one")]
    pub deviation: f64,
    /// Its categories, if it holds names. A name that is not among them counts as unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
}

/// A [`ModalityConfig::Points`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointsConfig {
    /// Name of the modality.
    pub name: String,
    /// Encoding of the coordinates; Fourier features.
    pub position: ModalityPosition,
    /// If true, coordinates are relative to the mean of their example's points.
    #[serde(default)]
    pub centred: bool,
    /// The origin of coordinates that are not centred: a number for each dimension.
    #[serde(default)]
    pub centre: Vec<f64>,
    /// The distance from the centre that becomes 1.
    #[serde(default)]
    pub scale: f64,
    /// The features of a point.
    #[serde(default)]
    pub channels: Channels,
}

/// A [`ModalityConfig::Grid`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridConfig {
    /// Name of the modality.
    pub name: String,
    /// Encoding of a patch's place.
    pub position: ModalityPosition,
    /// Length of each axis in cells, slowest first.
    #[serde(default)]
    pub shape: Vec<usize>,
    /// Cells of a patch along each axis; single cells if absent.
    #[serde(default)]
    pub patch: Vec<usize>,
    /// The numbers of a cell.
    #[serde(default)]
    pub channels: Channels,
}

/// A [`ModalityConfig::Tokens`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokensConfig {
    /// Name of the modality.
    pub name: String,
    /// Encoding of a token's number.
    pub position: ModalityPosition,
    /// Channels of an embedded id.
    pub embedding: usize,
    /// Number of ids.
    #[serde(default)]
    pub vocabulary: usize,
    /// Tokens of the longest sequence, which Fourier positions map to -1..1.
    #[serde(default)]
    pub max_length: usize,
}

/// The numbers of a step, a point or a cell: as many as there are means.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    /// Mean of each channel.
    #[serde(default)]
    pub mean: Vec<f64>,
    /// Standard deviation of each channel.
    #[serde(default)]
    pub deviation: Vec<f64>,
    /// If true, each channel has a second one that is 1 where the number is missing. A missing
    /// number itself counts as the mean.
    #[serde(default)]
    pub missing: bool,
}

/// The encoding of the positions of a modality, whose channels follow those of its content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ModalityPosition {
    /// Sines and cosines of the coordinates.
    Fourier {
        /// Frequencies along each axis.
        bands: usize,
        /// Points along each axis that the highest frequency tells apart. By default the number of
        /// steps, tokens or patches, and 64 along each axis of points.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        resolution: Vec<usize>,
    },
    /// A learned vector for each position.
    Trainable {
        /// Channels of a vector.
        channels: usize,
    },
}

impl ModalityConfig {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Series(series) => &series.name,
            Self::Table(table) => &table.name,
            Self::Points(points) => &points.name,
            Self::Grid(grid) => &grid.name,
            Self::Tokens(tokens) => &tokens.name,
        }
    }

    /// Its kind, as config.json names it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Series(_) => "series",
            Self::Table(_) => "table",
            Self::Points(_) => "points",
            Self::Grid(_) => "grid",
            Self::Tokens(_) => "tokens",
        }
    }

    /// Channels of a token before those of its position.
    #[must_use]
    pub fn content_channels(&self) -> usize {
        match self {
            Self::Series(series) => series.channels.read(),
            Self::Table(table) => table.embedding,
            Self::Points(points) => points.channels.read(),
            Self::Grid(grid) => grid.channels.read().saturating_mul(grid.patch_cells()),
            Self::Tokens(tokens) => tokens.embedding,
        }
    }

    /// Channels of a token, without padding.
    #[must_use]
    pub fn channels(&self) -> usize {
        let positions = self.positions().map_or(0, |positions| positions.channels());
        self.content_channels().saturating_add(positions)
    }

    /// Numbers of a token that a reconstruction predicts: those of a step, a point or a patch, or a
    /// score for each id.
    #[must_use]
    pub fn reconstructed(&self) -> usize {
        match self {
            Self::Series(series) => series.channels.count(),
            Self::Table(_) => 0,
            Self::Points(points) => points.channels.count(),
            Self::Grid(grid) => grid.channels.count() * grid.patch_cells(),
            Self::Tokens(tokens) => tokens.vocabulary,
        }
    }

    /// The numbers of an element, unless it is a row of a table or ids.
    #[must_use]
    pub const fn numbers(&self) -> Option<&Channels> {
        match self {
            Self::Series(series) => Some(&series.channels),
            Self::Points(points) => Some(&points.channels),
            Self::Grid(grid) => Some(&grid.channels),
            Self::Table(_) | Self::Tokens(_) => None,
        }
    }

    /// The numbers of an element, to be set.
    pub const fn numbers_mut(&mut self) -> Option<&mut Channels> {
        match self {
            Self::Series(series) => Some(&mut series.channels),
            Self::Points(points) => Some(&mut points.channels),
            Self::Grid(grid) => Some(&mut grid.channels),
            Self::Table(_) | Self::Tokens(_) => None,
        }
    }

    /// Vectors of its embeddings.
    pub(crate) fn entries(&self) -> usize {
        match self {
            Self::Table(table) => {
                let categories =
                    |column: &ColumnConfig| column.categories.as_ref().map_or(0, Vec::len);
                table.columns.iter().map(|column| categories(column).saturating_add(3)).sum()
            }
            Self::Tokens(tokens) => tokens.vocabulary,
            Self::Series(_) | Self::Points(_) | Self::Grid(_) => 0,
        }
    }

    /// The encoding of its positions; a table has none beside its columns' own weights.
    #[must_use]
    pub fn positions(&self) -> Option<PositionConfig> {
        Some(match self {
            Self::Series(series) => series.position.config(&[series.max_length]),
            Self::Table(_) => return None,
            Self::Points(points) => points.position.config(&vec![64; points.centre.len()]),
            Self::Grid(grid) => grid.position.config(&grid.patches()),
            Self::Tokens(tokens) => tokens.position.config(&[tokens.max_length]),
        })
    }
}

impl GridConfig {
    /// Cells of a patch along each axis.
    #[must_use]
    pub fn patch_shape(&self) -> Vec<usize> {
        if self.patch.is_empty() { vec![1; self.shape.len()] } else { self.patch.clone() }
    }

    /// Patches along each axis.
    #[must_use]
    pub fn patches(&self) -> Vec<usize> {
        let lengths = self.shape.iter().zip(self.patch_shape());
        lengths.map(|(length, patch)| length / patch.max(1)).collect()
    }

    pub(super) fn patch_cells(&self) -> usize {
        self.patch.iter().fold(1, |cells: usize, &length| cells.saturating_mul(length))
    }
}

impl Channels {
    /// Numbers of an element.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.mean.len()
    }

    /// Channels that the model reads.
    const fn read(&self) -> usize {
        self.count().saturating_mul(if self.missing { 2 } else { 1 })
    }
}

impl ModalityPosition {
    /// If true, there are vectors for `max_length` positions and no others.
    #[must_use]
    pub const fn is_trainable(&self) -> bool {
        matches!(self, Self::Trainable { .. })
    }

    fn config(&self, lengths: &[usize]) -> PositionConfig {
        match self {
            Self::Fourier { bands, resolution } if resolution.is_empty() => {
                PositionConfig::fourier(*bands, lengths)
            }
            Self::Fourier { bands, resolution } => PositionConfig::fourier(*bands, resolution),
            Self::Trainable { channels } => {
                let positions = lengths.iter().fold(1, |all: usize, &l| all.saturating_mul(l));
                PositionConfig::trainable(positions, *channels)
            }
        }
    }
}

const fn one() -> f64 {
    1.0
}
