//! The output of a model for any data.

use serde::{Deserialize, Serialize};

/// The output of a [`PerceiverForAnyData`](crate::PerceiverForAnyData).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Output {
    /// One of the classes of `id2label`.
    Classification {
        /// From latents to an answer.
        #[serde(default)]
        pooling: Pooling,
    },
    /// Any of the labels of `id2label`.
    MultiLabel {
        /// From latents to an answer.
        #[serde(default)]
        pooling: Pooling,
    },
    /// Numbers, in the units of the data.
    Regression {
        /// From latents to an answer.
        #[serde(default)]
        pooling: Pooling,
        /// Names of the numbers.
        targets: Vec<String>,
        /// Mean of each number in the training part.
        #[serde(default)]
        mean: Vec<f64>,
        /// Standard deviation of each number in the training part.
        #[serde(default)]
        deviation: Vec<f64>,
    },
    /// One of the classes of `id2label` for each element of a modality, which queries the latents.
    Elements {
        /// Name of the modality.
        modality: String,
    },
    /// The content of masked elements of a modality: self-supervised training.
    Reconstruction {
        /// Name of the modality.
        modality: String,
        /// How often an element is masked in training.
        #[serde(default = "mask_probability")]
        mask_probability: f64,
    },
}

/// How latents become one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// One learned query attends to them, as in Perceiver IO.
    #[default]
    Query,
    /// Their mean is projected, as in the first Perceiver.
    Mean,
}

const fn mask_probability() -> f64 {
    0.15
}

impl Output {
    /// Its kind, as config.json names it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Classification { .. } => "classification",
            Self::MultiLabel { .. } => "multi-label",
            Self::Regression { .. } => "regression",
            Self::Elements { .. } => "elements",
            Self::Reconstruction { .. } => "reconstruction",
        }
    }

    /// The modality whose elements are answered one by one.
    #[must_use]
    pub fn modality(&self) -> Option<&str> {
        match self {
            Self::Elements { modality } | Self::Reconstruction { modality, .. } => Some(modality),
            _ => None,
        }
    }
}
