use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use perceiver_core::KeyMask;
use perceiver_io::{
    ImageInput, ImagePreprocessorConfig, MultimodalInput, OutputPoints, PositionEncodingConfig,
};

use super::NamedTensors;
use crate::config::{PerceiverConfig, ProblemType};
use crate::losses::{IGNORED_LABEL, Labels};
use crate::{Error, PerceiverForMultimodalAutoencoding, PerceiverForOpticalFlow, Request};

/// Named tensors not yet taken.
pub(super) struct Inputs<'a> {
    tensors: NamedTensors,
    /// Names that the head takes.
    known: Vec<String>,
    pub(super) config: &'a PerceiverConfig,
    pub(super) device: &'a Device,
    interpolate_positions: bool,
}

impl<'a> Inputs<'a> {
    pub(super) const fn new(
        tensors: NamedTensors,
        config: &'a PerceiverConfig,
        device: &'a Device,
        interpolate_positions: bool,
    ) -> Self {
        Self { tensors, known: Vec::new(), config, device, interpolate_positions }
    }

    /// The one tensor given under any of `names`.
    pub(super) fn take(&mut self, names: &[&str]) -> Result<(String, TensorData), Error> {
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

    /// The tensor called `name`, if there is one.
    pub(super) fn take_if_given(&mut self, name: &str) -> Option<(String, TensorData)> {
        self.known.push(name.to_owned());
        self.tensors.remove_entry(name)
    }

    /// Floats of rank `D` without an empty axis.
    pub(super) fn floats<const D: usize>(
        &mut self,
        names: &[&str],
        axes: &str,
    ) -> Result<Tensor<D>, Error> {
        let (name, data) = self.take(names)?;
        expect_rank(&name, &data, D, axes)?;
        if !data.dtype().is_float() {
            let message = format!("holds {:?}, expected floats", data.dtype());
            return Err(Error::input(name, message));
        }
        Ok(Tensor::from_data(data.convert::<f32>(), self.device))
    }

    pub(super) fn expect_extent(
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

    /// Tokens of a model without a preprocessor.
    pub(super) fn tokens(&mut self) -> Result<Request<Tensor<3>>, Error> {
        let tokens: Tensor<3> = self.floats(&["inputs"], "[batch, tokens, d_model]")?;
        let [batch, count, channels] = tokens.dims();
        self.expect_extent("inputs", 2, channels, self.config.d_model)?;
        Ok(Request::new(tokens).mask(self.mask(batch, count)?))
    }

    /// Texts.
    pub(super) fn text<L>(&mut self) -> Result<Request<Tensor<2, Int>, L>, Error> {
        let ids = self.ids()?;
        let [batch, tokens] = ids.dims();
        Ok(Request::new(ids).mask(self.mask(batch, tokens)?))
    }

    /// Images, which a preprocessor makes into tokens, and their labels.
    pub(super) fn image(
        &mut self,
        preprocessor: impl Fn(&PerceiverConfig) -> ImagePreprocessorConfig,
    ) -> Result<Request<ImageInput, Labels>, Error> {
        let pixels = self.pixels()?;
        let [batch, _, height, width] = pixels.dims();
        let preprocessor = preprocessor(self.config);
        let Some([rows, columns]) = preprocessor.token_grid([height, width]) else {
            let message =
                format!("is {height}x{width} pixels, expected at least 5x5 for the convolution");
            return Err(Error::input("inputs", message));
        };
        let mask = self.mask(batch, rows * columns)?;
        let mut input = ImageInput::from(pixels);
        if let PositionEncodingConfig::Trainable { positions, .. } = preprocessor.positions.encoding
        {
            if self.interpolate_positions {
                input = input.interpolate_positions();
            } else if rows * columns != positions {
                let [rows, columns] = self.config.image_size.height_width();
                let message = format!(
                    "is {height}x{width} pixels, expected {rows}x{columns}, or learned positions \
                     to be interpolated"
                );
                return Err(Error::input("inputs", message));
            }
        }
        let mut request = Request::new(input).mask(mask);
        request.labels = self.labels(batch)?;
        Ok(request)
    }

    fn pixels(&mut self) -> Result<Tensor<4>, Error> {
        let axes = "[batch, 3, height, width]";
        let pixels: Tensor<4> = self.floats(&["inputs", "pixel_values"], axes)?;
        self.expect_extent("inputs", 1, pixels.dims()[1], 3)?;
        Ok(pixels)
    }

    /// The patches around the pixels of two frames.
    pub(super) fn frames(&mut self) -> Result<Request<ImageInput>, Error> {
        let patches: Tensor<5> = self.floats(&["inputs"], "[batch, 2, 27, height, width]")?;
        let [_, frames, channels, height, width] = patches.dims();
        let [rows, columns] = PerceiverForOpticalFlow::decoder_config(self.config).image_shape;
        self.expect_extent("inputs", 1, frames, PerceiverForOpticalFlow::FRAMES)?;
        self.expect_extent("inputs", 2, channels, PerceiverForOpticalFlow::PATCH_CHANNELS)?;
        self.expect_extent("inputs", 3, height, rows)?;
        self.expect_extent("inputs", 4, width, columns)?;
        let mask = self.mask(patches.dims()[0], height * width)?;
        Ok(Request::new(patches.into()).mask(mask))
    }

    /// Video, sound and label, and the points to decode.
    pub(super) fn clip(&mut self) -> Result<Request<MultimodalInput, (), OutputPoints>, Error> {
        let image: Tensor<5> = self.floats(&["inputs.image"], "[batch, time, 3, height, width]")?;
        let audio: Tensor<3> = self.floats(&["inputs.audio"], "[batch, samples, channels]")?;
        let label: Tensor<2> = self.floats(&["inputs.label"], "[batch, labels]")?;
        let [batch, time, channels, height, width] = image.dims();
        let preprocessor = PerceiverForMultimodalAutoencoding::preprocessor_config(self.config);
        self.expect_extent("inputs.image", 2, channels, preprocessor.image.in_channels)?;
        if time < 2 {
            return Err(Error::input("inputs.image", "has 1 frame, expected at least 2"));
        }
        let Some([rows, columns]) = preprocessor.image.token_grid([height, width]) else {
            let block = preprocessor.image.spatial_downsample;
            let message = format!("is {height}x{width} pixels, expected multiples of {block}");
            return Err(Error::input("inputs.image", message));
        };
        let [audio_batch, samples, sound_channels] = audio.dims();
        let patch = preprocessor.audio.samples_per_patch;
        if !(samples * sound_channels).is_multiple_of(patch) {
            let message = format!("has {samples} samples, expected a multiple of {patch}");
            return Err(Error::input("inputs.audio", message));
        }
        let [label_batch, labels] = label.dims();
        self.expect_extent("inputs.audio", 0, audio_batch, batch)?;
        self.expect_extent("inputs.label", 0, label_batch, batch)?;
        self.expect_extent("inputs.label", 1, labels, preprocessor.labels)?;
        let tokens = samples * sound_channels / patch + time * rows * columns + 1;
        let mask = self.mask(batch, tokens)?;
        let clip = MultimodalInput { audio, image, label, hidden_labels: None };
        Ok(Request::new(clip).mask(mask).points(self.points()?))
    }

    fn points(&mut self) -> Result<OutputPoints, Error> {
        let queries = PerceiverForMultimodalAutoencoding::decoder_config(self.config).queries;
        Ok(OutputPoints {
            audio: self.point_list("subsampled_output_points.audio", queries.audio.1)?,
            image: self
                .point_list("subsampled_output_points.image", queries.image.1.iter().product())?,
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
    pub(super) fn token_labels(&mut self, batch: usize) -> Result<Option<Tensor<2, Int>>, Error> {
        let Some((name, data)) = self.take_if_given("labels") else { return Ok(None) };
        expect_rank(&name, &data, 2, "[batch, tokens]")?;
        let (rows, count) = (data.shape()[0], data.shape()[1]);
        self.expect_extent(&name, 0, rows, batch)?;
        let limit = self.config.max_position_embeddings;
        if count > limit {
            let message = format!("has {count} labels per example, expected at most {limit}");
            return Err(Error::input(name, message));
        }
        let labels = integers(&name, &data)?;
        expect_classes(&name, &labels, self.config.vocab_size)?;
        let labels = TensorData::new(labels, data.shape().clone());
        Ok(Some(Tensor::from_data(labels, self.device)))
    }

    /// Labels of a classifier or a regression.
    pub(super) fn labels(&mut self, batch: usize) -> Result<Option<Labels>, Error> {
        let Some((name, data)) = self.take_if_given("labels") else { return Ok(None) };
        let count = self.config.num_labels();
        let classes = match self.config.problem_type {
            Some(problem) => problem == ProblemType::SingleLabelClassification,
            None => count > 1 && !data.dtype().is_float(),
        };
        let expected = if classes { batch } else { batch * count };
        let shape = data.shape().as_slice();
        // The reference flattens labels: a number alone is a batch of one.
        let rows = shape.first().copied().unwrap_or(1);
        if data.num_elements() != expected || shape.len() > 2 || rows != batch {
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

    pub(super) fn no_labels(&self) -> Result<(), Error> {
        if self.tensors.contains_key("labels") {
            return Err(Error::input("labels", "is given, but this head has no loss"));
        }
        Ok(())
    }

    /// Refuses tensors that the head does not take.
    pub(super) fn finish(&self) -> Result<(), Error> {
        match self.tensors.keys().next() {
            None => Ok(()),
            Some(name) => {
                let message =
                    format!("is not an input of this head, expected {}", self.known.join(", "));
                Err(Error::input(name.clone(), message))
            }
        }
    }
}

pub(super) fn expect_rank(
    name: &str,
    data: &TensorData,
    rank: usize,
    axes: &str,
) -> Result<(), Error> {
    let shape = data.shape().as_slice();
    if shape.len() == rank && shape.iter().all(|&extent| extent > 0) {
        return Ok(());
    }
    Err(Error::input(name, format!("has shape {shape:?}, expected {axes}")))
}

pub(super) fn integers(name: &str, data: &TensorData) -> Result<Vec<i64>, Error> {
    if data.dtype().is_int() || data.dtype().is_uint() {
        return Ok(data.iter::<i64>().collect());
    }
    Err(Error::input(name, format!("holds {:?}, expected integers", data.dtype())))
}

/// The first number outside `0..count`, and its place.
pub(super) fn outside(numbers: &[i64], count: usize) -> Option<(usize, i64)> {
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

#[cfg(all(test, feature = "flex"))]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    /// The shape of the labels that a batch of this size is given, or why there are none.
    fn labels(batch: usize, given: TensorData) -> Result<Vec<usize>, String> {
        let tensors = NamedTensors::from([("labels".to_owned(), given)]);
        let (config, device) = (PerceiverConfig::default(), Device::flex());
        let labels = Inputs::new(tensors, &config, &device, false).labels(batch);
        match labels.map_err(|error| error.to_string())?.unwrap() {
            Labels::Classes(classes) => Ok(classes.dims().to_vec()),
            Labels::Values(values) => Ok(values.dims().to_vec()),
        }
    }

    #[test]
    fn a_number_alone_is_the_label_of_one_example() {
        let number = || TensorData::new(vec![1_i64], Vec::<usize>::new());
        assert_eq!(labels(1, number()), Ok(vec![1]));
        let refused = labels(2, number()).unwrap_err();
        assert!(refused.contains("has shape [], expected [2]"), "{refused}");
    }
}
