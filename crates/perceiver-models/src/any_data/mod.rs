//! A head for data of any kind, which this library adds to those of the reference.

mod columns;
mod config;
mod decoder;
mod input;
mod modality;
mod modality_config;
mod output;
mod preprocessor;
mod validate;

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor};

pub use config::AnyDataConfig;
pub use decoder::{AnyDataDecoder, ElementDecoder};
pub use input::{AnyDataInput, ModalityData, ModalityInput};
pub use modality::ModalityPreprocessor;
pub use modality_config::{
    Channels, ColumnConfig, GridConfig, ModalityConfig, ModalityPosition, PointsConfig,
    SeriesConfig, TableConfig, TokensConfig,
};
pub use output::{Output, Pooling};
pub use preprocessor::AnyDataPreprocessor;

use crate::config::PerceiverConfig;
use crate::head::HeadRequest;
use crate::losses::{
    IGNORED_LABEL, Labels, classification_loss, cross_entropy_sum, mean_squared_error,
};
use crate::model::{Encoded, NoPostprocessor, PerceiverModel};
use crate::{Error, PerceiverClassifierOutput, PerceiverHead, ProblemType};

/// Reads series, tables, points, grids and tokens, one or several at once, and answers with classes,
/// numbers, a class for each element, or the content of masked elements.
///
/// Its inputs and its output are fields of config.json, [`AnyDataConfig`]. The means and deviations
/// of the data are among them, so that inputs and answers are in the units of the data.
///
/// # Source
/// This library's own; transformers has no such head. The encoder is the first Perceiver's (section 3.1
/// there) if it has several cross-attentions, otherwise Perceiver IO's; tokens and decoders are those
/// of Perceiver IO.
///
/// # Shapes
/// - logits: `[batch, 1, outputs]`, or `[batch, elements, outputs]` for an answer per element
#[derive(Module, Debug)]
pub struct PerceiverForAnyData {
    perceiver: PerceiverModel<AnyDataPreprocessor, AnyDataDecoder>,
    #[module(skip)]
    config: AnyDataConfig,
}

/// The labels of a [`PerceiverForAnyData`]. A reconstruction needs none: it is compared with its input.
#[derive(Debug, Clone)]
pub enum AnyDataLabels {
    /// Classes `[batch]`, or values `[batch, outputs]` in the units of the data.
    Whole(Labels),
    /// Classes `[batch, elements]`; [`IGNORED_LABEL`] where none is known and for padding.
    Elements(Tensor<2, Int>),
}

impl PerceiverHead for PerceiverForAnyData {
    const NAME: &'static str = "PerceiverForAnyData";

    type Input = AnyDataInput;
    type Labels = AnyDataLabels;
    type Points = ();
    type Output = PerceiverClassifierOutput<Tensor<3>>;

    fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error> {
        config.validate_for(Self::NAME.parse()?)?;
        let any_data = AnyDataConfig::from_config(config)?;
        let init = config.initialisation();
        let perceiver = PerceiverModel::with_encoder(
            config,
            &any_data.encoder(config),
            AnyDataPreprocessor::new(&any_data, init, device),
            any_data.decoder(config, device),
            NoPostprocessor,
            device,
        );
        Ok(Self { perceiver, config: any_data })
    }

    fn encode(&self, request: impl Into<HeadRequest<Self>>) -> Encoded {
        self.perceiver.encode(self.hide_padding(request.into()).split_labels().0)
    }

    /// Without a mask in the request, the padding of the input hides tokens. The loss of a
    /// reconstruction is returned if the input has masked elements.
    fn forward(&self, request: impl Into<HeadRequest<Self>>) -> Self::Output {
        let (request, labels) = self.hide_padding(request.into()).split_labels();
        let input = request.input.clone();
        let output = self.perceiver.forward(request);
        let scores = output.logits.clone();
        let loss = match &self.config.output {
            Output::Reconstruction { .. } => {
                input.masked.clone().map(|masked| self.reconstruction_loss(scores, &input, masked))
            }
            _ => labels.map(|labels| self.loss(scores, &input, &labels)),
        };
        let mut output = PerceiverClassifierOutput::new(output, loss);
        output.logits = self.in_units(output.logits);
        output
    }
}

impl PerceiverForAnyData {
    /// Its inputs and output.
    #[must_use]
    pub const fn any_data(&self) -> &AnyDataConfig {
        &self.config
    }

    /// The model inside, whose answers have no units yet.
    #[must_use]
    pub const fn perceiver(&self) -> &PerceiverModel<AnyDataPreprocessor, AnyDataDecoder> {
        &self.perceiver
    }

    /// Hides the padding, unless the request brings a mask of its own.
    fn hide_padding(&self, request: HeadRequest<Self>) -> HeadRequest<Self> {
        let mask = request.mask.clone().or_else(|| request.input.key_mask(&self.config));
        request.mask(mask)
    }

