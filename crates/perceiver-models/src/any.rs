use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;

use crate::checkpoint::{Checkpoint, KeyMap, LoadOptions, SaveOptions};
use crate::config::{Head, PerceiverConfig};
use crate::head::Pretrained;
use crate::hub;
use crate::{
    Error, PerceiverForImageClassificationConvProcessing, PerceiverForImageClassificationFourier,
    PerceiverForImageClassificationLearned, PerceiverForMaskedLM,
    PerceiverForMultimodalAutoencoding, PerceiverForOpticalFlow,
    PerceiverForSequenceClassification, PerceiverHead, PerceiverModel, load_module,
    save_pretrained,
};

/// A head of the reference that is known only when its folder is read.
///
/// Code that knows its head uses the head's own type; this is for programs that are handed a
/// folder.
#[derive(Module, Debug)]
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

impl AnyPerceiver {
    /// Builds a head with fresh parameters, drawn as the reference draws them.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration does not describe such a head.
    pub fn from_config(
        head: Head,
        config: &PerceiverConfig,
        device: &Device,
    ) -> Result<Self, Error> {
        /// The variant and the head in it have the same name.
        macro_rules! fresh {
            ($variant:ident) => {
                Self::$variant(PerceiverHead::from_config(config, device)?)
            };
        }
        Ok(match head {
            Head::Model => fresh!(Model),
            Head::MaskedLm => fresh!(MaskedLm),
            Head::SequenceClassification => fresh!(SequenceClassification),
            Head::ImageClassificationLearned => fresh!(ImageClassificationLearned),
            Head::ImageClassificationFourier => fresh!(ImageClassificationFourier),
            Head::ImageClassificationConvProcessing => fresh!(ImageClassificationConvProcessing),
            Head::OpticalFlow => fresh!(OpticalFlow),
            Head::MultimodalAutoencoding => fresh!(MultimodalAutoencoding),
        })
    }

    /// Loads whichever head `architectures` of config.json names, from a folder or by a hub id,
    /// as [`PerceiverHead::from_pretrained`] does.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration names no known head or does not describe it;
    /// [`Error::Hub`] if there is neither a folder nor such a model; and the errors of
    /// [`Checkpoint::open`] and [`load_module`].
    pub fn from_pretrained(
        source: impl AsRef<Path>,
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Pretrained<Self>, Error> {
        let folder = hub::folder(source)?;
        let config = PerceiverConfig::from_pretrained(&folder)?;
        let fresh = config
            .head()
            .and_then(|head| Self::from_config(head, &config, device))
            .map_err(|error| error.in_folder(&folder))?;
        let checkpoint = Checkpoint::open(&folder)?;
        let (model, report) = load_module(fresh, &checkpoint, &KeyMap::PERCEIVER, options)?;
        Ok(Pretrained { model, config, report })
    }

    /// Which head it is.
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
        crate::checkpoint::parameters(self, &KeyMap::PERCEIVER)
    }

    /// Writes config.json and the weights into a folder, which transformers loads.
    ///
    /// # Errors
    /// See [`save_pretrained`].
    pub fn save_pretrained(
        &self,
        config: &PerceiverConfig,
        folder: impl AsRef<Path>,
        options: &SaveOptions,
    ) -> Result<(), Error> {
        let config =
            PerceiverConfig { architectures: vec![self.head().to_string()], ..config.clone() };
        save_pretrained(self, &config, folder, &KeyMap::PERCEIVER, options)
    }
}
