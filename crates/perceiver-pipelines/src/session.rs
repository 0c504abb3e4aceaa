//! A loaded model of texts or images, and the runs on it.

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use burn::tensor::{Device, Tensor, TensorData};
use perceiver_models::{
    AnyPerceiver, CrossAttentionMaps, Decoder, Head, LoadReport, PerceiverClassifierOutput,
    PerceiverConfig, PerceiverForImageClassificationConvProcessing,
    PerceiverForImageClassificationFourier, PerceiverForImageClassificationLearned,
    PerceiverForMaskedLM, PerceiverForSequenceClassification, PerceiverHead, PerceiverModel,
    Preprocessor, Request,
};
use web_time::Instant;

use crate::long_texts::LongTexts;
use crate::model_files::{ModelFiles, Opened};
use crate::prefetch::Prefetch;
use crate::preparation::{Cost, Preparation, Prepared, stack_images, stack_texts};
use crate::{Error, Input, Result};

/// A model and its preparation of texts or images.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    model: Model,
    pub(crate) head: Head,
    pub(crate) config: PerceiverConfig,
    pub(crate) preparation: Arc<Preparation>,
    pub(crate) report: LoadReport,
    pub(crate) warnings: Vec<String>,
    pub(crate) long_texts: LongTexts,
    device: Device,
}

/// The heads that read texts or images.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "there is one per pipeline")]
enum Model {
    MaskedLm(PerceiverForMaskedLM),
    SequenceClassification(PerceiverForSequenceClassification),
    Learned(PerceiverForImageClassificationLearned),
    Fourier(PerceiverForImageClassificationFourier),
    ConvProcessing(PerceiverForImageClassificationConvProcessing),
}

/// The numbers to return from the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// The head's output, in a classifier one row per input.
    Logits,
    /// The latents, one row each.
    Latents,
    /// The mean of the latents, one row per input.
    MeanLatent,
}

/// The output for one input: rows of `channels` numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rows {
    pub(crate) values: Vec<f32>,
    pub(crate) channels: usize,
}

/// A prepared input and what preparing it cost.
type WithCost = (Result<Prepared>, Cost);

/// How long the parts of a run took.
///
/// Inputs are prepared on other threads while the model works on the previous ones: only `waiting`
/// delayed the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// Reading and decoding of files, summed over threads.
    pub decoding: Duration,
    /// Turning texts into tokens, or images into pixels of the model's size, summed over threads.
    pub preprocessing: Duration,
    /// The model.
    pub model: Duration,
    /// The model's wait for its next inputs.
    pub waiting: Duration,
}

impl AddAssign<Cost> for Timings {
    fn add_assign(&mut self, cost: Cost) {
        self.decoding += cost.decoding;
        self.preprocessing += cost.preprocessing;
    }
}

impl Session {
    /// Loads a model if the pipeline accepts its head.
    pub(crate) fn load(
        files: ModelFiles<'_>,
        device: &Device,
        accepts: impl Fn(Head) -> bool,
        expected: &'static str,
    ) -> Result<Self> {
        let config = files.config(accepts, expected)?;
        let mut warnings = Vec::new();
        // Without a known head, loading the weights fails, with an error that lists the known ones.
        let head = config.head().unwrap_or(Head::SequenceClassification);
        let preparation = Preparation::load(files, head, &config, &mut warnings)?;
        let Opened { head: any, config, report } = files.open_any(&config, device)?;
        warnings.extend(report.warnings());
        let model = match any {
            AnyPerceiver::MaskedLm(head) => Model::MaskedLm(head),
            AnyPerceiver::SequenceClassification(head) => Model::SequenceClassification(head),
            AnyPerceiver::ImageClassificationLearned(head) => Model::Learned(head),
            AnyPerceiver::ImageClassificationFourier(head) => Model::Fourier(head),
            AnyPerceiver::ImageClassificationConvProcessing(head) => Model::ConvProcessing(head),
            other => {
                let path = files.path();
                return Err(Error::WrongHead { path, head: other.head(), expected });
            }
        };
        let (preparation, device) = (Arc::new(preparation), device.clone());
        let long_texts = LongTexts::default();
        Ok(Self { model, head, config, preparation, report, warnings, long_texts, device })
    }

    /// Runs the model on one input, or on its windows in batches.
    pub(crate) fn run(&self, output: Output, input: &Input, batch: usize) -> Result<Vec<Rows>> {
        let prepared = self.preparation.prepare(input, self.long_texts).0?;
        self.checked(self.rows_of_parts(output, vec![prepared], batch).remove(0))
    }

    /// The number of parts in which an input goes through the model.
    pub(crate) fn parts(&self, input: &Input) -> Result<usize> {
        let prepared = self.preparation.prepare(input, self.long_texts).0?;
        Ok(prepared.into_parts().len())
    }

    /// The rows, unless they hold numbers that are not finite.
    fn checked(&self, rows: Vec<Rows>) -> Result<Vec<Rows>> {
        self.report.check_outputs(rows.iter().flat_map(|rows| &rows.values).copied())?;
        Ok(rows)
    }

    /// Runs the model on many inputs in batches, while others are prepared.
    pub(crate) fn run_all<I>(&self, output: Output, inputs: I, batch: usize) -> Outputs<'_>
    where
        I: IntoIterator<Item: Into<Input> + 'static, IntoIter: Send + 'static>,
    {
        let (preparation, long_texts) = (Arc::clone(&self.preparation), self.long_texts);
        let inputs = inputs.into_iter().map(Into::into);
        let prepare = move |input: &Input| preparation.prepare(input, long_texts);
        let batch = batch.max(1);
        let prefetch = Prefetch::new(prepare, inputs, batch);
        let (ready, timings) = (VecDeque::new(), Timings::default());
        Outputs { session: self, output, batch, prefetch, ready, timings }
    }

