//! Weights of linear layers in 8 bits: integers, and one scale per output channel.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, FloatDType, Tensor, TensorData};

use super::keys::Place;
use super::load::is_linear_weight;
use super::{Checkpoint, KeyMap, elements};
use crate::Error;
use crate::config::Quantisation;

/// Largest integer of a weight. -128 is left out, so that a weight and its negative are alike.
const LARGEST: f32 = 127.0;

/// Most that a layer's weights may differ from the stored ones to be kept in 8 bits: root mean
/// square of the differences over that of the weights. Normally distributed weights differ by less
/// than 0.01; a row with an outlier of twelve times its root mean square by 0.027.
const LARGEST_ERROR: f64 = 0.02;

/// Chooses the linear layers of a module to store in 8 bits: those whose weights change by at most
/// 2 % (root mean square of the differences, over that of the weights). The others are listed in
/// [`ignore`](Quantisation::ignore).
///
/// ```no_run
/// # use burn::tensor::Device;
/// # use perceiver_models::{Error, KeyMap, PerceiverForMaskedLM, PerceiverHead, quantisation};
/// # fn main() -> Result<(), Error> {
/// let mut language = PerceiverForMaskedLM::from_pretrained("language", &Device::flex())?;
/// language.config.quantisation = Some(quantisation(&language.model, &KeyMap::PERCEIVER)?);
/// language.save("language-int8")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Input`] if a weight has NaN or infinite values.
pub fn quantisation<M: Module>(module: &M, keys: &KeyMap) -> Result<Quantisation, Error> {
    struct Layers<'a> {
        keys: &'a KeyMap,
        place: Place,
        ignore: Vec<String>,
        error: Option<Error>,
    }
    impl ModuleVisitor for Layers<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.place.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.place.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.error.is_some() || !is_linear_weight(&self.place) {
                return;
            }
            let key = self.place.key(self.keys);
            match Quantised::of(&param.val().into_data()) {
                Some(quantised) if quantised.error <= LARGEST_ERROR => {}
                Some(_) => self.ignore.push(layer(&key).to_owned()),
                None => self.error = Some(not_finite(&key)),
            }
        }
    }
    let mut layers = Layers { keys, place: Place::default(), ignore: Vec::new(), error: None };
    module.visit(&mut layers);
    match layers.error {
        Some(error) => Err(error),
        None => Ok(Quantisation { ignore: layers.ignore }),
    }
}

/// A weight in 8 bits.
pub(super) struct Quantised {
    /// `[out, in]`
    pub(super) values: TensorData,
    /// `[out, 1]`
    pub(super) scales: TensorData,
    /// Root mean square of the rounding's differences, over that of the weights.
    error: f64,
}

impl Quantised {
    /// Rounds a weight of shape `[in, out]`; `None` if it has NaN or infinite values.
    pub(super) fn of(weight: &TensorData) -> Option<Self> {
        let &[inputs, outputs] = &weight.shape()[..] else { return None };
        let (bytes, shape) = (weight.as_bytes(), [outputs, inputs]);
        let rows = elements::floats(bytes, weight.dtype(), FloatDType::F32, &shape, true)?;
        if rows.non_finite > 0 {
            return None;
        }
        let rows = rows.data.try_to_vec::<f32>().ok()?;
        let mut values = Vec::with_capacity(rows.len());
        let mut scales = Vec::with_capacity(outputs);
        let (mut differences, mut squares) = (0.0, 0.0);
        for row in rows.chunks_exact(inputs.max(1)) {
            let scale = row.iter().fold(0.0, |most: f32, value| most.max(value.abs())) / LARGEST;
            // A row of zeros has any scale.
            let scale = if scale > 0.0 { scale } else { f32::EPSILON };
            for &value in row {
                let rounded = (value / scale).round_ties_even().clamp(-LARGEST, LARGEST);
                values.push(rounded as i8);
                let (value, scale) = (f64::from(value), f64::from(scale));
                differences += (value - f64::from(rounded) * scale).powi(2);
                squares += value.powi(2);
            }
            scales.push(scale);
        }
        scales.resize(outputs, f32::EPSILON);
        let error = if squares > 0.0 { (differences / squares).sqrt() } else { 0.0 };
        let values = TensorData::new(values, shape);
        Some(Self { values, scales: TensorData::new(scales, [outputs, 1]), error })
    }
}

