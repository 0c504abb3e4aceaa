#![doc = include_str!("../README.md")]

mod adamw;

pub use adamw::AdamW;
