//! A model that the crates do not know: it classifies clouds of points by their shape.
//!
//! It brings its own data, preprocessor, decoder, objective and metric, and depends on
//! `perceiver-train` alone.

mod clouds;
mod model;
mod objective;

pub use clouds::{Cloud, SHAPES, batch, clouds};
pub use model::{PointClassifier, PointPreprocessor, ShapeDecoder, config};
pub use objective::{CONFIDENCE, CloudBatch, PointClassification};
