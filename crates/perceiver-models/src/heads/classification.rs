//! The four heads that score classes with one learned query. They differ in what they read.

use burn::tensor::Tensor;
use perceiver_io::{ClassificationDecoder, Preprocessor};

use super::PerceiverClassifierOutput;
use crate::Request;
use crate::config::ProblemType;
use crate::losses::{Labels, classification_loss};
use crate::model::PerceiverModel;

/// Defines a head whose `preprocessor_config` is written beside it.
macro_rules! classification_head {
    ($(#[$documentation:meta])* $name:ident reads through $preprocessor:ident) => {
        $(#[$documentation])*
        #[derive(Module, Debug)]
        pub struct $name {
            perceiver: PerceiverModel<$preprocessor, ClassificationDecoder>,
            #[module(skip)]
            problem_type: Option<ProblemType>,
        }

        impl PerceiverHead for $name {
            const NAME: &'static str = stringify!($name);

            type Input = <$preprocessor as Preprocessor>::Input;
            type Labels = Labels;
            type Points = ();
            /// Logits are `[batch, labels]`.
            type Output = PerceiverClassifierOutput<Tensor<2>>;

            fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error> {
                config.validate_for(Self::NAME.parse()?)?;
                let init = config.initialisation();
                let perceiver = PerceiverModel::new(
                    config,
                    Self::preprocessor_config(config).init(init, device),
                    Self::decoder_config(config).init(init, device),
                    NoPostprocessor,
                    device,
                );
                Ok(Self { perceiver, problem_type: config.problem_type })
            }

            fn encode(&self, request: impl Into<HeadRequest<Self>>) -> Encoded {
                self.perceiver.encode(request.into().split_labels().0)
            }

            fn forward(&self, request: impl Into<HeadRequest<Self>>) -> Self::Output {
                classify(&self.perceiver, request.into(), self.problem_type)
            }
        }

        impl $name {
            /// The decoder: one learned query, as wide as a latent, that is scored for each label.
            #[must_use]
            pub fn decoder_config(config: &PerceiverConfig) -> ClassificationDecoderConfig {
                config.classification_decoder()
            }

            /// The type of problem, if the configuration names one.
            #[must_use]
            pub const fn problem_type(&self) -> Option<ProblemType> {
                self.problem_type
            }

            /// The model inside.
            #[must_use]
            pub const fn perceiver(
                &self,
            ) -> &PerceiverModel<$preprocessor, ClassificationDecoder> {
                &self.perceiver
            }
        }
    };
}
pub(super) use classification_head;

pub(super) fn classify<P: Preprocessor>(
    perceiver: &PerceiverModel<P, ClassificationDecoder>,
    request: Request<P::Input, Labels>,
    problem_type: Option<ProblemType>,
) -> PerceiverClassifierOutput<Tensor<2>> {
    let (request, labels) = request.split_labels();
    let output = perceiver.forward(request);
    let loss =
        labels.map(|labels| classification_loss(output.logits.clone(), &labels, problem_type));
    PerceiverClassifierOutput::new(output, loss)
}
