use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;

use crate::any_data::PerceiverForAnyData;
use crate::checkpoint::{KeyMap, LoadOptions, SaveOptions};
use crate::config::{Head, PerceiverConfig};
use crate::head::Pretrained;
use crate::hub;
use crate::source::Source;
use crate::{
    Error, PerceiverForImageClassificationConvProcessing, PerceiverForImageClassificationFourier,
    PerceiverForImageClassificationLearned, PerceiverForMaskedLM,
    PerceiverForMultimodalAutoencoding, PerceiverForOpticalFlow,
    PerceiverForSequenceClassification, PerceiverHead, PerceiverModel, save_pretrained,
};

/// Any head of the reference or of this library, for programs that learn which one only from the folder.
///
/// If you know the head, use its own type.
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
    /// Data of any kind.
    AnyData(PerceiverForAnyData),
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
            Head::AnyData => fresh!(AnyData),
        })
    }

    /// Loads the head that `architectures` in config.json names, from a folder or by a hub id, as
    /// [`PerceiverHead::from_pretrained`] does.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration names no known head or does not describe it;
    /// [`Error::Hub`] if there is neither a folder nor such a model; and the errors of
    /// [`Checkpoint::open`](crate::Checkpoint::open) and [`load_module`](crate::load_module).
    pub fn from_pretrained(
        source: impl AsRef<Path>,
        device: &Device,
    ) -> Result<Pretrained<Self>, Error> {
        Self::from_pretrained_with(source, device, &LoadOptions::default())
    }

    /// Loads a head as [`from_pretrained`](Self::from_pretrained) does, with options.
    ///
    /// # Errors
    /// See [`from_pretrained`](Self::from_pretrained).
    pub fn from_pretrained_with(
        source: impl AsRef<Path>,
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Pretrained<Self>, Error> {
        let source = Source::Folder(hub::folder(source)?);
        source.load(|config| fresh(config, device), &KeyMap::PERCEIVER, options)
    }

    /// Loads a model as `head`, whose name config.json may lack.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration names another head or does not
    /// describe this one; and as for [`from_pretrained`](Self::from_pretrained).
    pub fn from_pretrained_as(
        source: impl AsRef<Path>,
        head: Head,
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Pretrained<Self>, Error> {
        Source::Folder(hub::folder(source)?).load_as(head, device, options)
    }

    /// Loads a model from files in memory as `head`, whose name config.json may lack.
    ///
    /// # Errors
    /// As for [`from_pretrained_as`](Self::from_pretrained_as) and
    /// [`from_files`](Self::from_files).
    pub fn from_files_as(
        files: &[(&str, &[u8])],
        head: Head,
        device: &Device,
    ) -> Result<Pretrained<Self>, Error> {
        Source::Files(files).load_as(head, device, &LoadOptions::default())
    }

    /// Loads the head that config.json names from the files of a model folder in memory, as
    /// [`PerceiverHead::from_files`] does.
    ///
    /// # Errors
    /// Those of [`from_pretrained`](Self::from_pretrained), which name the file;
    /// [`Error::Checkpoint`] if a file is not given, or a name is given twice.
    pub fn from_files(files: &[(&str, &[u8])], device: &Device) -> Result<Pretrained<Self>, Error> {
        let options = LoadOptions::default();
        Source::Files(files).load(|config| fresh(config, device), &KeyMap::PERCEIVER, &options)
    }

    /// The model's head.
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
            Self::AnyData(_) => Head::AnyData,
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
    ) -> Result<(), Error> {
        self.save_pretrained_with(config, folder, &SaveOptions::default())
    }

    /// Saves as [`save_pretrained`](Self::save_pretrained) does, with options.
    ///
    /// # Errors
    /// See [`save_pretrained`].
    pub fn save_pretrained_with(
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

impl Source<'_> {
    fn load_as(
        &self,
        head: Head,
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Pretrained<AnyPerceiver>, Error> {
        let fresh = |config: &PerceiverConfig| {
            AnyPerceiver::from_config(head, &config.clone().with_head(head)?, device)
        };
        let loaded = self.load(fresh, &KeyMap::PERCEIVER, options)?;
        let architectures = vec![head.to_string()];
        Ok(Pretrained { config: PerceiverConfig { architectures, ..loaded.config }, ..loaded })
    }
}

/// The head that `architectures` names.
fn fresh(config: &PerceiverConfig, device: &Device) -> Result<AnyPerceiver, Error> {
    AnyPerceiver::from_config(config.head()?, config, device)
}
