//! Images changed at random, so that a model does not learn them by heart.
//!
//! Everything is drawn from the generator that is handed in.

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
