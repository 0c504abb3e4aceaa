#![doc = include_str!("../README.md")]

mod adamw;
mod objective;

pub use adamw::AdamW;
pub use objective::{Measure, Objective, Outcome, Quantity};
