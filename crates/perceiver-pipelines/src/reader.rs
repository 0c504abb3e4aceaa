//! A model that reads texts or images, one or many.

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::{Device, TensorData};
use perceiver_models::{
    AnyPerceiver, ForwardOptions, Head, NamedTensors, PerceiverConfig, Pretrained,
};

use crate::ahead::{Ahead, Batch};
use crate::preparation::{Cost, Preparation, Prepared};
use crate::{Error, Input, Result};

/// A model, and what makes texts or images ready for it.
#[derive(Debug)]
pub(crate) struct Reader {
    model: AnyPerceiver,
    pub(crate) config: PerceiverConfig,
    preparation: Arc<Preparation>,
    pub(crate) warnings: Vec<String>,
    device: Device,
}

/// What is asked of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// The head's answer, one row an input.
    Logits,
    /// The latents, a row each.
    Latents,
    /// The mean of the latents, one row an input.
    MeanLatent,
}

/// A model's numbers about one input: rows of `channels`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rows {
    pub(crate) values: Vec<f32>,
    pub(crate) channels: usize,
}

/// Where the time went that inputs took.
///
/// What comes before the model is done on other threads, while the model works on the inputs
/// before: only what is in `waiting` made anything take longer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// Reading and decoding of files, added up over threads.
    pub decoding: Duration,
    /// From texts to tokens, from images to pixels of the model's size, added up over threads.
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

impl Reader {
    /// Loads the model of a folder, if its head is one that reads as is `expected`.
    pub(crate) fn from_pretrained(
        folder: &Path,
        device: &Device,
        reads: impl Fn(Head) -> bool,
        expected: &'static str,
    ) -> Result<Self> {
        let config = PerceiverConfig::from_pretrained(folder)?;
        let mut warnings = Vec::new();
        // Without a known head, the loading below fails and says so with the file's name.
        let head = config.head().unwrap_or(Head::SequenceClassification);
        if !reads(head) {
            return Err(Error::WrongHead { path: folder.to_path_buf(), head, expected });
        }
        let preparation = Preparation::from_pretrained(folder, head, &config, &mut warnings)?;
        let Pretrained { model, config, report } = AnyPerceiver::from_pretrained(folder, device)?;
        warnings.extend(report.warnings());
        let device = device.clone();
        Ok(Self { model, config, preparation: Arc::new(preparation), warnings, device })
    }

    pub(crate) fn head(&self) -> Head {
        self.model.head()
    }

    /// Asks about one input.
    pub(crate) fn ask(&self, question: Question, input: &Input) -> Result<Rows> {
        let prepared = self.preparation.prepare(input).0?;
        let answer = self.answer(question, self.preparation.stack(&[prepared]));
        let mut rows = answer.map_err(|error| of_input(error, input))?;
        Ok(rows.remove(0))
    }

    /// Asks about many inputs in batches.
    pub(crate) fn ask_all<I>(&self, question: Question, inputs: I, batch: usize) -> Answers<'_>
    where
        I: IntoIterator<Item = Input>,
        I::IntoIter: Send + 'static,
    {
        let preparation = Arc::clone(&self.preparation);
        let ahead = Ahead::new(preparation, inputs.into_iter(), batch.max(1));
        let (ready, timings) = (VecDeque::new(), Timings::default());
        Answers { reader: self, question, ahead, ready, timings }
    }

    /// Answers about every input of a batch, in its order.
    fn answers(
        &self,
        question: Question,
        batch: Batch,
        timings: &mut Timings,
    ) -> Vec<Result<Rows>> {
        let mut answers = Vec::with_capacity(batch.len());
        let mut together: Vec<Prepared> = Vec::new();
        let mut batch = batch.into_iter().peekable();
        while let Some((prepared, cost)) = batch.next() {
            *timings += cost;
            match prepared {
                Ok(prepared) => together.push(prepared),
                Err(error) => answers.push(Err(error)),
            }
            let goes_on = match (together.last(), batch.peek()) {
                (Some(last), Some((Ok(next), _))) => last.fits(next),
                _ => false,
            };
            if !goes_on {
                answers.extend(self.answers_together(question, &together));
                together.clear();
            }
        }
        answers
    }

    fn answers_together(&self, question: Question, inputs: &[Prepared]) -> Vec<Result<Rows>> {
        if inputs.is_empty() {
            return Vec::new();
        }
        match self.answer(question, self.preparation.stack(inputs)) {
            Ok(rows) => rows.into_iter().map(Ok).collect(),
            Err(error) if inputs.len() == 1 => vec![Err(error)],
            // Each gets an error of its own, or an answer after all.
            Err(_) => {
                inputs.chunks(1).flat_map(|one| self.answers_together(question, one)).collect()
            }
        }
    }

    fn answer(&self, question: Question, inputs: NamedTensors) -> Result<Vec<Rows>> {
        let output = match question {
            Question::Logits => {
                let options = ForwardOptions::default();
                let outputs = self.model.forward(inputs, &self.config, options, &self.device)?;
                outputs.into_iter().find(|(name, _)| name == "logits").map(|(_, logits)| logits)
            }
            Question::Latents | Question::MeanLatent => {
                let latents = self.model.encode(inputs, &self.config, &self.device)?;
                let latents =
                    if question == Question::Latents { latents } else { latents.mean_dim(1) };
                Some(latents.into_data())
            }
        };
        Ok(output.map(|output| split(&output)).unwrap_or_default())
    }
}

/// The rows of every input of a batch.
fn split(output: &TensorData) -> Vec<Rows> {
    let shape = output.shape().as_slice();
    let channels = shape.last().copied().unwrap_or(1);
    let size = output.num_elements() / shape.first().copied().unwrap_or(1);
    let values: Vec<f32> = output.iter::<f32>().collect();
    values.chunks(size).map(|values| Rows { values: values.to_vec(), channels }).collect()
}

/// Errors of the model do not know which file they are about.
fn of_input(error: Error, input: &Input) -> Error {
    match input {
        Input::ImageFile(path) => error.in_image(path),
        _ => error,
    }
}

/// Answers in the order of the inputs, while the inputs behind are made ready on other threads.
#[derive(Debug)]
pub(crate) struct Answers<'a> {
    reader: &'a Reader,
    question: Question,
    ahead: Ahead,
    ready: VecDeque<Result<Rows>>,
    timings: Timings,
}

impl Answers<'_> {
    pub(crate) fn timings(&self) -> Timings {
        self.timings
    }
}

impl Iterator for Answers<'_> {
    type Item = Result<Rows>;

    fn next(&mut self) -> Option<Result<Rows>> {
        if self.ready.is_empty() {
            let start = Instant::now();
            let batch = self.ahead.next()?;
            self.timings.waiting += start.elapsed();
            let start = Instant::now();
            self.ready = self.reader.answers(self.question, batch, &mut self.timings).into();
            self.timings.model += start.elapsed();
        }
        self.ready.pop_front()
    }
}
