//! Any head on named tensors from outside.

use std::collections::BTreeMap;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use perceiver_core::{KeyMask, OutputOptions};
use perceiver_io::{MultimodalInput, OutputPoints};

use crate::config::{PerceiverConfig, ProblemType};
use crate::losses::{IGNORED_LABEL, Labels};
use crate::{AnyPerceiver, Error};

/// Tensors by the reference's argument or output names.
pub type NamedTensors = BTreeMap<String, TensorData>;

/// How [`AnyPerceiver::forward`] runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwardOptions {
    /// What is returned beside the result.
    pub outputs: OutputOptions,
    /// Whether learned positions are fitted to images of another size
    /// (`interpolate_pos_encoding`).
    pub interpolate_positions: bool,
}

impl AnyPerceiver {
    /// Runs the model on tensors that come from outside.
    ///
    /// Inputs are named as the reference's arguments: `inputs` (or `input_ids`, `pixel_values`),
    /// `attention_mask`, `labels`; for the autoencoder `inputs.image`, `inputs.audio`,
    /// `inputs.label` and `subsampled_output_points.image`, `.audio`. Outputs are named as
    /// transformers returns them: `logits` (`logits.image`, …), `loss`, `last_hidden_state`,
    /// `hidden_states.0`, `attentions.0`, `cross_attentions.0`, ….
    ///
    /// # Errors
    /// [`Error::Input`] naming the tensor that is missing, unknown, or of a shape, type or value
    /// that the model cannot take.
    pub fn forward(
        &self,
        inputs: NamedTensors,
        config: &PerceiverConfig,
        options: ForwardOptions,
        device: &Device,
    ) -> Result<NamedTensors, Error> {
        let mut inputs = Inputs { tensors: inputs, known: Vec::new(), config, device };
        let mut outputs = Outputs::default();
        let run = options.outputs;
        match self {
            Self::Model(model) => {
                let tokens: Tensor<3> = inputs.floats(&["inputs"], "[batch, tokens, d_model]")?;
                let [batch, count, channels] = tokens.dims();
                inputs.expect_extent("inputs", 2, channels, config.d_model)?;
                let mask = inputs.mask(batch, count)?;
                inputs.finish()?;
                let output = model.forward(tokens, mask.as_ref(), &(), run);
                outputs.push("last_hidden_state", output.last_hidden_state);
                outputs.rest(output.hidden_states, output.attentions, output.cross_attentions);
            }
            Self::MaskedLm(model) => {
                let ids = inputs.ids()?;
                let [batch, tokens] = ids.dims();
                let mask = inputs.mask(batch, tokens)?;
                let labels = inputs.token_labels(batch)?;
                inputs.finish()?;
                let output = model.forward(ids, mask.as_ref(), labels, run);
                outputs.loss(output.loss);
                outputs.push("logits", output.logits);
                outputs.rest(output.hidden_states, output.attentions, output.cross_attentions);
            }
            Self::SequenceClassification(model) => {
                let ids = inputs.ids()?;
                let [batch, tokens] = ids.dims();
                let mask = inputs.mask(batch, tokens)?;
                let labels = inputs.labels(batch)?;
                inputs.finish()?;
                let output = model.forward(ids, mask.as_ref(), labels.as_ref(), run);
                outputs.loss(output.loss);
                outputs.push("logits", output.logits);
                outputs.rest(output.hidden_states, output.attentions, output.cross_attentions);
            }
            Self::ImageClassificationLearned(model) => {
                let pixels = inputs.pixels()?;
                let [batch, _, height, width] = pixels.dims();
                let [rows, columns] = config.image_size.height_width();
                if !options.interpolate_positions && height * width != rows * columns {
                    let message = format!(
                        "is {height}x{width} pixels, expected {rows}x{columns}, or learned \
                         positions to be interpolated"
                    );
                    return Err(Error::input("inputs", message));
                }
                let mask = inputs.mask(batch, height * width)?;
                let labels = inputs.labels(batch)?;
                inputs.finish()?;
                let interpolate = options.interpolate_positions;
                let output =
                    model.forward(pixels, mask.as_ref(), labels.as_ref(), interpolate, run);
                outputs.loss(output.loss);
                outputs.push("logits", output.logits);
                outputs.rest(output.hidden_states, output.attentions, output.cross_attentions);
            }
            Self::ImageClassificationFourier(model) => {
                let pixels = inputs.pixels()?;
                let [batch, _, height, width] = pixels.dims();
                let mask = inputs.mask(batch, height * width)?;
                let labels = inputs.labels(batch)?;
                inputs.finish()?;
                let output = model.forward(pixels, mask.as_ref(), labels.as_ref(), run);
                outputs.loss(output.loss);
                outputs.push("logits", output.logits);
                outputs.rest(output.hidden_states, output.attentions, output.cross_attentions);
            }
            Self::ImageClassificationConvProcessing(model) => {
                let pixels = inputs.pixels()?;
                let [batch, _, height, width] = pixels.dims();
                let (Some(rows), Some(columns)) = (convolved(height), convolved(width)) else {
                    let message = format!(
                        "is {height}x{width} pixels, expected at least 5x5 for the convolution"
                    );
                    return Err(Error::input("inputs", message));
                };
                let mask = inputs.mask(batch, rows * columns)?;
                let labels = inputs.labels(batch)?;
                inputs.finish()?;
                let output = model.forward(pixels, mask.as_ref(), labels.as_ref(), run);
                outputs.loss(output.loss);
                outputs.push("logits", output.logits);
                outputs.rest(output.hidden_states, output.attentions, output.cross_attentions);
            }
            Self::OpticalFlow(model) => {
                let patches = inputs.flow_patches()?;
                let [batch, _, _, height, width] = patches.dims();
                let mask = inputs.mask(batch, height * width)?;
                inputs.no_labels()?;
                inputs.finish()?;
                let output = model.forward(patches, mask.as_ref(), run);
                outputs.push("logits", output.logits);
                outputs.rest(output.hidden_states, output.attentions, output.cross_attentions);
            }
            Self::MultimodalAutoencoding(model) => {
                let input = inputs.modalities()?;
                let [batch, time, _, height, width] = input.image.dims();
                let [_, samples, channels] = input.audio.dims();
                let patches = samples * channels / config.samples_per_patch;
                let tokens = patches + time * (height / 4) * (width / 4) + 1;
                let mask = inputs.mask(batch, tokens)?;
                let points = inputs.points()?;
                inputs.no_labels()?;
                inputs.finish()?;
                let output = model.forward(input, mask.as_ref(), &points, run);
                outputs.push("logits.audio", output.logits.audio);
                outputs.push("logits.image", output.logits.image);
                outputs.push("logits.label", output.logits.label);
                outputs.rest(output.hidden_states, output.attentions, output.cross_attentions);
            }
        }
        Ok(outputs.tensors)
    }
}

