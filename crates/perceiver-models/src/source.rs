use std::path::PathBuf;

use burn::module::Module;

use crate::checkpoint::{Checkpoint, KeyMap, LoadOptions};
use crate::config::{CONFIG_NAME, PerceiverConfig};
use crate::head::Pretrained;
use crate::{Error, load_module};

/// Where a model is loaded from.
pub(crate) enum Source<'a> {
    Folder(PathBuf),
    /// The files of a model folder in memory, by name.
    Files(&'a [(&'a str, &'a [u8])]),
}

impl Source<'_> {
    /// Builds a model from the configuration with `fresh`, and loads the checkpoint into it.
    pub(crate) fn load<M: Module>(
        &self,
        fresh: impl FnOnce(&PerceiverConfig) -> Result<M, Error>,
        keys: &KeyMap,
        options: &LoadOptions,
    ) -> Result<Pretrained<M>, Error> {
        let config = match self {
            Self::Folder(folder) => PerceiverConfig::from_pretrained(folder)?,
            Self::Files(files) => PerceiverConfig::from_files(files)?,
        };
        let fresh = fresh(&config).map_err(|error| error.in_file(&self.config_path()))?;
        let checkpoint = match self {
            Self::Folder(folder) => Checkpoint::open(folder)?,
            Self::Files(files) => Checkpoint::from_files(files)?,
        };
        let (model, report) = load_module(fresh, &checkpoint, keys, options)?;
        Ok(Pretrained { model, config, report })
    }

    fn config_path(&self) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(CONFIG_NAME),
            Self::Files(_) => CONFIG_NAME.into(),
        }
    }
}
