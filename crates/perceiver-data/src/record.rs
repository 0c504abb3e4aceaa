//! One example of data of one's own, as it was read from a file: the input of a `PerceiverForAnyData`.

use std::sync::Arc;

/// An example: the raw arrays of its modalities and, if it has one, the answer expected for it.
///
/// Nothing here is normalised, padded or encoded: the model keeps the means, scales and categories
/// that it was trained with.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// File and place, for messages: `rides.csv, row 12`.
    pub origin: String,
    /// The modalities by name.
    pub inputs: Vec<(Arc<str>, Modality)>,
    /// The expected answer.
    pub target: Option<Target>,
}

/// The data of one modality. A number that is not finite is a missing value.
#[derive(Debug, Clone, PartialEq)]
pub enum Modality {
    /// Time steps in order: `[steps, channels]`.
    Series(Rows),
    /// One row of a table.
    Table {
        /// Names of the columns, which the rows of a table share.
        columns: Arc<[String]>,
        /// The row's cell in each column.
        cells: Vec<Cell>,
    },
    /// Points in space, in any order.
    Points {
        /// `[points, dimensions]`.
        coordinates: Rows,
        /// `[points, features]`; zero features if the points have none.
        features: Rows,
    },
    /// Cells of a grid of one to three axes, such as an image, a spectrogram or a volume.
    Grid {
        /// Length of each axis, slowest first.
        shape: Vec<usize>,
        /// `[cells, channels]`, row by row.
        values: Rows,
    },
    /// Bytes or other ids.
    Tokens(Vec<u32>),
}

/// Numbers in rows of equal length.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// Numbers in a row.
    pub columns: usize,
    /// Number of rows; kept apart because rows may be empty.
    pub rows: usize,
    /// Row after row.
    pub values: Vec<f32>,
}

/// One cell of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// An empty cell.
    Missing,
    /// A number.
    Number(f32),
    /// The name of a category.
    Category(String),
}

/// The answer expected for a [`Record`].
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// The name of its class.
    Class(String),
    /// The names of all labels that hold.
    Labels(Vec<String>),
    /// One number for each quantity to predict.
    Values(Vec<f32>),
    /// The name of the class of each step, point, cell or token; `None` is not counted.
    Elements(Vec<Option<Arc<str>>>),
}

impl Rows {
    /// Numbers in rows of `columns`.
    ///
    /// # Panics
    /// If `columns` is 0 or does not divide the numbers.
    #[must_use]
    pub fn new(columns: usize, values: Vec<f32>) -> Self {
        assert!(
            columns > 0 && values.len().is_multiple_of(columns),
            "{} numbers do not make rows of {columns}",
            values.len()
        );
        Self { columns, rows: values.len() / columns, values }
    }

    /// `rows` rows without a number.
    #[must_use]
    pub const fn empty(rows: usize) -> Self {
        Self { columns: 0, rows, values: Vec::new() }
    }
}

impl Modality {
    /// Steps, columns, points, cells or tokens.
    #[must_use]
    pub fn elements(&self) -> usize {
        match self {
            Self::Series(rows) => rows.rows,
            Self::Table { cells, .. } => cells.len(),
            Self::Points { coordinates, .. } => coordinates.rows,
            Self::Grid { values, .. } => values.rows,
            Self::Tokens(ids) => ids.len(),
        }
    }

    /// Its kind, as config.json and messages name it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Series(_) => "series",
            Self::Table { .. } => "table",
            Self::Points { .. } => "points",
            Self::Grid { .. } => "grid",
            Self::Tokens(_) => "tokens",
        }
    }
}
