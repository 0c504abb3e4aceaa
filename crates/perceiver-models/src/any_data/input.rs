//! The input of a model for any data: raw numbers of a batch, padded to equal lengths.

use burn::tensor::{Bool, Int, Tensor};
use perceiver_core::KeyMask;

use super::{AnyDataConfig, ModalityConfig};

/// The input of a [`PerceiverForAnyData`](crate::PerceiverForAnyData).
#[derive(Debug, Clone)]
pub struct AnyDataInput {
    /// The modalities, in the configuration's order.
    pub modalities: Vec<ModalityInput>,
    /// `[batch, elements]`, true for the elements to reconstruct, whose content the model does not
    /// see.
    pub masked: Option<Tensor<2, Bool>>,
}

/// One modality of a batch.
#[derive(Debug, Clone)]
pub struct ModalityInput {
    /// Its numbers.
    pub data: ModalityData,
    /// `[batch, elements]`, true for padding at the end of shorter examples.
    pub padding: Option<Tensor<2, Bool>>,
}

/// The numbers of a modality in the units of the data; NaN where one is missing.
#[derive(Debug, Clone)]
pub enum ModalityData {
    /// `[batch, steps, channels]`.
    Series(Tensor<3>),
    /// A row of a table.
    Table {
        /// `[batch, columns]`; any number in a column of categories.
        numbers: Tensor<2>,
        /// `[batch, columns]`: 0 for a missing cell, 1 for an unknown category, the others from 2;
        /// any of these in a column of numbers.
        categories: Tensor<2, Int>,
    },
    /// Points.
    Points {
        /// `[batch, points, dimensions]`.
        coordinates: Tensor<3>,
        /// `[batch, points, features]`, unless the points have none.
        features: Option<Tensor<3>>,
    },
    /// `[batch, cells, channels]`, row by row.
    Grid(Tensor<3>),
    /// `[batch, tokens]`.
    Tokens(Tensor<2, Int>),
}

impl ModalityInput {
    /// Examples of one length.
    #[must_use]
    pub const fn new(data: ModalityData) -> Self {
        Self { data, padding: None }
    }

    /// Hides the end of shorter examples.
    ///
    /// # Shapes
    /// - `padding`: `[batch, elements]`
    #[must_use]
    pub fn padding(self, padding: impl Into<Option<Tensor<2, Bool>>>) -> Self {
        Self { padding: padding.into(), ..self }
    }
}

impl AnyDataInput {
    /// An input without masked elements.
    #[must_use]
    pub const fn new(modalities: Vec<ModalityInput>) -> Self {
        Self { modalities, masked: None }
    }

    /// The padding of all tokens, if there is any.
    pub(super) fn key_mask(&self, config: &AnyDataConfig) -> Option<KeyMask> {
        let padded = self.modalities.iter().find_map(|modality| modality.padding.as_ref())?;
        let ([batch, _], device) = (padded.dims(), padded.device());
        let hidden = self.modalities.iter().zip(&config.modalities).map(|(input, config)| {
            let [_, tokens] = config.extents(&input.data);
            let none = || Tensor::<2, Int>::zeros([batch, tokens], &device).bool();
            input.padding.clone().unwrap_or_else(none)
        });
        Some(KeyMask::from_hidden(Tensor::cat(hidden.collect(), 1)))
    }
}

impl ModalityConfig {
    /// Examples, and tokens of each.
    pub(crate) fn extents(&self, data: &ModalityData) -> [usize; 2] {
        let [batch, elements] = match data {
            ModalityData::Series(values) | ModalityData::Grid(values) => {
                [values.dims()[0], values.dims()[1]]
            }
            ModalityData::Points { coordinates, .. } => {
                [coordinates.dims()[0], coordinates.dims()[1]]
            }
            ModalityData::Table { numbers, .. } => numbers.dims(),
            ModalityData::Tokens(ids) => ids.dims(),
        };
        match self {
            Self::Grid(grid) => [batch, grid.patches().iter().product()],
            _ => [batch, elements],
        }
    }
}
