use std::path::Path;

use burn::module::{Module, ModuleVisitor};
use burn::tensor::Device;

use crate::checkpoint::{Checkpoint, KeyMap, LoadOptions, LoadReport, SaveOptions};
use crate::config::{Head, PerceiverConfig};
use crate::{
    Error, PerceiverForImageClassificationConvProcessing, PerceiverForImageClassificationFourier,
    PerceiverForImageClassificationLearned, PerceiverForMaskedLM,
    PerceiverForMultimodalAutoencoding, PerceiverForOpticalFlow,
    PerceiverForSequenceClassification, PerceiverModel, PretrainedModel, load_module,
    save_pretrained,
};

/// A model of whichever kind a checkpoint turns out to be.
///
/// Code that knows its head uses the head's own type; this is for programs that are handed a
/// folder.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one of it, and it is never moved about")]
#[non_exhaustive]
pub enum AnyPerceiver {
    /// Latents and encoder alone.
    Model(PerceiverModel),
    /// Masked language model.
    MaskedLm(PerceiverForMaskedLM),
    /// Text classifier.
    SequenceClassification(PerceiverForSequenceClassification),
    /// Image classifier with learned positions.
    ImageClassificationLearned(PerceiverForImageClassificationLearned),
    /// Image classifier with Fourier positions.
    ImageClassificationFourier(PerceiverForImageClassificationFourier),
    /// Image classifier with a convolutional stem.
    ImageClassificationConvProcessing(PerceiverForImageClassificationConvProcessing),
    /// Optical flow.
    OpticalFlow(PerceiverForOpticalFlow),
    /// Audio-visual autoencoder.
    MultimodalAutoencoding(PerceiverForMultimodalAutoencoding),
}

/// A model as it was found in a folder.
#[derive(Debug)]
pub struct Pretrained<M> {
    /// The model.
    pub model: M,
    /// Its configuration.
    pub config: PerceiverConfig,
    /// What was loaded, and what should be known about it.
    pub report: LoadReport,
}

/// Does the same with the module inside, whichever it is.
macro_rules! with_module {
    ($any:expr, $module:ident => $body:expr) => {
        match $any {
            AnyPerceiver::Model($module) => $body,
            AnyPerceiver::MaskedLm($module) => $body,
            AnyPerceiver::SequenceClassification($module) => $body,
            AnyPerceiver::ImageClassificationLearned($module) => $body,
            AnyPerceiver::ImageClassificationFourier($module) => $body,
            AnyPerceiver::ImageClassificationConvProcessing($module) => $body,
            AnyPerceiver::OpticalFlow($module) => $body,
            AnyPerceiver::MultimodalAutoencoding($module) => $body,
        }
    };
}

/// Loads the model of one head from a folder.
///
/// # Errors
/// [`Error::Config`] where the folder's configuration names another head or cannot be built;
/// and all errors of [`Checkpoint::open`] and [`load_module`].
pub fn from_pretrained<M: PretrainedModel>(
    folder: impl AsRef<Path>,
    device: &Device,
    options: &LoadOptions,
) -> Result<Pretrained<M>, Error> {
    let folder = folder.as_ref();
    let config = PerceiverConfig::from_pretrained(folder)?;
    let head = config.head().map_err(|error| error.in_folder(folder))?;
    if head != M::HEAD {
        let message = format!("names {head}, expected {}", M::HEAD);
        return Err(Error::config("architectures", message).in_folder(folder));
    }
    load(folder, config, device, options)
}

fn load<M: PretrainedModel>(
    folder: &Path,
    config: PerceiverConfig,
    device: &Device,
    options: &LoadOptions,
) -> Result<Pretrained<M>, Error> {
    let fresh = M::from_config(&config, device).map_err(|error| error.in_folder(folder))?;
    let checkpoint = Checkpoint::open(folder)?;
    let (model, report) = load_module(fresh, &checkpoint, &KeyMap::PERCEIVER, options)?;
    Ok(Pretrained { model, config, report })
}

