//! Runs any head on named tensors from outside.

mod any_data;
mod heads;
mod inputs;

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use perceiver_core::OutputOptions;

use self::heads::NamedHead;
use self::inputs::Inputs;
use crate::config::PerceiverConfig;
use crate::{AnyPerceiver, Error, PerceiverClassifierOutput};

/// Tensors by the reference's names of arguments or outputs.
pub type NamedTensors = BTreeMap<String, TensorData>;

/// How [`AnyPerceiver::forward`] runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwardOptions {
    /// Hidden states and attention maps to return.
    pub outputs: OutputOptions,
    /// If true, fits learned positions to images of another size (`interpolate_pos_encoding`).
    pub interpolate_positions: bool,
}

/// Evaluates an expression for the head inside.
macro_rules! with_head {
    ($any:expr, $head:ident => $body:expr) => {
        match $any {
            AnyPerceiver::Model($head) => $body,
            AnyPerceiver::MaskedLm($head) => $body,
            AnyPerceiver::SequenceClassification($head) => $body,
            AnyPerceiver::ImageClassificationLearned($head) => $body,
            AnyPerceiver::ImageClassificationFourier($head) => $body,
            AnyPerceiver::ImageClassificationConvProcessing($head) => $body,
            AnyPerceiver::OpticalFlow($head) => $body,
            AnyPerceiver::MultimodalAutoencoding($head) => $body,
            AnyPerceiver::AnyData($head) => $body,
        }
    };
}

impl AnyPerceiver {
    /// Runs the model on tensors from outside.
    ///
    /// Inputs are named as the reference's arguments: `inputs` (or `input_ids`, `pixel_values`),
    /// `attention_mask`, `labels`; for the autoencoder `inputs.image`, `inputs.audio`,
    /// `inputs.label` and `subsampled_output_points.image`, `.audio`; for any data `inputs.` and the
    /// name of a modality, with `.coordinates` for those of points, `.categories` for columns of
    /// names and `.padding` for padding. Outputs are named as
    /// transformers returns them: `logits` (`logits.image`, …), `loss`, `last_hidden_state`,
    /// `hidden_states.0`, `attentions.0`, `cross_attentions.0`, ….
    ///
    /// # Errors
    /// [`Error::Input`] naming a tensor that is missing or unknown, or whose shape, type or values
    /// the model cannot take.
    pub fn forward(
        &self,
        inputs: NamedTensors,
        config: &PerceiverConfig,
        options: ForwardOptions,
        device: &Device,
    ) -> Result<NamedTensors, Error> {
        let interpolate = options.interpolate_positions;
        let inputs = Inputs::new(inputs, config, device, interpolate);
        with_head!(self, head => forward(head, inputs, options.outputs))
    }
}

fn forward<H: NamedHead>(
    head: &H,
    mut inputs: Inputs<'_>,
    wanted: OutputOptions,
) -> Result<NamedTensors, Error> {
    let mut request = H::request(&mut inputs)?;
    inputs.finish()?;
    request.outputs = wanted;
    let mut outputs = Outputs::default();
    H::name(head.forward(request), &mut outputs);
    Ok(outputs.tensors)
}

/// Named outputs.
#[derive(Default)]
struct Outputs {
    tensors: NamedTensors,
}

impl Outputs {
    fn push<const D: usize>(&mut self, name: impl Into<String>, tensor: Tensor<D>) {
        self.tensors.insert(name.into(), tensor.into_data());
    }

    /// The whole output of a head with one tensor of logits.
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