/// Rows that the convolution and pooling leave of `pixels` rows, if any.
const fn convolved(pixels: usize) -> Option<usize> {
    match pixels.div_ceil(2).checked_sub(3) {
        Some(beyond) => Some(beyond / 2 + 1),
        None => None,
    }
}

/// Named tensors that are still to be taken.
struct Inputs<'a> {
    tensors: NamedTensors,
    /// Names that were asked for.
    known: Vec<String>,
    config: &'a PerceiverConfig,
    device: &'a Device,
}

impl Inputs<'_> {
    /// The tensor under the first of `names` that is there.
    fn take(&mut self, names: &[&str]) -> Result<(String, TensorData), Error> {
        self.known.extend(names.iter().map(|&name| name.to_owned()));
        let mut given = names.iter().filter(|name| self.tensors.contains_key(**name));
        let Some(&name) = given.next() else {
            return Err(Error::input(names[0], "is missing"));
        };
        if let Some(second) = given.next() {
            return Err(Error::input(*second, format!("is given beside `{name}`, expected one")));
        }
        let data = self.tensors.remove(name).expect("found above");
        Ok((name.to_owned(), data))
    }

    /// The tensor called `name`, which may be left out.
    fn take_if_given(&mut self, name: &str) -> Option<(String, TensorData)> {
        self.known.push(name.to_owned());
        self.tensors.remove_entry(name)
    }

    /// Floats of rank `D`, none of whose axes is empty.
    fn floats<const D: usize>(&mut self, names: &[&str], axes: &str) -> Result<Tensor<D>, Error> {
        let (name, data) = self.take(names)?;
        expect_rank(&name, &data, D, axes)?;
        if !data.dtype().is_float() {
            let message = format!("holds {:?}, expected floats", data.dtype());
            return Err(Error::input(name, message));
        }
        Ok(Tensor::from_data(data.convert::<f32>(), self.device))
    }

    fn expect_extent(
        &self,
        name: &str,
        axis: usize,
        found: usize,
        expected: usize,
    ) -> Result<(), Error> {
        if found == expected {
            return Ok(());
        }
        Err(Error::input(name, format!("has {found} on axis {axis}, expected {expected}")))
    }

    fn ids(&mut self) -> Result<Tensor<2, Int>, Error> {
        let (name, data) = self.take(&["inputs", "input_ids"])?;
        expect_rank(&name, &data, 2, "[batch, tokens]")?;
        let ids = integers(&name, &data)?;
        let tokens = data.shape()[1];
        let limit = self.config.max_position_embeddings;
        if tokens > limit {
            let message = format!("has {tokens} tokens, expected at most {limit}");
            return Err(Error::input(name, message));
        }
        let vocabulary = self.config.vocab_size;
        if let Some((place, id)) = outside(&ids, vocabulary) {
            let message = format!(
                "holds id {id} at [{}, {}], expected 0 to {}",
                place / tokens,
                place % tokens,
                vocabulary - 1
            );
            return Err(Error::input(name, message));
        }
        Ok(Tensor::from_data(TensorData::new(ids, data.shape().clone()), self.device))
    }

    fn pixels(&mut self) -> Result<Tensor<4>, Error> {
        let axes = "[batch, 3, height, width]";
        let pixels: Tensor<4> = self.floats(&["inputs", "pixel_values"], axes)?;
        self.expect_extent("inputs", 1, pixels.dims()[1], 3)?;
        Ok(pixels)
    }

    fn flow_patches(&mut self) -> Result<Tensor<5>, Error> {
        let patches: Tensor<5> = self.floats(&["inputs"], "[batch, 2, 27, height, width]")?;
        let [_, frames, channels, height, width] = patches.dims();
        self.expect_extent("inputs", 1, frames, 2)?;
        self.expect_extent("inputs", 2, channels, 27)?;
        self.expect_extent("inputs", 3, height, self.config.train_size[0])?;
        self.expect_extent("inputs", 4, width, self.config.train_size[1])?;
        Ok(patches)
    }

    fn modalities(&mut self) -> Result<MultimodalInput, Error> {
        let image: Tensor<5> = self.floats(&["inputs.image"], "[batch, time, 3, height, width]")?;
        let audio: Tensor<3> = self.floats(&["inputs.audio"], "[batch, samples, channels]")?;
        let label: Tensor<2> = self.floats(&["inputs.label"], "[batch, labels]")?;
        let [batch, time, channels, height, width] = image.dims();
        self.expect_extent("inputs.image", 2, channels, 3)?;
        if time < 2 {
            return Err(Error::input("inputs.image", "has 1 frame, expected at least 2"));
        }
        if !height.is_multiple_of(4) || !width.is_multiple_of(4) {
            let message = format!("is {height}x{width} pixels, expected multiples of 4");
            return Err(Error::input("inputs.image", message));
        }
        let [audio_batch, samples, sound_channels] = audio.dims();
        let patch = self.config.samples_per_patch;
        if !(samples * sound_channels).is_multiple_of(patch) {
            let message = format!("has {samples} samples, expected a multiple of {patch}");
            return Err(Error::input("inputs.audio", message));
        }
        let [label_batch, labels] = label.dims();
        self.expect_extent("inputs.audio", 0, audio_batch, batch)?;
        self.expect_extent("inputs.label", 0, label_batch, batch)?;
        self.expect_extent("inputs.label", 1, labels, self.config.num_labels())?;
        Ok(MultimodalInput { audio, image, label })
    }

    fn points(&mut self) -> Result<OutputPoints, Error> {
        let config = self.config;
        let patches = config.num_frames * config.audio_samples_per_frame / config.samples_per_patch;
        let pixels = config.output_shape[1..].iter().product();
        Ok(OutputPoints {
            audio: self.point_list("subsampled_output_points.audio", patches)?,
            image: self.point_list("subsampled_output_points.image", pixels)?,
        })
    }

    fn point_list(&mut self, name: &str, count: usize) -> Result<Option<Tensor<1, Int>>, Error> {
        let Some((name, data)) = self.take_if_given(name) else { return Ok(None) };
        expect_rank(&name, &data, 1, "[points]")?;
        let points = integers(&name, &data)?;
        if let Some((place, point)) = outside(&points, count) {
            let message = format!("holds {point} at [{place}], expected 0 to {}", count - 1);
            return Err(Error::input(name, message));
        }
        Ok(Some(Tensor::from_data(TensorData::new(points, data.shape().clone()), self.device)))
    }

    fn mask(&mut self, batch: usize, tokens: usize) -> Result<Option<KeyMask>, Error> {
        let Some((name, data)) = self.take_if_given("attention_mask") else { return Ok(None) };
        if data.shape().as_slice() != [batch, tokens] {
            let message =
                format!("has shape {:?}, expected [{batch}, {tokens}]", data.shape().as_slice());
            return Err(Error::input(name, message));
        }
        let hidden: Vec<bool> = data.iter::<f64>().map(|keep| keep == 0.0).collect();
        if let Some(row) = hidden.chunks(tokens).position(|row| row.iter().all(|&h| h)) {
            return Err(Error::input(name, format!("hides every token of example {row}")));
        }
        let hidden = TensorData::new(hidden, [batch, tokens]);
        Ok(Some(KeyMask::from_hidden(Tensor::<2, Bool>::from_data(hidden, self.device))))
    }

    /// Labels of a masked language model.
    fn token_labels(&mut self, batch: usize) -> Result<Option<Tensor<2, Int>>, Error> {
        let Some((name, data)) = self.take_if_given("labels") else { return Ok(None) };
        expect_rank(&name, &data, 2, "[batch, tokens]")?;
        let (rows, count) = (data.shape()[0], data.shape()[1]);
        self.expect_extent(&name, 0, rows, batch)?;
        let limit = self.config.max_position_embeddings;
        if count > limit {
            let message = format!("has {count} labels an example, expected at most {limit}");
            return Err(Error::input(name, message));
        }
        let labels = integers(&name, &data)?;
        expect_classes(&name, &labels, self.config.vocab_size)?;
        let labels = TensorData::new(labels, data.shape().clone());
        Ok(Some(Tensor::from_data(labels, self.device)))
    }

    /// Labels of a classifier or a regression.
    fn labels(&mut self, batch: usize) -> Result<Option<Labels>, Error> {
        let Some((name, data)) = self.take_if_given("labels") else { return Ok(None) };
        let count = self.config.num_labels();
        let classes = match self.config.problem_type {
            Some(problem) => problem == ProblemType::SingleLabelClassification,
            None => count > 1 && !data.dtype().is_float(),
        };
        let expected = if classes { batch } else { batch * count };
        let rank = data.shape().num_dims();
        if data.num_elements() != expected || rank > 2 || data.shape()[0] != batch {
            let shape = data.shape().as_slice();
            let wanted = match (classes, count) {
                (true, _) | (_, 1) => format!("[{batch}]"),
                _ => format!("[{batch}, {count}]"),
            };
            return Err(Error::input(name, format!("has shape {shape:?}, expected {wanted}")));
        }
        if classes {
            let labels = integers(&name, &data)?;
            expect_classes(&name, &labels, count)?;
            let labels = TensorData::new(labels, [batch]);
            return Ok(Some(Labels::Classes(Tensor::from_data(labels, self.device))));
        }
        let values: Vec<f32> = data.iter::<f32>().collect();
        let values = TensorData::new(values, [batch, count]);
        Ok(Some(Labels::Values(Tensor::from_data(values, self.device))))
    }

    fn no_labels(&self) -> Result<(), Error> {
        if self.tensors.contains_key("labels") {
            return Err(Error::input("labels", "is given, but this head has no loss"));
        }
        Ok(())
    }

    /// Every tensor has been taken.
    fn finish(&self) -> Result<(), Error> {
        match self.tensors.keys().next() {
            None => Ok(()),
            Some(name) => {
                let message =
                    format!("is no input of this head, expected {}", self.known.join(", "));
                Err(Error::input(name.clone(), message))
            }
        }
    }
}