/// The name of the layer whose weight has this key.
pub(super) fn layer(key: &str) -> &str {
    key.strip_suffix(".weight").unwrap_or(key)
}

/// The key of the scales of a weight.
pub(super) fn scale_key(weight: &str) -> String {
    format!("{weight}_scale")
}

/// The error about the weight of this key, or of the scales of this key.
pub(super) fn not_finite(key: &str) -> Error {
    let weight = key.strip_suffix("_scale").unwrap_or(key);
    Error::input(weight, "has NaN or infinite values, which 8 bits cannot hold")
}

impl Checkpoint<'_> {
    /// True for the scales of a weight that is stored in 8 bits.
    #[must_use]
    pub fn is_scale(&self, key: &str) -> bool {
        let weight = key.strip_suffix("_scale").and_then(|weight| self.info(weight));
        weight.is_some_and(|info| info.dtype == DType::I8)
    }

    /// The little-endian single-precision values of a weight in 8 bits, whose type and shape were
    /// compared before.
    pub(super) fn dequantised(&self, weight: &str, values: &[u8]) -> Result<Vec<u8>, Error> {
        let key = scale_key(weight);
        let stored = self.bytes(&key)?;
        let info = &self.stored(&key)?.info;
        let unreadable = || self.unreadable(&key, "its values do not fit their type");
        let scales = elements::floats(&stored, info.dtype, FloatDType::F32, &info.shape, false);
        let scales = scales.and_then(|floats| floats.data.try_to_vec::<f32>().ok());
        let scales = scales.ok_or_else(unreadable)?;
        if let Some(row) = scales.iter().position(|scale| !(scale.is_finite() && *scale > 0.0)) {
            let message = format!("is {} in row {row}, expected a positive number", scales[row]);
            return Err(self.unreadable(&key, &message));
        }
        let mut floats = Vec::with_capacity(4 * values.len());
        let columns = (values.len() / scales.len().max(1)).max(1);
        for (row, scale) in values.chunks_exact(columns).zip(scales) {
            let row = row.iter().map(|&byte| f32::from(byte.cast_signed()) * scale);
            floats.extend(row.flat_map(f32::to_le_bytes));
        }
        Ok(floats)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn each_output_channel_has_the_scale_of_its_largest_weight() {
        // Two inputs, three outputs; ties go to the even integer, a row of zeros stays zero.
        let weight = TensorData::new(vec![127.0f32, -0.5, 0.0, 2.5, 0.25, 0.0], [2, 3]);
        let quantised = Quantised::of(&weight).unwrap();
        assert_eq!(quantised.values.try_to_vec::<i8>().unwrap(), [127, 2, -127, 64, 0, 0]);
        let scales = quantised.scales.try_to_vec::<f32>().unwrap();
        assert_eq!(scales[..2], [1.0, 0.5 / 127.0]);
        assert!(scales[2] > 0.0);
    }

    #[test]
    fn the_error_is_relative_to_the_weights() {
        // One outlier of 127 among 63 weights of 0.4, which become zero.
        let mut weight = vec![0.4f32; 64];
        weight[5] = 127.0;
        let quantised = Quantised::of(&TensorData::new(weight, [64, 1])).unwrap();
        let (lost, whole) = (63.0 * 0.16, 63.0 * 0.16 + 127.0f64 * 127.0);
        assert!((quantised.error - (lost / whole).sqrt()).abs() < 1e-7);
    }

    #[test]
    fn weights_that_are_not_finite_are_refused() {
        for value in [f32::NAN, f32::INFINITY] {
            assert!(Quantised::of(&TensorData::new(vec![1.0, value], [2, 1])).is_none());
        }
    }
}
