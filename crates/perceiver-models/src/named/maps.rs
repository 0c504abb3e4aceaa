//! Where a text or image model looks.

use burn::tensor::{Device, Int, Tensor};
use perceiver_core::AttentionMaps;
use perceiver_io::{
    ClassificationDecoder, Decoder, Frames, ImageInput, ImagePreprocessor, ImagePreprocessorConfig,
    Preprocessor,
};

use super::NamedTensors;
use super::inputs::Inputs;
use crate::config::PerceiverConfig;
use crate::losses::Labels;
use crate::model::{CrossAttentionMaps, PerceiverModel};
use crate::{
    AnyPerceiver, Error, PerceiverForImageClassificationConvProcessing,
    PerceiverForImageClassificationFourier, PerceiverForImageClassificationLearned, Request,
};

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
        let mut inputs = Inputs::new(inputs, config, device, false);
        macro_rules! of_image {
            ($head:ident, $model:expr) => {{
                let request = inputs.image($head::preprocessor_config)?;
                inputs.finish()?;
                Ok(of_image(
                    $model.perceiver(),
                    request,
                    &$head::preprocessor_config(config),
                    decoder,
                ))
            }};
        }
        match self {
            Self::MaskedLm(model) => {
                let request: Request<_> = inputs.text()?;
                inputs.finish()?;
                let tokens = vec![request.input.dims()[1]];
                let request = request.map_points(|()| None);
                Ok((maps(model.perceiver(), request, decoder), tokens))
            }
            Self::SequenceClassification(model) => {
                let request: Request<Tensor<2, Int>> = inputs.text()?;
                inputs.finish()?;
                let tokens = vec![request.input.dims()[1]];
                Ok((maps(model.perceiver(), request, decoder), tokens))
            }
            Self::ImageClassificationLearned(model) => {
                of_image!(PerceiverForImageClassificationLearned, model)
            }
            Self::ImageClassificationFourier(model) => {
                of_image!(PerceiverForImageClassificationFourier, model)
            }
            Self::ImageClassificationConvProcessing(model) => {
                of_image!(PerceiverForImageClassificationConvProcessing, model)
            }
            Self::Model(_) | Self::OpticalFlow(_) | Self::MultimodalAutoencoding(_) => {
                let message = format!("names {}, expected a model of texts or images", self.head());
                Err(Error::config("architectures", message))
            }
        }
    }
}

fn maps<P: Preprocessor, D: Decoder<Output = T>, T>(
    perceiver: &PerceiverModel<P, D>,
    request: Request<P::Input, (), D::Points>,
    decoder: bool,
) -> CrossAttentionMaps {
    if decoder {
        return perceiver.cross_attention_maps(request);
    }
    let encoder: AttentionMaps = perceiver.encoder_maps(request);
    CrossAttentionMaps { encoder, decoder: None }
}

fn of_image(
    perceiver: &PerceiverModel<ImagePreprocessor, ClassificationDecoder>,
    request: Request<ImageInput, Labels>,
    preprocessor: &ImagePreprocessorConfig,
    decoder: bool,
) -> (CrossAttentionMaps, Vec<usize>) {
    let (height, width) = match &request.input.frames {
        Frames::Image(image) => (image.dims()[2], image.dims()[3]),
        Frames::Video(video) => (video.dims()[3], video.dims()[4]),
    };
    let grid = preprocessor.token_grid([height, width]).unwrap_or_default();
    (maps(perceiver, request.split_labels().0, decoder), grid.to_vec())
}
