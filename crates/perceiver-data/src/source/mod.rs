//! Sources of training and evaluation examples.

mod class_names;
mod clips;
mod idx;
mod image_folder;
mod masked_text;
mod plain_text;
mod record_arrays;
mod record_series;
mod record_table;
mod records;
mod series_table;
mod table_reader;
mod text_pieces;
mod text_table;
mod ts_file;

use image::RgbImage;
use rand_chacha::ChaCha8Rng;

pub use self::clips::{Clip, ClipOptions, ClipPart, Clips};
pub use self::idx::IdxImages;
pub use self::image_folder::ImageFolder;
pub use self::masked_text::{MaskedText, WholeWordMask};
pub use self::plain_text::{Pieces, PlainText};
pub use self::record_arrays::{ArrayLayout, RecordArrays};
pub use self::record_series::{RecordSeries, SeriesColumns};
pub use self::record_table::RecordTable;
pub use self::text_pieces::TextPieces;
pub use self::text_table::{Label, LabelColumns, LabelledText, TextColumns, TextTable};
use crate::Result;

/// Numbered examples for training or evaluation.
pub trait Source: Send + Sync {
    /// One example.
    type Example: Send;

    /// Number of examples.
    fn len(&self) -> usize;

    /// Returns true if there are no examples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads an example. Everything random (a crop, a mask, a motion) comes from `random` alone, so
    /// that a run can be repeated.
    ///
    /// # Errors
    /// Returns an error that names the file and the place if the example cannot be read.
    ///
    /// # Panics
    /// May panic if `index` is not below [`len`](Self::len).
    fn example(&self, index: usize, random: &mut ChaCha8Rng) -> Result<Self::Example>;

    /// Remarks for the user on how the data was opened. A source that wraps another passes its remarks
    /// on.
    fn remarks(&self) -> Remarks {
        Remarks::default()
    }
}

/// Remarks for the user on how a [`Source`] was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Why files were left out: one line for each. They are not among the examples.
    pub left_out: Vec<String>,
    /// How ambiguous data was read, one line each.
    pub notes: Vec<String>,
}

impl<S: Source + ?Sized> Source for Box<S> {
    type Example = S::Example;

    fn len(&self) -> usize {
        (**self).len()
    }

    fn example(&self, index: usize, random: &mut ChaCha8Rng) -> Result<Self::Example> {
        (**self).example(index, random)
    }

    fn remarks(&self) -> Remarks {
        (**self).remarks()
    }
}

/// Examples in memory.
impl<E: Clone + Send + Sync> Source for Vec<E> {
    type Example = E;

    fn len(&self) -> usize {
        self.len()
    }

    fn example(&self, index: usize, _: &mut ChaCha8Rng) -> Result<E> {
        Ok(self[index].clone())
    }
}

/// The class of all examples, if there is one and only one.
fn only_class(mut classes: impl Iterator<Item = usize>) -> Option<usize> {
    let first = classes.next()?;
    classes.all(|class| class == first).then_some(first)
}

/// An image and its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledImage {
    /// The image.
    pub image: RgbImage,
    /// Number of its class, from 0.
    pub label: usize,
}
