//! Random changes of images, against overfitting.
//!
//! The caller's generator is the only source of randomness.

mod affine;
mod crop;
mod operation;
mod prepared;
mod rand_augment;
mod tones;

pub use self::crop::{flip, random_resized_crop, shift};
pub use self::operation::Operation;
pub use self::prepared::{Augmentation, PreparedImages};
pub use self::rand_augment::RandAugment;