    /// Computes where the model attends, with the decoder's maps if `decoder` is true.
    pub(crate) fn maps(&self, input: &Prepared, decoder: bool) -> CrossAttentionMaps {
        let inputs = slice::from_ref(input);
        let texts = || stack_texts::<()>(inputs, &self.device);
        let images = || stack_images(inputs, &self.device);
        match &self.model {
            Model::MaskedLm(head) => maps(head.perceiver(), texts().map_points(|()| None), decoder),
            Model::SequenceClassification(head) => maps(head.perceiver(), texts(), decoder),
            Model::Learned(head) => maps(head.perceiver(), images().into(), decoder),
            Model::Fourier(head) => maps(head.perceiver(), images().into(), decoder),
            Model::ConvProcessing(head) => maps(head.perceiver(), images().into(), decoder),
        }
    }

    /// Runs the model on a prefetched batch, in order; only inputs that fit together share a pass, of
    /// at most `size` inputs or windows.
    fn run_batch(
        &self,
        output: Output,
        batch: Vec<WithCost>,
        size: usize,
        timings: &mut Timings,
    ) -> Vec<Result<Vec<Rows>>> {
        let mut results = Vec::with_capacity(batch.len());
        let mut together: Vec<Prepared> = Vec::new();
        let mut batch = batch.into_iter().peekable();
        while let Some((prepared, cost)) = batch.next() {
            *timings += cost;
            match prepared {
                Ok(prepared) => together.push(prepared),
                Err(error) => results.push(Err(error)),
            }
            let next_fits = match (together.last(), batch.peek()) {
                (Some(last), Some((Ok(next), _))) => last.fits(next),
                _ => false,
            };
            if !next_fits && !together.is_empty() {
                let together = std::mem::take(&mut together);
                let rows = self.rows_of_parts(output, together, size).into_iter();
                results.extend(rows.map(|rows| self.checked(rows)));
            }
        }
        results
    }

    /// Runs the model on the parts of inputs that fit together, `size` at a time.
    fn rows_of_parts(&self, output: Output, inputs: Vec<Prepared>, size: usize) -> Vec<Vec<Rows>> {
        let inputs: Vec<_> = inputs.into_iter().map(Prepared::into_parts).collect();
        let counts: Vec<_> = inputs.iter().map(Vec::len).collect();
        let parts: Vec<_> = inputs.into_iter().flatten().collect();
        let mut rows = parts.chunks(size.max(1)).flat_map(|parts| self.rows(output, parts));
        counts.into_iter().map(|count| rows.by_ref().take(count).collect()).collect()
    }

    /// Runs the model once, on inputs that fit together.
    fn rows(&self, output: Output, inputs: &[Prepared]) -> Vec<Rows> {
        let images = || stack_images(inputs, &self.device).into();
        let data = match &self.model {
            Model::MaskedLm(head) => {
                let texts = stack_texts(inputs, &self.device);
                run(head, texts, output, |answer| answer.logits.into_data())
            }
            Model::SequenceClassification(head) => {
                run(head, stack_texts(inputs, &self.device), output, logits)
            }
            Model::Learned(head) => run(head, images(), output, logits),
            Model::Fourier(head) => run(head, images(), output, logits),
            Model::ConvProcessing(head) => run(head, images(), output, logits),
        };
        split(&data)
    }
}

fn run<H: PerceiverHead>(
    head: &H,
    request: Request<H::Input, H::Labels, H::Points>,
    output: Output,
    logits: impl FnOnce(H::Output) -> TensorData,
) -> TensorData {
    match output {
        Output::Logits => logits(head.forward(request)),
        Output::Latents => head.encode(request).encoder.last_hidden_state.into_data(),
        Output::MeanLatent => {
            head.encode(request).encoder.last_hidden_state.mean_dim(1).into_data()
        }
    }
}

fn maps<P: Preprocessor, D: Decoder>(
    perceiver: &PerceiverModel<P, D>,
    request: Request<P::Input, (), D::Points>,
    decoder: bool,
) -> CrossAttentionMaps {
    if decoder {
        return perceiver.cross_attention_maps(request);
    }
    CrossAttentionMaps { encoder: perceiver.encoder_maps(request), decoder: None }
}

fn logits(output: PerceiverClassifierOutput<Tensor<2>>) -> TensorData {
    output.logits.into_data()
}

/// The rows of every input of a batch.
fn split(output: &TensorData) -> Vec<Rows> {
    let shape = output.shape().as_slice();
    let channels = shape.last().copied().unwrap_or(1);
    let size = output.num_elements() / shape.first().copied().unwrap_or(1);
    let values: Vec<f32> = output.iter::<f32>().collect();
    values.chunks(size).map(|values| Rows { values: values.to_vec(), channels }).collect()
}

/// Outputs in the order of the inputs, while later inputs are prepared on other threads.
#[derive(Debug)]
pub(crate) struct Outputs<'a> {
    session: &'a Session,
    output: Output,
    batch: usize,
    prefetch: Prefetch<WithCost>,
    ready: VecDeque<Result<Vec<Rows>>>,
    timings: Timings,
}

impl Outputs<'_> {
    pub(crate) fn timings(&self) -> Timings {
        self.timings
    }
}

impl Iterator for Outputs<'_> {
    /// Rows of each part of the input.
    type Item = Result<Vec<Rows>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            let start = Instant::now();
            let batch = self.prefetch.next()?;
            self.timings.waiting += start.elapsed();
            let start = Instant::now();
            let ready = self.session.run_batch(self.output, batch, self.batch, &mut self.timings);
            self.ready = ready.into();
            self.timings.model += start.elapsed();
        }
        self.ready.pop_front()
    }
}
