use std::path::{Path, PathBuf};

use burn::tensor::Device;
use perceiver_data::{PerceiverImageProcessor, PerceiverTokenizer};
use perceiver_models::{
    AnyPerceiver, CONFIG_NAME, Error as ModelError, Head, LoadOptions, LoadReport, PerceiverConfig,
    PerceiverHead, Pretrained,
};

use crate::{Error, Result};

/// The files of a model, and its head if the caller names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModelFiles<'a> {
    place: Place<'a>,
    head: Option<Head>,
}

#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Folder(&'a Path),
    /// Names and contents.
    Memory(&'a [(&'a str, &'a [u8])]),
}

/// A model that was loaded from its files.
#[derive(Debug, Clone)]
pub(crate) struct Opened<H> {
    pub(crate) head: H,
    pub(crate) config: PerceiverConfig,
    pub(crate) report: LoadReport,
}

impl<'a> ModelFiles<'a> {
    pub(crate) fn folder(folder: &'a Path) -> Self {
        Self { place: Place::Folder(folder), head: None }
    }

    /// Names and contents.
    pub(crate) fn memory(files: &'a [(&'a str, &'a [u8])]) -> Self {
        Self { place: Place::Memory(files), head: None }
    }

    /// The same files as a model with this head, which config.json need not name.
    pub(crate) fn with_head(self, head: Head) -> Self {
        Self { head: Some(head), ..self }
    }

    /// Loads the head `H` onto a device.
    pub(crate) fn open<H: PerceiverHead>(self, device: &Device) -> Result<Opened<H>> {
        Ok(opened(match self.place {
            Place::Folder(folder) => H::from_pretrained(folder, device)?,
            Place::Memory(files) => H::from_files(files, device)?,
        }))
    }

    /// Loads the head that `config` of these files names.
    pub(crate) fn open_any(
        self,
        config: &PerceiverConfig,
        device: &Device,
    ) -> Result<Opened<AnyPerceiver>> {
        let head = config.head().map_err(|error| self.named(error))?;
        let options = LoadOptions::default();
        Ok(opened(match self.place {
            Place::Folder(folder) => {
                AnyPerceiver::from_pretrained_as(folder, head, device, &options)?
            }
            Place::Memory(files) => AnyPerceiver::from_files_as(files, head, device)?,
        }))
    }

    /// The configuration, unless it names a known head that the pipeline does not accept. A
    /// configuration without `architectures` gets the head that the caller names, or the only one
    /// that the pipeline accepts.
    pub(crate) fn config(
        self,
        accepts: impl Fn(Head) -> bool,
        expected: &'static str,
    ) -> Result<PerceiverConfig> {
        let mut config = match self.place {
            Place::Folder(folder) => PerceiverConfig::from_pretrained(folder)?,
            Place::Memory(files) => PerceiverConfig::from_files(files)?,
        };
        let only = || {
            let mut accepted = Head::NAMES.into_iter().filter(|(_, head)| accepts(*head));
            let only = accepted.next().filter(|_| config.architectures.is_empty());
            only.filter(|_| accepted.next().is_none()).map(|(_, head)| head)
        };
        if let Some(head) = self.head.or_else(only) {
            config = config.with_head(head).map_err(|error| self.named(error))?;
        }
        match config.head() {
            Ok(head) if !accepts(head) => {
                Err(Error::WrongHead { path: self.path(), head, expected })
            }
            _ => Ok(config),
        }
    }

    /// An error about the configuration with the name of its file.
    pub(crate) fn named(self, error: ModelError) -> ModelError {
        match error {
            ModelError::Config { path: None, field, message } => {
                ModelError::Config { path: Some(self.config_path()), field, message }
            }
            error => error,
        }
    }

    /// The configuration's file.
    pub(crate) fn config_path(self) -> PathBuf {
        match self.place {
            Place::Folder(folder) => folder.join(CONFIG_NAME),
            Place::Memory(_) => PathBuf::from(CONFIG_NAME),
        }
    }

    /// The name of the model in errors.
    pub(crate) fn path(self) -> PathBuf {
        match self.place {
            Place::Folder(folder) => folder.to_path_buf(),
            Place::Memory(_) => PathBuf::from(CONFIG_NAME),
        }
    }

    pub(crate) fn tokenizer(self) -> Result<PerceiverTokenizer> {
        Ok(match self.place {
            Place::Folder(folder) => PerceiverTokenizer::from_pretrained(folder)?,
            Place::Memory(files) => PerceiverTokenizer::from_files(files)?,
        })
    }

    /// The image processor, or the default one with a warning: a model that was saved alone has no
    /// settings for images.
    pub(crate) fn image_processor(
        self,
        warnings: &mut Vec<String>,
    ) -> Result<PerceiverImageProcessor> {
        let (processor, place) = match self.place {
            Place::Folder(folder) => (
                PerceiverImageProcessor::from_pretrained_if_present(folder)?,
                format!("{}: ", folder.display()),
            ),
            Place::Memory(files) => {
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
    Opened { head: model, config, report }
}
