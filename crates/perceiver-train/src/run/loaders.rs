use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::tensor::Device;
use perceiver_data::{Remarks, Source};

use crate::loader::{Passes, SkippedPlaces};
use crate::{Collate, Loader, Skipped};

/// A loader over examples of any type.
pub(super) trait AnyLoader<B>: DataLoader<B> {
    /// The same examples, divided otherwise and on another device.
    fn with_passes(&self, passes: Passes, device: &Device) -> Arc<dyn AnyLoader<B>>;

    /// Moves the batches to another device.
    fn on(&self, device: &Device) -> Arc<dyn AnyLoader<B>>;

    /// If true, examples come in random order without end.
    fn is_shuffled(&self) -> bool;

    /// Examples of a batch.
    fn batch_size(&self) -> usize;

    /// Number of examples, readable or not.
    fn examples(&self) -> usize;

    /// Examples that could not be read so far.
    fn skipped(&self) -> Skipped;

    /// Those of [`skipped`](Self::skipped) by their places.
    fn skipped_places(&self) -> SkippedPlaces;

    /// Counts what an earlier session could not read.
    fn remember_skipped(&self, places: SkippedPlaces);

    /// The source's [remarks](Source::remarks).
    fn remarks(&self) -> Remarks;
}

impl<S, C> AnyLoader<C::Batch> for Loader<S, C>
where
    S: Source + 'static,
    C: Collate<S::Example, Batch: Send + 'static> + 'static,
{
    fn with_passes(&self, passes: Passes, device: &Device) -> Arc<dyn AnyLoader<C::Batch>> {
        Arc::new(Self::with_passes(self, passes, device))
    }

    fn on(&self, device: &Device) -> Arc<dyn AnyLoader<C::Batch>> {
        Arc::new(Self::with_passes(self, self.passes(), device))
    }

    fn is_shuffled(&self) -> bool {
        Self::is_shuffled(self)
    }

    fn batch_size(&self) -> usize {
        Self::batch_size(self)
    }

    fn examples(&self) -> usize {
        Self::examples(self)
    }

    fn skipped(&self) -> Skipped {
        Self::skipped(self)
    }

    fn skipped_places(&self) -> SkippedPlaces {
        Self::skipped_places(self)
    }

    fn remember_skipped(&self, places: SkippedPlaces) {
        Self::remember_skipped(self, places);
    }

    fn remarks(&self) -> Remarks {
        Self::remarks(self)
    }
}
