use std::path::Path;

use burn::tensor::Device;
use ndarray::{Array2, Axis};
use perceiver_models::{Head, hub};

use crate::model_files::ModelFiles;
use crate::session::{Output, Outputs, Rows, Session};
use crate::{Input, LongTexts, Result, Timings};

/// Turns texts or images into vectors: the latents of a model, before its head decodes them.
///
/// ```no_run
/// use burn::tensor::Device;
/// use perceiver_pipelines::Features;
///
/// # fn main() -> perceiver_pipelines::Result<()> {
/// # #[cfg(feature = "flex")] {
/// let pipeline = Features::from_pretrained("language-perceiver", &Device::flex())?;
/// let [one, other] = ["A cat sat.", "The dog ran."].map(|text| pipeline.run(text));
/// println!("{}", (one? * other?).sum());
/// # }
/// # Ok(())
/// # }
/// ```
///
/// # Source
/// `last_hidden_state` of the reference's `PerceiverModel`.
#[derive(Debug, Clone)]
pub struct Features {
    session: Session,
    pooling: Pooling,
    batch: usize,
}

/// How the latents of an input are combined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean: one vector per input.
    #[default]
    Mean,
    /// No pooling: one vector per latent.
    None,
}

impl Features {
    /// Loads a model with its tokenizer or image processor from a folder, or by a hub id such as
    /// `deepmind/language-perceiver`.
    ///
    /// # Errors
    /// [`Error::WrongHead`](crate::Error::WrongHead) if the model reads neither texts nor single
    /// images; [`Error::Model`](crate::Error::Model) if it cannot be loaded;
    /// [`Error::Data`](crate::Error::Data) if the settings of the tokenizer or image processor are
    /// invalid. If they are missing, the reference's defaults apply, for images with one of the
    /// [`warnings`](Self::warnings).
    pub fn from_pretrained(source: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::load(ModelFiles::folder(&hub::folder(source)?), device)
    }

    /// Loads a model as `head`, whose name config.json may lack.
    ///
    /// # Errors
    /// As [`from_pretrained`](Self::from_pretrained), or if config.json names another head.
    pub fn from_pretrained_as(
        source: impl AsRef<Path>,
        head: Head,
        device: &Device,
    ) -> Result<Self> {
        Self::load(ModelFiles::folder(&hub::folder(source)?).with_head(head), device)
    }

    /// Loads a model from files in memory: names and contents of `config.json`,
    /// `model.safetensors` and the settings of the tokenizer or image processor.
    ///
    /// # Errors
    /// As [`from_pretrained`](Self::from_pretrained).
    pub fn from_files(files: &[(&str, &[u8])], device: &Device) -> Result<Self> {
        Self::load(ModelFiles::memory(files), device)
    }

    fn load(files: ModelFiles<'_>, device: &Device) -> Result<Self> {
        let accepts = |head| {
            !matches!(
                head,
                Head::Model | Head::OpticalFlow | Head::MultimodalAutoencoding | Head::AnyData
            )
        };
        let expected = "a model of texts or of single images";
        let session = Session::load(files, device, accepts, expected)?;
        Ok(Self { session, pooling: Pooling::default(), batch: 8 })
    }

    /// Sets how the latents of an input are combined. Their mean by default.
    #[must_use]
    pub fn pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = pooling;
        self
    }

    /// Sets how many inputs go through the model at once in [`run_all`](Self::run_all); zero counts
    /// as one. 8 by default.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Sets how texts are read that are longer than the model's input. They are refused by default.
    #[must_use]
    pub fn long_texts(mut self, long_texts: LongTexts) -> Self {
        self.session.long_texts = long_texts;
        self
    }

    /// Warnings about the model's files, one line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.session.warnings
    }

    /// The model's head, which reads either texts or images.
    #[must_use]
    pub fn head(&self) -> Head {
        self.session.head
    }

    /// The parts in which an input is read: one, or the windows of a text that is longer than the
    /// model's input. Without pooling, each part gives one vector per latent.
    ///
    /// # Errors
    /// The errors of [`run`](Self::run).
    pub fn parts(&self, input: impl Into<Input>) -> Result<usize> {
        self.session.parts(&input.into())
    }

    /// Turns one input into vectors.
    ///
    /// # Shapes
    /// - returns: `[1, latent_channels]`, or `[latents, latent_channels]` without pooling, with the
    ///   latents of each window in turn if a long text is read in windows
    ///
    /// # Errors
    /// Returns an error if the model reads the other kind of input, the text is empty or too long,
    /// or the image cannot be read or does not fit the model.
    pub fn run(&self, input: impl Into<Input>) -> Result<Array2<f32>> {
        let parts = self.session.run(self.output(), &input.into(), self.batch)?;
        Ok(array(parts, self.pooling))
    }

    /// Turns many inputs into vectors in batches, in order. Other threads read and prepare the next
    /// batch while the model works.
    ///
    /// # Errors
    /// Each input has its own result, with the errors of [`run`](Self::run).
    #[must_use]
    pub fn run_all<I>(&self, inputs: I) -> FeatureArrays<'_>
    where
        I: IntoIterator<Item: Into<Input> + 'static, IntoIter: Send + 'static>,
    {
        let outputs = self.session.run_all(self.output(), inputs, self.batch);
        FeatureArrays { outputs, pooling: self.pooling }
    }

    fn output(&self) -> Output {
        match self.pooling {
            Pooling::Mean => Output::MeanLatent,
            Pooling::None => Output::Latents,
        }
    }
}

/// An iterator over the vectors of many inputs, in order; see [`Features::run_all`].
#[derive(Debug)]
pub struct FeatureArrays<'a> {
    outputs: Outputs<'a>,
    pooling: Pooling,
}

impl FeatureArrays<'_> {
    /// How long the parts of the run took so far.
    #[must_use]
    pub fn timings(&self) -> Timings {
        self.outputs.timings()
    }
}

impl Iterator for FeatureArrays<'_> {
    type Item = Result<Array2<f32>>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.outputs.next()?.map(|parts| array(parts, self.pooling)))
    }
}

/// The vectors of an input: of its parts one after another, or their mean.
fn array(parts: Vec<Rows>, pooling: Pooling) -> Array2<f32> {
    let (count, channels) = (parts.len(), parts.first().map_or(1, |part| part.channels));
    let values: Vec<f32> = parts.into_iter().flat_map(|part| part.values).collect();
    let shape = (values.len() / channels, channels);
    let vectors = Array2::from_shape_vec(shape, values).expect("the rows are whole");
    match pooling {
        Pooling::Mean if count > 1 => {
            let mean = vectors.mean_axis(Axis(0)).expect("there is a part");
            mean.insert_axis(Axis(0))
        }
        _ => vectors,
    }
}
