use std::path::{Path, PathBuf};

use perceiver_data::ArrayLayout;
use serde::{Deserialize, Serialize};

/// Files of [`Data::Arrays`](super::Data::Arrays), all in NumPy's `.npy` format. The first axis counts examples.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArraysData {
    /// Training examples.
    pub train: PathBuf,
    /// Their labels: whole numbers or strings are classes, other numbers are values to predict.
    pub train_labels: Option<PathBuf>,
    /// Validation examples.
    pub validation: PathBuf,
    /// Their labels.
    pub validation_labels: Option<PathBuf>,
    /// Meaning of the axes.
    pub layout: ArrayKind,
    /// The name of the model's modality: `series`, `row`, `cloud` or `grid` by default.
    pub name: Option<String>,
    /// Coordinates of a point, which come before its features.
    #[serde(default = "three")]
    pub dimensions: usize,
    /// Axes of a grid.
    #[serde(default = "two")]
    pub axes: usize,
}

/// Meaning of the axes of [`ArraysData`]. Series and grids of one channel may leave out the last axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArrayKind {
    /// `[examples, steps, channels]`
    Series,
    /// `[examples, columns]`
    Table,
    /// `[examples, points, coordinates and features]`
    Points,
    /// `[examples, axes, channels]`
    Grid,
}

const fn three() -> usize {
    3
}

const fn two() -> usize {
    2
}

impl ArraysData {
    /// The training part: examples and labels.
    pub(in crate::recipe) fn train(&self) -> (&Path, Option<&Path>) {
        (&self.train, self.train_labels.as_deref())
    }

    /// The validation part: examples and labels.
    pub(crate) fn validation(&self) -> (&Path, Option<&Path>) {
        (&self.validation, self.validation_labels.as_deref())
    }

    /// Name of the modality, and meaning of the axes.
    pub(in crate::recipe) fn layout(&self) -> (&str, ArrayLayout) {
        let (usual, layout) = match self.layout {
            ArrayKind::Series => ("series", ArrayLayout::Series),
            ArrayKind::Table => ("row", ArrayLayout::Table),
            ArrayKind::Points => ("cloud", ArrayLayout::Points { dimensions: self.dimensions }),
            ArrayKind::Grid => ("grid", ArrayLayout::Grid { axes: self.axes }),
        };
        (self.name.as_deref().unwrap_or(usual), layout)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.train_labels.is_some() != self.validation_labels.is_some() {
            return Err(
                "`data` needs both `train_labels` and `validation_labels`, or neither".into()
            );
        }
        Ok(())
    }
}
