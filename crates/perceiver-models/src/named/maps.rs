//! Where a text or image model looks.

use burn::tensor::{Device, Tensor};
use perceiver_core::KeyMask;

use super::NamedTensors;
use super::inputs::{Inputs, convolved};
use crate::config::PerceiverConfig;
use crate::heads::ImagePerceiver;
use crate::model::CrossAttentionMaps;
use crate::{AnyPerceiver, Error};

impl AnyPerceiver {
    /// Where a model of texts or images looks in tensors that come from outside, named as for
    /// [`forward`](Self::forward), and how its tokens lie: `[tokens]` in a text,
    /// `[rows, columns]` in an image.
    ///
    /// The decoder's maps are asked for with `decoder`: for them the whole model has to run.
    ///
    /// # Errors
    /// [`Error::Input`] as of [`forward`](Self::forward); [`Error::Config`] where the model takes
    /// neither a text nor an image.
    pub fn cross_attention_maps(
        &self,
        inputs: NamedTensors,
        config: &PerceiverConfig,
        decoder: bool,
        device: &Device,
    ) -> Result<(CrossAttentionMaps, Vec<usize>), Error> {
        let mut inputs = Inputs::new(inputs, config, device);
        match self {
            Self::MaskedLm(model) => {
                let (ids, mask) = inputs.text()?;
                inputs.finish()?;
                let tokens = vec![ids.dims()[1]];
                let perceiver = model.perceiver();
                let maps = perceiver.cross_attention_maps(ids, mask.as_ref(), &None, decoder);
                Ok((maps, tokens))
            }
            Self::SequenceClassification(model) => {
                let (ids, mask) = inputs.text()?;
                inputs.finish()?;
                let tokens = vec![ids.dims()[1]];
                let perceiver = model.perceiver();
                let maps = perceiver.cross_attention_maps(ids, mask.as_ref(), &(), decoder);
                Ok((maps, tokens))
            }
            Self::ImageClassificationLearned(model) => {
                let image = inputs.sized_image(false)?;
                inputs.finish()?;
                Ok(of_image(model.perceiver(), image, decoder, Some))
            }
            Self::ImageClassificationFourier(model) => {
                let image = inputs.image()?;
                inputs.finish()?;
                Ok(of_image(model.perceiver(), image, decoder, Some))
            }
            Self::ImageClassificationConvProcessing(model) => {
                let image = inputs.convolved_image()?;
                inputs.finish()?;
                Ok(of_image(model.perceiver(), image, decoder, convolved))
            }
            Self::Model(_) | Self::OpticalFlow(_) | Self::MultimodalAutoencoding(_) => {
                let message = format!("names {}, expected a model of texts or images", self.head());
                Err(Error::config("architectures", message))
            }
        }
    }
}

/// `rows` says how many rows of tokens there are of so many rows of pixels.
fn of_image(
    perceiver: &ImagePerceiver,
    (pixels, mask): (Tensor<4>, Option<KeyMask>),
    decoder: bool,
    rows: impl Fn(usize) -> Option<usize>,
) -> (CrossAttentionMaps, Vec<usize>) {
    let [_, _, height, width] = pixels.dims();
    let grid = [height, width].into_iter().filter_map(rows).collect();
    let maps = perceiver.cross_attention_maps(pixels.into(), mask.as_ref(), &(), decoder);
    (maps, grid)
}
