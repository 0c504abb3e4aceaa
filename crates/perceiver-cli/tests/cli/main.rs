//! The built program from end to end, on the workspace's fixtures.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod answers;
mod attend;
mod bad_input;
mod browser;
mod bundled;
mod evaluate;
mod features;
mod flow;
mod foreign;
mod hostile;
#[cfg(target_os = "linux")]
mod limits;
mod long_texts;
mod many;
mod masks;
mod models;
mod outputs;
mod predict;
mod program;
mod reference;
mod strange_files;
mod support;
mod train;
mod videos;
