use std::path::{Path, PathBuf};

use burn::tensor::Device;
use perceiver_data::{PerceiverImageProcessor, PerceiverTokenizer};
use perceiver_models::{
    AnyPerceiver, CONFIG_NAME, Head, PerceiverConfig, PerceiverHead, Pretrained,
};

use crate::{Error, Result};

/// The files of a model.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ModelFiles<'a> {
    Folder(&'a Path),
    /// Names and contents.
    Memory(&'a [(&'a str, &'a [u8])]),
}

/// A model that was loaded from its files.
#[derive(Debug, Clone)]
pub(crate) struct Opened<H> {
    pub(crate) head: H,
    pub(crate) config: PerceiverConfig,
    pub(crate) warnings: Vec<String>,
}

impl ModelFiles<'_> {
    /// Loads the head `H` onto a device.
    pub(crate) fn open<H: PerceiverHead>(self, device: &Device) -> Result<Opened<H>> {
        Ok(opened(match self {
            Self::Folder(folder) => H::from_pretrained(folder, device)?,
            Self::Memory(files) => H::from_files(files, device)?,
        }))
    }

    /// Loads whichever head the files hold.
    pub(crate) fn open_any(self, device: &Device) -> Result<Opened<AnyPerceiver>> {
        Ok(opened(match self {
            Self::Folder(folder) => AnyPerceiver::from_pretrained(folder, device)?,
            Self::Memory(files) => AnyPerceiver::from_files(files, device)?,
        }))
    }

    /// The configuration, unless it names a known head that the pipeline does not accept. An
    /// unknown head is left to the loading of the weights, whose error lists the known ones.
    pub(crate) fn config(
        self,
        accepts: impl FnOnce(Head) -> bool,
        expected: &'static str,
    ) -> Result<PerceiverConfig> {
        let config = match self {
            Self::Folder(folder) => PerceiverConfig::from_pretrained(folder)?,
            Self::Memory(files) => PerceiverConfig::from_files(files)?,
        };
        match config.head() {
            Ok(head) if !accepts(head) => {
                Err(Error::WrongHead { path: self.path(), head, expected })
            }
            _ => Ok(config),
        }
    }

    /// The name of the model in errors.
    pub(crate) fn path(self) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.to_path_buf(),
            Self::Memory(_) => PathBuf::from(CONFIG_NAME),
        }
    }

    pub(crate) fn tokenizer(self) -> Result<PerceiverTokenizer> {
        Ok(match self {
            Self::Folder(folder) => PerceiverTokenizer::from_pretrained(folder)?,
            Self::Memory(files) => PerceiverTokenizer::from_files(files)?,
        })
    }

    /// The image processor, or the default one with a warning: a model that was saved alone has no
    /// settings for images.
    pub(crate) fn image_processor(
        self,
        warnings: &mut Vec<String>,
    ) -> Result<PerceiverImageProcessor> {
        let (processor, place) = match self {
            Self::Folder(folder) => (
                PerceiverImageProcessor::from_pretrained_if_present(folder)?,
                format!("{}: ", folder.display()),
            ),
            Self::Memory(files) => {
                (PerceiverImageProcessor::from_files_if_present(files)?, String::new())
            }
        };
        Ok(processor.unwrap_or_else(|| {
            warnings
                .push(format!("{place}no preprocessor_config.json, using the default settings"));
            PerceiverImageProcessor::default()
        }))
    }
}

fn opened<H>(Pretrained { model, config, report }: Pretrained<H>) -> Opened<H> {
    Opened { head: model, config, warnings: report.warnings() }
}