impl AnyPerceiver {
    /// A model with fresh parameters, drawn as the reference draws them.
    ///
    /// # Errors
    /// [`Error::Config`] when no such model can be built.
    pub fn from_config(
        head: Head,
        config: &PerceiverConfig,
        device: &Device,
    ) -> Result<Self, Error> {
        Ok(match head {
            Head::Model => Self::Model(PretrainedModel::from_config(config, device)?),
            Head::MaskedLm => Self::MaskedLm(PretrainedModel::from_config(config, device)?),
            Head::SequenceClassification => {
                Self::SequenceClassification(PretrainedModel::from_config(config, device)?)
            }
            Head::ImageClassificationLearned => {
                Self::ImageClassificationLearned(PretrainedModel::from_config(config, device)?)
            }
            Head::ImageClassificationFourier => {
                Self::ImageClassificationFourier(PretrainedModel::from_config(config, device)?)
            }
            Head::ImageClassificationConvProcessing => Self::ImageClassificationConvProcessing(
                PretrainedModel::from_config(config, device)?,
            ),
            Head::OpticalFlow => Self::OpticalFlow(PretrainedModel::from_config(config, device)?),
            Head::MultimodalAutoencoding => {
                Self::MultimodalAutoencoding(PretrainedModel::from_config(config, device)?)
            }
        })
    }

    /// Loads whatever model a folder holds: its configuration's `architectures` says which.
    ///
    /// # Errors
    /// [`Error::Config`] where the configuration names no known head or cannot be built; and all
    /// errors of [`Checkpoint::open`] and [`load_module`].
    pub fn from_pretrained(
        folder: impl AsRef<Path>,
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Pretrained<Self>, Error> {
        let folder = folder.as_ref();
        let config = PerceiverConfig::from_pretrained(folder)?;
        let head = config.head().map_err(|error| error.in_folder(folder))?;
        let fresh =
            Self::from_config(head, &config, device).map_err(|error| error.in_folder(folder))?;
        let checkpoint = Checkpoint::open(folder)?;
        let (model, report) = fresh.load(&checkpoint, options)?;
        Ok(Pretrained { model, config, report })
    }

    fn load(
        self,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
    ) -> Result<(Self, LoadReport), Error> {
        macro_rules! loaded {
            ($variant:ident, $module:expr) => {
                load_module($module, checkpoint, &KeyMap::PERCEIVER, options)
                    .map(|(module, report)| (Self::$variant(module), report))
            };
        }
        match self {
            Self::Model(m) => loaded!(Model, m),
            Self::MaskedLm(m) => loaded!(MaskedLm, m),
            Self::SequenceClassification(m) => loaded!(SequenceClassification, m),
            Self::ImageClassificationLearned(m) => loaded!(ImageClassificationLearned, m),
            Self::ImageClassificationFourier(m) => loaded!(ImageClassificationFourier, m),
            Self::ImageClassificationConvProcessing(m) => {
                loaded!(ImageClassificationConvProcessing, m)
            }
            Self::OpticalFlow(m) => loaded!(OpticalFlow, m),
            Self::MultimodalAutoencoding(m) => loaded!(MultimodalAutoencoding, m),
        }
    }

    /// Which kind it is.
    #[must_use]
    pub const fn head(&self) -> Head {
        match self {
            Self::Model(_) => Head::Model,
            Self::MaskedLm(_) => Head::MaskedLm,
            Self::SequenceClassification(_) => Head::SequenceClassification,
            Self::ImageClassificationLearned(_) => Head::ImageClassificationLearned,
            Self::ImageClassificationFourier(_) => Head::ImageClassificationFourier,
            Self::ImageClassificationConvProcessing(_) => Head::ImageClassificationConvProcessing,
            Self::OpticalFlow(_) => Head::OpticalFlow,
            Self::MultimodalAutoencoding(_) => Head::MultimodalAutoencoding,
        }
    }

    /// The checkpoint key and shape of every parameter and buffer, without drawing any.
    #[must_use]
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        with_module!(self, module => crate::checkpoint::parameters(module, &KeyMap::PERCEIVER))
    }

    /// Lets a visitor see every parameter.
    pub fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        with_module!(self, module => module.visit(visitor));
    }

    /// Writes a folder that transformers loads.
    ///
    /// # Errors
    /// Those of [`save_pretrained`].
    pub fn save_pretrained(
        &self,
        config: &PerceiverConfig,
        folder: impl AsRef<Path>,
        options: &SaveOptions,
    ) -> Result<(), Error> {
        let mut config = config.clone();
        config.architectures = vec![self.head().to_string()];
        with_module!(self, module => {
            save_pretrained(module, &config, folder, &KeyMap::PERCEIVER, options)
        })
    }
}
