//! Any head on named tensors from outside.

mod inputs;
mod maps;

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use perceiver_core::OutputOptions;

use self::inputs::Inputs;
use crate::config::PerceiverConfig;
use crate::{AnyPerceiver, Error, PerceiverClassifierOutput};

/// Tensors by the reference's argument or output names.
pub type NamedTensors = BTreeMap<String, TensorData>;

/// How [`AnyPerceiver::forward`] runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwardOptions {
    /// What is returned beside the result.
    pub outputs: OutputOptions,
    /// Whether learned positions are fitted to images of another size
    /// (`interpolate_pos_encoding`).
    pub interpolate_positions: bool,
}

impl AnyPerceiver {
    /// Runs the model on tensors that come from outside.
    ///
    /// Inputs are named as the reference's arguments: `inputs` (or `input_ids`, `pixel_values`),
    /// `attention_mask`, `labels`; for the autoencoder `inputs.image`, `inputs.audio`,
    /// `inputs.label` and `subsampled_output_points.image`, `.audio`. Outputs are named as
    /// transformers returns them: `logits` (`logits.image`, …), `loss`, `last_hidden_state`,
    /// `hidden_states.0`, `attentions.0`, `cross_attentions.0`, ….
    ///
    /// # Errors
    /// [`Error::Input`] naming the tensor that is missing, unknown, or of a shape, type or value
    /// that the model cannot take.
    pub fn forward(
        &self,
        inputs: NamedTensors,
        config: &PerceiverConfig,
        options: ForwardOptions,
        device: &Device,
    ) -> Result<NamedTensors, Error> {
        let mut inputs = Inputs::new(inputs, config, device);
        let mut outputs = Outputs::default();
        let run = options.outputs;
        match self {
            Self::Model(model) => {
                let (tokens, mask) = inputs.tokens()?;
                inputs.finish()?;
                let output = model.forward(tokens, mask.as_ref(), &(), run);
                outputs.push("last_hidden_state", output.last_hidden_state);
                outputs.rest(output.hidden_states, output.attentions, output.cross_attentions);
            }
            Self::MaskedLm(model) => {
                let (ids, mask) = inputs.text()?;
                let labels = inputs.token_labels(ids.dims()[0])?;
                inputs.finish()?;
                let output = model.forward(ids, mask.as_ref(), labels, run);
                outputs.loss(output.loss);
                outputs.push("logits", output.logits);
                outputs.rest(output.hidden_states, output.attentions, output.cross_attentions);
            }
            Self::SequenceClassification(model) => {
                let (ids, mask) = inputs.text()?;
                let labels = inputs.labels(ids.dims()[0])?;
                inputs.finish()?;
                let output = model.forward(ids, mask.as_ref(), labels.as_ref(), run);
                outputs.answers(output);
            }
            Self::ImageClassificationLearned(model) => {
                let interpolate = options.interpolate_positions;
                let (pixels, mask) = inputs.sized_image(interpolate)?;
                let labels = inputs.labels(pixels.dims()[0])?;
                inputs.finish()?;
                let output =
                    model.forward(pixels, mask.as_ref(), labels.as_ref(), interpolate, run);
                outputs.answers(output);
            }
            Self::ImageClassificationFourier(model) => {
                let (pixels, mask) = inputs.image()?;
                let labels = inputs.labels(pixels.dims()[0])?;
                inputs.finish()?;
                let output = model.forward(pixels, mask.as_ref(), labels.as_ref(), run);
                outputs.answers(output);
            }
            Self::ImageClassificationConvProcessing(model) => {
                let (pixels, mask) = inputs.convolved_image()?;
                let labels = inputs.labels(pixels.dims()[0])?;
                inputs.finish()?;
                let output = model.forward(pixels, mask.as_ref(), labels.as_ref(), run);
                outputs.answers(output);
            }
            Self::OpticalFlow(model) => {
                let (patches, mask) = inputs.frames()?;
                inputs.no_labels()?;
                inputs.finish()?;
                let output = model.forward(patches, mask.as_ref(), run);
                outputs.answers(output);
            }
            Self::MultimodalAutoencoding(model) => {
                let (input, mask) = inputs.clip()?;
                let points = inputs.points()?;
                inputs.no_labels()?;
                inputs.finish()?;
                let output = model.forward(input, mask.as_ref(), &points, run);
                outputs.push("logits.audio", output.logits.audio);
                outputs.push("logits.image", output.logits.image);
                outputs.push("logits.label", output.logits.label);
                outputs.rest(output.hidden_states, output.attentions, output.cross_attentions);
            }
        }
        Ok(outputs.tensors)
    }

