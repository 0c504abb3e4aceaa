//! Every example runs to its end.
#![cfg(feature = "flex")]

#[path = "../examples/fine_tune_a_head.rs"]
mod fine_tune_a_head;
#[path = "../examples/point_cloud.rs"]
mod point_cloud;
#[path = "../examples/train_in_burns_learner.rs"]
mod train_in_burns_learner;
