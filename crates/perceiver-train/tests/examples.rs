//! Every example runs to its end.
#![cfg(feature = "flex")]

#[path = "../examples/fine_tune_a_head.rs"]
mod fine_tune_a_head;
#[path = "../examples/point_cloud.rs"]
#[expect(dead_code, reason = "its `main` trains in the folder of the person who runs it")]
mod point_cloud;
#[path = "../examples/train_in_burns_learner.rs"]
mod train_in_burns_learner;
