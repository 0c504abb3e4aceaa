//! How each head takes named tensors, and how it names its outputs.

use burn::tensor::Tensor;

use super::Outputs;
use super::inputs::Inputs;
use crate::head::HeadRequest;
use crate::{
    Error, PerceiverClassifierOutput, PerceiverForAnyData,
    PerceiverForImageClassificationConvProcessing, PerceiverForImageClassificationFourier,
    PerceiverForImageClassificationLearned, PerceiverForMaskedLM,
    PerceiverForMultimodalAutoencoding, PerceiverForOpticalFlow,
    PerceiverForSequenceClassification, PerceiverHead, PerceiverMaskedLMOutput, PerceiverModel,
    PerceiverModelOutput, Request,
};

pub(super) trait NamedHead: PerceiverHead {
    /// Takes the head's inputs.
    fn request(inputs: &mut Inputs<'_>) -> Result<HeadRequest<Self>, Error>;

    /// Names what the head returns.
    fn name(output: Self::Output, outputs: &mut Outputs);
}

impl NamedHead for PerceiverModel {
    fn request(inputs: &mut Inputs<'_>) -> Result<HeadRequest<Self>, Error> {
        inputs.tokens()
    }

    fn name(output: PerceiverModelOutput<()>, outputs: &mut Outputs) {
        outputs.push("last_hidden_state", output.last_hidden_state);
        outputs.rest(output.hidden_states, output.attentions, output.cross_attentions);
    }
}

impl NamedHead for PerceiverForMaskedLM {
    fn request(inputs: &mut Inputs<'_>) -> Result<HeadRequest<Self>, Error> {
        let mut request = inputs.text()?;
        request.labels = inputs.token_labels(request.input.dims()[0])?;
        Ok(request)
    }

    fn name(output: PerceiverMaskedLMOutput, outputs: &mut Outputs) {
        outputs.loss(output.loss);
        outputs.push("logits", output.logits);
        outputs.rest(output.hidden_states, output.attentions, output.cross_attentions);
    }
}

impl NamedHead for PerceiverForSequenceClassification {
    fn request(inputs: &mut Inputs<'_>) -> Result<HeadRequest<Self>, Error> {
        let mut request = inputs.text()?;
        request.labels = inputs.labels(request.input.dims()[0])?;
        Ok(request)
    }

    fn name(output: PerceiverClassifierOutput<Tensor<2>>, outputs: &mut Outputs) {
        outputs.answers(output);
    }
}

macro_rules! image_head {
    ($name:ident) => {
        impl NamedHead for $name {
            fn request(inputs: &mut Inputs<'_>) -> Result<HeadRequest<Self>, Error> {
                inputs.image(Self::preprocessor_config)
            }

            fn name(output: PerceiverClassifierOutput<Tensor<2>>, outputs: &mut Outputs) {
                outputs.answers(output);
            }
        }
    };
}
image_head!(PerceiverForImageClassificationLearned);
image_head!(PerceiverForImageClassificationFourier);
image_head!(PerceiverForImageClassificationConvProcessing);

impl NamedHead for PerceiverForOpticalFlow {
    fn request(inputs: &mut Inputs<'_>) -> Result<HeadRequest<Self>, Error> {
        let request = inputs.frames()?;
        inputs.no_labels()?;
        Ok(request)
    }

    fn name(output: PerceiverClassifierOutput<Tensor<4>>, outputs: &mut Outputs) {
        outputs.answers(output);
    }
}

impl NamedHead for PerceiverForAnyData {
    fn request(inputs: &mut Inputs<'_>) -> Result<HeadRequest<Self>, Error> {
        let request = Request::new(inputs.any_data()?);
        inputs.no_labels()?;
        Ok(request)
    }

    fn name(output: PerceiverClassifierOutput<Tensor<3>>, outputs: &mut Outputs) {
        outputs.answers(output);
    }
}

impl NamedHead for PerceiverForMultimodalAutoencoding {
    fn request(inputs: &mut Inputs<'_>) -> Result<HeadRequest<Self>, Error> {
        let request = inputs.clip()?;
        inputs.no_labels()?;
        Ok(request)
    }

    fn name(output: Self::Output, outputs: &mut Outputs) {
        outputs.push("logits.audio", output.logits.audio);
        outputs.push("logits.image", output.logits.image);
        outputs.push("logits.label", output.logits.label);
        outputs.rest(output.hidden_states, output.attentions, output.cross_attentions);
    }
}