    /// Reads tensors that come from outside into latents, named as for
    /// [`forward`](Self::forward).
    ///
    /// # Shapes
    /// - returns: `[batch, latents, latent_channels]`
    ///
    /// # Errors
    /// [`Error::Input`] naming the tensor that is missing, unknown, or of a shape, type or value
    /// that the model cannot take.
    pub fn encode(
        &self,
        inputs: NamedTensors,
        config: &PerceiverConfig,
        device: &Device,
    ) -> Result<Tensor<3>, Error> {
        let mut inputs = Inputs::new(inputs, config, device);
        let options = OutputOptions::default();
        macro_rules! encoded {
            ($model:expr, $arguments:expr $(, $more:expr)?) => {{
                let (input, mask) = $arguments;
                inputs.finish()?;
                $model.encode(input, mask.as_ref(), $($more,)? options)
            }};
        }
        let encoded = match self {
            Self::Model(model) => encoded!(model, inputs.tokens()?),
            Self::MaskedLm(model) => encoded!(model, inputs.text()?),
            Self::SequenceClassification(model) => encoded!(model, inputs.text()?),
            Self::ImageClassificationLearned(model) => {
                encoded!(model, inputs.sized_image(false)?, false)
            }
            Self::ImageClassificationFourier(model) => encoded!(model, inputs.image()?),
            Self::ImageClassificationConvProcessing(model) => {
                encoded!(model, inputs.convolved_image()?)
            }
            Self::OpticalFlow(model) => encoded!(model, inputs.frames()?),
            Self::MultimodalAutoencoding(model) => encoded!(model, inputs.clip()?),
        };
        Ok(encoded.encoder.last_hidden_state)
    }
}

/// Named tensors as they come out.
#[derive(Default)]
struct Outputs {
    tensors: NamedTensors,
}

impl Outputs {
    fn push<const D: usize>(&mut self, name: impl Into<String>, tensor: Tensor<D>) {
        self.tensors.insert(name.into(), tensor.into_data());
    }

    /// Everything a head with one kind of answer returns.
    fn answers<const D: usize>(&mut self, output: PerceiverClassifierOutput<Tensor<D>>) {
        self.loss(output.loss);
        self.push("logits", output.logits);
        self.rest(output.hidden_states, output.attentions, output.cross_attentions);
    }

    /// The reference's loss has no axis.
    fn loss(&mut self, loss: Option<Tensor<1>>) {
        if let Some(loss) = loss {
            let value: f32 = loss.into_scalar();
            let data = TensorData::new(vec![value], Vec::<usize>::new());
            self.tensors.insert("loss".into(), data);
        }
    }

    fn rest(
        &mut self,
        hidden_states: Option<Vec<Tensor<3>>>,
        attentions: Option<Vec<Tensor<4>>>,
        cross_attentions: Option<Vec<Tensor<4>>>,
    ) {
        for (i, state) in hidden_states.into_iter().flatten().enumerate() {
            self.push(format!("hidden_states.{i}"), state);
        }
        for (i, map) in attentions.into_iter().flatten().enumerate() {
            self.push(format!("attentions.{i}"), map);
        }
        for (i, map) in cross_attentions.into_iter().flatten().enumerate() {
            self.push(format!("cross_attentions.{i}"), map);
        }
    }
}