fn expect_rank(name: &str, data: &TensorData, rank: usize, axes: &str) -> Result<(), Error> {
    let shape = data.shape().as_slice();
    if shape.len() == rank && shape.iter().all(|&extent| extent > 0) {
        return Ok(());
    }
    Err(Error::input(name, format!("has shape {shape:?}, expected {axes}")))
}

fn integers(name: &str, data: &TensorData) -> Result<Vec<i64>, Error> {
    if data.dtype().is_int() || data.dtype().is_uint() {
        return Ok(data.iter::<i64>().collect());
    }
    Err(Error::input(name, format!("holds {:?}, expected integers", data.dtype())))
}

/// The first number that is not below `count`, and its place.
fn outside(numbers: &[i64], count: usize) -> Option<(usize, i64)> {
    let inside = |number: i64| usize::try_from(number).is_ok_and(|number| number < count);
    numbers.iter().copied().enumerate().find(|&(_, number)| !inside(number))
}

fn expect_classes(name: &str, labels: &[i64], classes: usize) -> Result<(), Error> {
    let counted: Vec<i64> = labels.iter().copied().filter(|&l| l != IGNORED_LABEL).collect();
    match outside(&counted, classes) {
        None => Ok(()),
        Some((_, label)) => {
            let last = classes - 1;
            let message = format!("holds {label}, expected 0 to {last} or {IGNORED_LABEL}");
            Err(Error::input(name, message))
        }
    }
}

/// Named tensors as they come out.
#[derive(Default)]
struct Outputs {
    tensors: NamedTensors,
}

impl Outputs {
    fn push<const D: usize>(&mut self, name: impl Into<String>, tensor: Tensor<D>) {
        self.tensors.insert(name.into(), tensor.into_data());
    }

    /// The reference's loss has no axis.
    fn loss(&mut self, loss: Option<Tensor<1>>) {
        if let Some(loss) = loss {
            let value: f32 = loss.into_scalar();
            let data = TensorData::new(vec![value], Vec::<usize>::new());
            self.tensors.insert("loss".into(), data);
        }
    }

    fn rest(
        &mut self,
        hidden_states: Option<Vec<Tensor<3>>>,
        attentions: Option<Vec<Tensor<4>>>,
        cross_attentions: Option<Vec<Tensor<4>>>,
    ) {
        for (i, state) in hidden_states.into_iter().flatten().enumerate() {
            self.push(format!("hidden_states.{i}"), state);
        }
        for (i, map) in attentions.into_iter().flatten().enumerate() {
            self.push(format!("attentions.{i}"), map);
        }
        for (i, map) in cross_attentions.into_iter().flatten().enumerate() {
            self.push(format!("cross_attentions.{i}"), map);
        }
    }
}
