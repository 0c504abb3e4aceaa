use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::{Initialisation, Positions, Segment, TokenArray};

/// The learned array that every input is read into.
///
/// # Source
/// Perceiver section 3; `PerceiverEmbeddings`.
#[derive(Module, Debug)]
pub struct Latents {
    latents: Param<Tensor<2>>,
}

impl Latents {
    /// Fresh latents.
    #[must_use]
    pub fn new(latents: usize, channels: usize, init: Initialisation, device: &Device) -> Self {
        Self { latents: init.parameter([latents, channels], device) }
    }

    /// The latents, which all examples share.
    ///
    /// # Shapes
    /// - returns: `[batch, latents, latent_channels]`
    #[must_use]
    pub fn forward(&self, batch: usize) -> TokenArray {
        let latents = Positions::Table(self.latents.val());
        TokenArray::new(vec![Segment::from_positions(batch, latents)])
    }
}
