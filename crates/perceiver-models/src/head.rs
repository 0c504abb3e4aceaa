use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;

use crate::checkpoint::{Checkpoint, KeyMap, LoadOptions, LoadReport, SaveOptions, load_module};
use crate::config::{PerceiverConfig, shown_name};
use crate::hub;
use crate::model::Encoded;
use crate::source::Source;
use crate::{Error, Request, save_pretrained};

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

    /// The input.
    type Input;
    /// The labels of its loss; `()` for a head without a loss.
    type Labels;
    /// Selects the output elements to compute; `()` if there is no choice.
    type Points: Default;
    /// The output.
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
    /// configuration names only other heads or does not describe this one; and the errors of
    /// [`Checkpoint::open`](crate::Checkpoint::open) and [`load_module`](crate::load_module).
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
        let source = Source::Folder(hub::folder(source)?);
        source.load(|config| fresh(config, device), &Self::KEYS, options)
    }

    /// Builds the head of a configuration of your own and loads what fits from a pretrained model, to
    /// train it further: for other labels, or from a model with another head
    /// ([`partial`](LoadOptions::partial)).
    ///
    /// ```no_run
    /// # use burn::tensor::Device;
    /// # use perceiver_models::{Error, LoadOptions, PerceiverConfig};
    /// # use perceiver_models::{PerceiverForSequenceClassification, PerceiverHead};
    /// # fn main() -> Result<(), Error> {
    /// let labels = ["question", "statement"].map(String::from);
    /// let config = PerceiverConfig {
    ///     id2label: (0..).zip(labels).collect(),
    ///     label2id: None,
    ///     ..PerceiverConfig::from_pretrained("languages")?
    /// };
    /// let options = LoadOptions { ignore_mismatched_sizes: true, ..LoadOptions::default() };
    /// let loaded = PerceiverForSequenceClassification::from_pretrained_for(
    ///     "languages", &config, &Device::flex(), &options,
    /// )?;
    /// for fresh in &loaded.report.mismatched {
    ///     println!("{fresh}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Hub`] if there is neither a folder nor such a model; [`Error::Config`] if the
    /// configuration does not describe this head; and the errors of
    /// [`Checkpoint::open`](crate::Checkpoint::open) and [`load_module`](crate::load_module).
    fn from_pretrained_for(
        source: impl AsRef<Path>,
        config: &PerceiverConfig,
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Pretrained<Self>, Error> {
        let checkpoint = Checkpoint::open(hub::folder(source)?)?;
        let fresh = Self::from_config(config, device)?;
        let (model, report) = load_module(fresh, &checkpoint, &Self::KEYS, options)?;
        Ok(Pretrained { model, config: config.clone(), report })
    }

    /// Loads the head from the files of a model folder in memory, given by name, in single
    /// precision: config.json and model.safetensors, or its index and shards.
    ///
    /// ```no_run
    /// # use burn::tensor::Device;
    /// # use perceiver_models::{PerceiverForSequenceClassification, PerceiverHead};
    /// # fn main() -> Result<(), perceiver_models::Error> {
    /// # let (config, weights) = ([0_u8; 0], [0_u8; 0]);
    /// // Such as `include_bytes!("sentiment/config.json")`, to embed them in a program.
    /// let files: [(&str, &[u8]); 2] = [("config.json", &config), ("model.safetensors", &weights)];
    /// let model = PerceiverForSequenceClassification::from_files(&files, &Device::flex())?.model;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`from_pretrained`](Self::from_pretrained), which name the file;
    /// [`Error::Checkpoint`] if a file is not given, or a name is given twice.
    fn from_files(files: &[(&str, &[u8])], device: &Device) -> Result<Pretrained<Self>, Error> {
        let options = LoadOptions::default();
        Source::Files(files).load(|config| fresh(config, device), &Self::KEYS, &options)
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

/// The request that a head takes.
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
    /// The result of loading.
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

/// The head that `architectures` names, which has to be this one; a configuration without
/// `architectures` fits every head.
fn fresh<H: PerceiverHead>(config: &PerceiverConfig, device: &Device) -> Result<H, Error> {
    let names = &config.architectures;
    match names.first() {
        Some(found) if names.iter().all(|name| name != H::NAME) => {
            let message = format!("names {}, expected {}", shown_name(found), H::NAME);
            Err(Error::config("architectures", message))
        }
        _ => H::from_config(config, device),
    }
}
