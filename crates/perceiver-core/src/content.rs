use burn::tensor::{Device, Int, Tensor};

use crate::LinearMap;

/// The channels of tokens that carry data: raw channels, or a linear map of them.
///
/// A learned image head maps the 3 channels of a pixel to 256. Attention can absorb the map and read
/// the 3 channels instead.
#[derive(Debug, Clone)]
pub struct Content {
    raw: Tensor<3>,
    map: Option<LinearMap>,
}

impl From<Tensor<3>> for Content {
    fn from(raw: Tensor<3>) -> Self {
        Self { raw, map: None }
    }
}

impl Content {
    /// `map` applied to `raw`.
    ///
    /// # Shapes
    /// - `raw`: `[batch, tokens, raw_channels]`
    ///
    /// # Panics
    /// If `raw` has more or fewer channels than the map takes.
    #[must_use]
    pub fn mapped(raw: Tensor<3>, map: LinearMap) -> Self {
        burn::tensor::assert_shape!(raw, [_, _, map.dims()[0]]);
        Self { raw, map: Some(map) }
    }

    /// `[batch, tokens, content_channels]`.
    #[must_use]
    pub fn dims(&self) -> [usize; 3] {
        let [batch, tokens, channels] = self.raw.dims();
        [batch, tokens, self.map.as_ref().map_or(channels, |map| map.dims()[1])]
    }

    /// Every channel of every token.
    ///
    /// # Shapes
    /// - returns: `[batch, tokens, content_channels]`
    #[must_use]
    pub fn to_dense(&self) -> Tensor<3> {
        match &self.map {
            None => self.raw.clone(),
            Some(map) => map.forward(self.raw.clone()),
        }
    }

    /// The fewest channels that determine the content, and their map to it.
    pub(crate) fn fewest_channels(&self) -> (Tensor<3>, Option<LinearMap>) {
        match &self.map {
            Some(map) if map.dims()[0] < map.dims()[1] => (self.raw.clone(), Some(map.clone())),
            _ => (self.to_dense(), None),
        }
    }

    /// The number of those channels.
    pub(crate) fn fewest(&self) -> usize {
        let [_, _, raw] = self.raw.dims();
        self.map.as_ref().map_or(raw, |map| raw.min(map.dims()[1]))
    }

    pub(crate) fn device(&self) -> Device {
        self.raw.device()
    }

    /// The tokens `start..start + count`.
    pub(crate) fn narrow(&self, start: usize, count: usize) -> Self {
        Self { raw: self.raw.clone().narrow(1, start, count), map: self.map.clone() }
    }

    /// The tokens at `points`.
    pub(crate) fn select(&self, points: Tensor<1, Int>) -> Self {
        Self { raw: self.raw.clone().select(1, points), map: self.map.clone() }
    }
}
