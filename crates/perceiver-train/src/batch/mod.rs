//! From examples to what an objective takes: one [`Collate`](crate::Collate) a kind of example.

mod clips;
mod flow;

pub use clips::{ClipBatcher, ClipPoints};
pub use flow::FlowBatcher;
