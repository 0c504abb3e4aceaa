#![doc = include_str!("../README.md")]

mod adamw;
mod loader;
mod objective;
mod trainee;

pub use adamw::AdamW;
pub use loader::{Collate, Loader, Skipped};
pub use objective::{Measure, Objective, Outcome, Quantity};
pub use trainee::{Trainee, UpdateRules};
