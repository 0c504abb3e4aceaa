//! Every example runs to its end.
#![cfg(feature = "flex")]

#[path = "../examples/choose_a_device.rs"]
mod choose_a_device;
#[path = "../examples/classify_photo.rs"]
mod classify_photo;
#[path = "../examples/embed_in_a_program.rs"]
mod embed_in_a_program;
#[path = "../examples/fill_mask.rs"]
mod fill_mask;
#[path = "../examples/optical_flow.rs"]
mod optical_flow;
