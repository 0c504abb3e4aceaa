//! Batches for the objectives: one [`Collate`](crate::Collate) per kind of example.

mod clips;
mod flow;
mod images;
mod mixing;
mod texts;

pub use clips::{ClipBatcher, ClipPoints};
pub use flow::FlowBatcher;
pub use images::ImageBatcher;
pub use texts::{MaskedTextBatcher, TextBatcher};
