use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;

use crate::checkpoint::{Checkpoint, KeyMap, LoadOptions, LoadReport, SaveOptions};
use crate::config::PerceiverConfig;
use crate::hub;
use crate::model::Encoded;
use crate::{Error, Request, load_module, save_pretrained};

/// A Perceiver for one task: what all heads share.
///
/// Implement it for a head of your own, in any crate: it then loads and saves as the heads here
/// do. docs/adding-a-head.md shows one.
///
/// # Source
/// `PerceiverPreTrainedModel`.
pub trait PerceiverHead: Module {
    /// The head's name in `architectures` of config.json.
    const NAME: &'static str;

    /// The keys of its parameters in checkpoints.
    const KEYS: KeyMap = KeyMap::PERCEIVER;

    /// What it reads.
    type Input;
    /// What its loss compares the output with; `()` for a head without a loss.
    type Labels;
    /// Which output elements it computes, where there is a choice; `()` where there is none.
    type Points: Default;
    /// What it returns.
    type Output;

    /// Builds a head with fresh parameters, drawn as the reference draws them.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration does not describe such a head.
    fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error>;

    /// Encodes an input into latents, to be decoded once or often. Ignores labels and points.
    ///
    /// # Panics
    /// If the input or the mask has a shape that the head does not take.
    #[must_use]
    fn encode(&self, request: impl Into<HeadRequest<Self>>) -> Encoded;

    /// Answers a request.
    ///
    /// # Panics
    /// If the input, the mask, the labels or the points have a shape that the head does not take.
    #[must_use]
    fn forward(&self, request: impl Into<HeadRequest<Self>>) -> Self::Output;

    /// Loads the head from a folder, or by a hub id such as `deepmind/language-perceiver`, in
    /// single precision.
    ///
    /// An existing folder comes first. For an id, [`hub::resolve`] says which snapshot is taken
    /// and when it is downloaded (feature `hub`); call it yourself to choose a revision.
    ///
    /// # Errors
    /// [`Error::Hub`] if there is neither a folder nor such a model; [`Error::Config`] if the
    /// configuration names another head or does not describe this one; and the errors of
    /// [`Checkpoint::open`] and [`load_module`].
    fn from_pretrained(
        source: impl AsRef<Path>,
        device: &Device,
    ) -> Result<Pretrained<Self>, Error> {
        Self::from_pretrained_with(source, device, &LoadOptions::default())
    }

    /// Loads the head as [`from_pretrained`](Self::from_pretrained) does, with options.
    ///
    /// # Errors
    /// See [`from_pretrained`](Self::from_pretrained).
    fn from_pretrained_with(
        source: impl AsRef<Path>,
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Pretrained<Self>, Error> {
        let folder = hub::folder(source)?;
        let config = PerceiverConfig::from_pretrained(&folder)?;
        let fresh = expect_head(&config, Self::NAME)
            .and_then(|()| Self::from_config(&config, device))
            .map_err(|error| error.in_folder(&folder))?;
        let checkpoint = Checkpoint::open(&folder)?;
        let (model, report) = load_module(fresh, &checkpoint, &Self::KEYS, options)?;
        Ok(Pretrained { model, config, report })
    }

    /// Writes config.json and the weights into a folder, which transformers loads.
    ///
    /// # Errors
    /// See [`save_pretrained`].
    fn save_pretrained(
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
    fn save_pretrained_with(
        &self,
        config: &PerceiverConfig,
        folder: impl AsRef<Path>,
        options: &SaveOptions,
    ) -> Result<(), Error> {
        let config =
            PerceiverConfig { architectures: vec![Self::NAME.to_owned()], ..config.clone() };
        save_pretrained(self, &config, folder, &Self::KEYS, options)
    }
}

/// What a head takes.
pub type HeadRequest<H> = Request<
    <H as PerceiverHead>::Input,
    <H as PerceiverHead>::Labels,
    <H as PerceiverHead>::Points,
>;

/// A model as it was loaded.
#[derive(Debug)]
pub struct Pretrained<M> {
    /// The model.
    pub model: M,
    /// Its configuration.
    pub config: PerceiverConfig,
    /// What was loaded, and what the caller should know about it.
    pub report: LoadReport,
}

impl<M: PerceiverHead> Pretrained<M> {
    /// Writes config.json and the weights into a folder, which transformers loads.
    ///
    /// # Errors
    /// See [`save_pretrained`].
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), Error> {
        self.save_with(folder, &SaveOptions::default())
    }

    /// Saves as [`save`](Self::save) does, with options.
    ///
    /// # Errors
    /// See [`save_pretrained`].
    pub fn save_with(&self, folder: impl AsRef<Path>, options: &SaveOptions) -> Result<(), Error> {
        self.model.save_pretrained_with(&self.config, folder, options)
    }
}

fn expect_head(config: &PerceiverConfig, name: &str) -> Result<(), Error> {
    let names = &config.architectures;
    if names.iter().any(|known| known == name) {
        return Ok(());
    }
    let message = match names.first() {
        None => format!("is absent, expected {name}"),
        Some(found) => format!("names {}, expected {name}", crate::config::shown_name(found)),
    };
    Err(Error::config("architectures", message))
}
