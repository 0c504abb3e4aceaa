use std::path::Path;

use burn::tensor::Device;
use ndarray::Array2;
use perceiver_models::Head;

use crate::reader::{Answers, Question, Reader, Rows};
use crate::{Input, Result, Timings};

/// What a model has made of a text or an image before any head reads it: its latents.
///
/// ```no_run
/// use burn::tensor::Device;
/// use perceiver_pipelines::{Features, FeaturesOptions};
///
/// # fn main() -> perceiver_pipelines::Result<()> {
/// # #[cfg(feature = "flex")] {
/// let pipeline = Features::from_pretrained("language-perceiver", &Device::flex())?;
/// let options = FeaturesOptions::default();
/// let [one, other] = ["A cat sat.", "The dog ran."].map(|text| pipeline.run(text, &options));
/// println!("{}", (one? * other?).sum());
/// # }
/// # Ok(())
/// # }
/// ```
///
/// # Source
/// `last_hidden_state` of the reference's `PerceiverModel`.
#[derive(Debug)]
pub struct Features {
    reader: Reader,
}

/// What is made of the latents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean, one vector an input.
    #[default]
    Mean,
    /// Nothing: all of them, a vector each.
    None,
}

/// How [`Features`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeaturesOptions {
    /// What is made of the latents. Their mean by default.
    pub pooling: Pooling,
    /// Inputs that go through the model at once, where there are many. 8 by default.
    pub batch: usize,
}

impl Default for FeaturesOptions {
    fn default() -> Self {
        Self { pooling: Pooling::default(), batch: 8 }
    }
}

impl FeaturesOptions {
    /// Sets what is made of the latents.
    #[must_use]
    pub fn with_pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = pooling;
        self
    }

    /// Sets how many inputs go through the model at once; none counts as one.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    fn question(&self) -> Question {
        match self.pooling {
            Pooling::Mean => Question::MeanLatent,
            Pooling::None => Question::Latents,
        }
    }
}

impl Features {
    /// Loads the model of a folder onto a device, and its tokenizer or image processor.
    ///
    /// # Errors
    /// [`Error::WrongHead`](crate::Error::WrongHead) where the folder's model reads neither texts
    /// nor single images; [`Error::Model`](crate::Error::Model) where it cannot be loaded;
    /// [`Error::Data`](crate::Error::Data) where the settings of the tokenizer or image processor
    /// are damaged. Where there are none, the reference's defaults hold, and
    /// [`warnings`](Self::warnings) says so of images.
    pub fn from_pretrained(folder: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let reads =
            |head| !matches!(head, Head::Model | Head::OpticalFlow | Head::MultimodalAutoencoding);
        let expected = "a model of texts or of single images";
        Ok(Self { reader: Reader::from_pretrained(folder.as_ref(), device, reads, expected)? })
    }

    /// What was suspicious about the folder, a line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.reader.warnings
    }

    /// The model's head: whether it takes texts or images.
    #[must_use]
    pub fn head(&self) -> Head {
        self.reader.head()
    }

    /// Reads one input.
    ///
    /// # Shapes
    /// - returns: `[1, latent_channels]`, or `[latents, latent_channels]` without pooling
    ///
    /// # Errors
    /// When the model takes the other kind of input, the text is empty or too long, or the image
    /// cannot be read or does not fit the model.
    pub fn run(&self, input: impl Into<Input>, options: &FeaturesOptions) -> Result<Array2<f32>> {
        Ok(array(self.reader.ask(options.question(), &input.into())?))
    }

    /// Reads many inputs in batches, in order. While the model is busy with one, the next is read
    /// and made ready on other threads.
    ///
    /// # Errors
    /// Those of [`run`](Self::run), for each input on its own.
    #[must_use]
    pub fn run_all<I>(&self, inputs: I, options: &FeaturesOptions) -> FeatureArrays<'_>
    where
        I: IntoIterator<Item = Input>,
        I::IntoIter: Send + 'static,
    {
        FeatureArrays { answers: self.reader.ask_all(options.question(), inputs, options.batch) }
    }
}

/// Features of many inputs, in their order: what [`Features::run_all`] returns.
#[derive(Debug)]
pub struct FeatureArrays<'a> {
    answers: Answers<'a>,
}

impl FeatureArrays<'_> {
    /// Where the time went so far.
    #[must_use]
    pub fn timings(&self) -> Timings {
        self.answers.timings()
    }
}

impl Iterator for FeatureArrays<'_> {
    type Item = Result<Array2<f32>>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.answers.next()?.map(array))
    }
}

fn array(rows: Rows) -> Array2<f32> {
    let shape = (rows.values.len() / rows.channels, rows.channels);
    Array2::from_shape_vec(shape, rows.values).expect("the rows are whole")
}
