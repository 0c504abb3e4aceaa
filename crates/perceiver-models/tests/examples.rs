//! Every example runs to its end.
#![cfg(feature = "flex")]

#[path = "../examples/custom_head.rs"]
mod custom_head;
#[path = "../examples/encode_once_decode_often.rs"]
mod encode_once_decode_often;