    fn loss(&self, scores: Tensor<3>, input: &AnyDataInput, labels: &AnyDataLabels) -> Tensor<1> {
        match (&self.config.output, labels) {
            (Output::Elements { modality }, AnyDataLabels::Elements(classes)) => {
                let index = self.config.modality(modality).map_or(0, |(index, _)| index);
                let classes = match &input.modalities[index].padding {
                    Some(padding) => classes.clone().mask_fill(padding.clone(), IGNORED_LABEL),
                    None => classes.clone(),
                };
                mean_cross_entropy(scores, classes)
            }
            (Output::Elements { .. }, AnyDataLabels::Whole(_)) => {
                panic!("elements take one label each, found one for an example")
            }
            (Output::Regression { mean, deviation, .. }, AnyDataLabels::Whole(labels)) => {
                let scores: Tensor<2> = scores.squeeze_dim(1);
                let targets = labels.values(&scores).unsqueeze_dim::<3>(1);
                let mean = modality::constant(mean, &targets);
                let targets = (targets - mean.clone()) / modality::constant(deviation, &mean);
                mean_squared_error(scores, targets.squeeze_dim(1))
            }
            (output, AnyDataLabels::Whole(labels)) => {
                let problem = match output {
                    Output::MultiLabel { .. } => ProblemType::MultiLabelClassification,
                    _ => ProblemType::SingleLabelClassification,
                };
                classification_loss(scores.squeeze_dim(1), labels, Some(problem))
            }
            (output, AnyDataLabels::Elements(_)) => {
                panic!("{} takes one label for an example, found one per element", output.kind())
            }
        }
    }

    /// The ids of masked tokens, `[batch, tokens]`, and [`IGNORED_LABEL`] for all others, if tokens
    /// are reconstructed.
    #[must_use]
    pub fn masked_ids(&self, input: &AnyDataInput) -> Option<Tensor<2, Int>> {
        let ModalityInput { data, padding } = &input.modalities[self.reconstructed()?];
        let (ModalityData::Tokens(ids), Some(masked)) = (data, &input.masked) else { return None };
        let ids = ids.clone().mask_fill(masked.clone().bool_not(), IGNORED_LABEL);
        Some(match padding {
            Some(padding) => ids.mask_fill(padding.clone(), IGNORED_LABEL),
            None => ids,
        })
    }

    /// Mean over the masked elements, without padding and missing numbers; 0 if none is left.
    fn reconstruction_loss(
        &self,
        scores: Tensor<3>,
        input: &AnyDataInput,
        masked: Tensor<2, Bool>,
    ) -> Tensor<1> {
        if let Some(ids) = self.masked_ids(input) {
            return mean_cross_entropy(scores, ids);
        }
        let index = self.reconstructed().expect("only a reconstruction calls this");
        let ModalityInput { data, padding } = &input.modalities[index];
        let masked = match padding {
            Some(padding) => masked.bool_and(padding.clone().bool_not()),
            None => masked,
        };
        let expected = self.perceiver.input_preprocessor().modality(index).expected(data);
        let (expected, known) = expected.expect("the configuration was checked");
        let counted = known.bool_and(masked.unsqueeze_dim::<3>(2).expand(scores.dims()));
        let counted = counted.float().cast(scores.dtype());
        ((scores - expected).square() * counted.clone()).sum() / counted.sum().clamp_min(1.0)
    }

    /// The modality that is reconstructed.
    fn reconstructed(&self) -> Option<usize> {
        match &self.config.output {
            Output::Reconstruction { modality, .. } => {
                self.config.modality(modality).map(|(index, _)| index)
            }
            _ => None,
        }
    }

    /// Answers in the units of the data; scores are as they were.
    fn in_units(&self, answers: Tensor<3>) -> Tensor<3> {
        let repeated = |numbers: &[f64]| {
            let [_, _, outputs] = answers.dims();
            numbers.iter().copied().cycle().take(outputs).collect::<Vec<_>>()
        };
        let (mean, deviation) = match &self.config.output {
            Output::Regression { mean, deviation, .. } => (mean, deviation),
            Output::Reconstruction { .. } => {
                let channels = self.reconstructed().map(|index| &self.config.modalities[index]);
                match channels.and_then(ModalityConfig::numbers) {
                    Some(channels) => (&channels.mean, &channels.deviation),
                    None => return answers,
                }
            }
            _ => return answers,
        };
        let mean = modality::constant(&repeated(mean), &answers);
        let deviation = modality::constant(&repeated(deviation), &answers);
        answers * deviation + mean
    }
}

/// Cross-entropy of elements; 0 if all labels are ignored.
///
/// # Shapes
/// - `scores`: `[batch, elements, classes]`
/// - `classes`: `[batch, elements]`
fn mean_cross_entropy(scores: Tensor<3>, classes: Tensor<2, Int>) -> Tensor<1> {
    let (total, count) = cross_entropy_sum(scores.flatten(0, 1), classes.flatten(0, 1));
    total / count.clamp_min(1.0)
}
