//! Loads the values of a checkpoint into the parameters of a module.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, FloatDType, Int, Shape, Tensor, TensorData};

use super::int8::scale_key;
use super::keys::Place;
use super::prefix::{BASE, Prefix};
use super::report::{LoadReport, MismatchedSize, NonFinite};
use super::{Checkpoint, KeyMap, TensorInfo, elements};
use crate::Error;

/// How a checkpoint is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    /// The type to cast float tensors to; `None` keeps the stored type.
    pub dtype: Option<FloatDType>,
    /// If true, skips tensors that only the model or only the checkpoint has: to start from a
    /// model with another head.
    pub partial: bool,
    /// If true, parameters whose shape differs from the checkpoint's keep their fresh values, and
    /// [`LoadReport::mismatched`] lists them: to start from a classifier of other labels.
    ///
    /// # Source
    /// `ignore_mismatched_sizes` of transformers' `from_pretrained`.
    pub ignore_mismatched_sizes: bool,
}

impl Default for LoadOptions {
    /// Everything, in single precision.
    fn default() -> Self {
        Self { dtype: Some(FloatDType::F32), partial: false, ignore_mismatched_sizes: false }
    }
}

/// Replaces every parameter of a module by the checkpoint's tensor of its key.
///
/// All keys, shapes and types are compared before a parameter is initialised or a value is read.
/// Tensors are then read one at a time, onto the device of each parameter. Linear weights, which
/// PyTorch stores transposed, are transposed on the way, bit for bit; those in 8 bits are multiplied by
/// their scales (see [`Quantisation`](crate::Quantisation)). What a wrapper of the model had
/// put before its keys is left off, see [`Checkpoint::wrapper_prefix`].
///
/// # Errors
/// [`Error::Mismatch`] listing what is missing, unused or of another shape (unless the options allow
/// it and some tensor fits) or of another type; [`Error::Checkpoint`] or [`Error::Io`] if a tensor cannot be
/// read. The module is then lost: a checkpoint loads whole or not at all.
pub fn load_module<M: Module>(
    module: M,
    checkpoint: &Checkpoint<'_>,
    keys: &KeyMap,
    options: &LoadOptions,
) -> Result<(M, LoadReport), Error> {
    let slots = slots(&module, keys);
    let report = compare(&slots, checkpoint, keys, options)?;
    let mut loader =
        Loader { checkpoint, keys, options, place: Place::default(), report, error: None };
    let module = module.map(&mut loader);
    match loader.error {
        Some(error) => Err(error),
        None => Ok((module, loader.report)),
    }
}

/// Key and shape of every parameter and buffer of a module, as in a checkpoint.
pub(crate) fn parameters<M: Module>(module: &M, keys: &KeyMap) -> Vec<(String, Vec<usize>)> {
    slots(module, keys).into_iter().map(|slot| (slot.key, slot.shape)).collect()
}

/// A parameter of the module, as expected in the checkpoint.
#[derive(Debug)]
struct Slot {
    key: String,
    shape: Vec<usize>,
    float: bool,
    linear: bool,
}

impl Slot {
    /// True if the checkpoint has the weight of a linear layer in 8 bits.
    fn is_quantised(&self, info: Option<&TensorInfo>) -> bool {
        self.linear && info.is_some_and(|info| info.dtype == DType::I8)
    }
}

fn slots<M: Module>(module: &M, keys: &KeyMap) -> Vec<Slot> {
    struct Slots<'a> {
        keys: &'a KeyMap,
        place: Place,
        found: Vec<Slot>,
    }
    impl Slots<'_> {
        fn push(&mut self, shape: &Shape, float: bool) {
            let key = self.place.key(self.keys);
            let mut shape = self.keys.shape(&key, shape.to_vec());
            let linear = is_linear_weight(&self.place);
            if linear {
                shape.reverse();
            }
            self.found.push(Slot { key, shape, float, linear });
        }
    }
    impl ModuleVisitor for Slots<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.place.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.place.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.push(&param.lazy_shape(), true);
        }
        fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
            self.push(&param.lazy_shape(), false);
        }
    }
    let mut slots = Slots { keys, place: Place::default(), found: Vec::new() };
    module.visit(&mut slots);
    slots.found
}

pub(super) fn is_linear_weight(place: &Place) -> bool {
    place.is("Linear", "weight")
}

/// Lists what only the module or only the checkpoint has, and what differs in shape, if that is
/// allowed and all else agrees.
fn compare(
    slots: &[Slot],
    checkpoint: &Checkpoint<'_>,
    keys: &KeyMap,
    options: &LoadOptions,
) -> Result<LoadReport, Error> {
    let LoadOptions { partial, ignore_mismatched_sizes, .. } = *options;
    let mut mismatched = Vec::new();
    let mut missing = Vec::new();
    let mut wrong = Vec::new();
    let keys_of_slots: BTreeSet<&str> = slots.iter().map(|slot| slot.key.as_str()).collect();
    let found = checkpoint.prefix(&keys_of_slots);
    let prefix = if found.is_common { found.text } else { "" };
    let mut wanted = BTreeSet::new();
    let mut named = 0;
    for slot in slots {
        let stored = format!("{prefix}{}", slot.key);
        named += usize::from(checkpoint.info(&stored).is_some());
        match checkpoint.info(&stored) {
            None if keys.is_optional(&slot.key) => {}
            None => missing.push(slot.key.clone()),
            Some(info) if ignore_mismatched_sizes && !has_shape(slot, info) => {
                let (stored, expected) = (info.shape.clone(), slot.shape.clone());
                mismatched.push(MismatchedSize { key: slot.key.clone(), stored, expected });
            }
            Some(info) => {
                wrong.extend(difference(slot, info).or_else(|| scales(slot, checkpoint, &stored)));
            }
        }
        if slot.is_quantised(checkpoint.info(&stored)) {
            wanted.insert(scale_key(&stored));
        }
        if !wanted.insert(stored) {
            wrong.push(format!("{} (two parameters have this key)", slot.key));
        }
    }
    let others = checkpoint.tensors().map(|(key, _)| key).filter(|key| !wanted.contains(*key));
    let (ignored, unused): (Vec<_>, Vec<_>) = others
        .map(str::to_owned)
        .partition(|key| partial || keys.is_optional(key) || found.leaves_out(key));
    let some_fit = named > mismatched.len();
    let is_whole = missing.is_empty() && mismatched.is_empty();
    let may_lack = (partial || missing.is_empty()) && some_fit;
    if wrong.is_empty() && unused.is_empty() && (is_whole || may_lack) {
        let prefix = prefix.to_owned();
        return Ok(LoadReport {
            ignored,
            fresh: missing,
            mismatched,
            prefix,
            ..LoadReport::default()
        });
    }
    wrong.extend(mismatched.iter().map(MismatchedSize::to_string));
    let hint = hint(&missing, &unused, named > 0, &found);
    Err(Error::Mismatch { path: checkpoint.path().to_path_buf(), missing, unused, wrong, hint })
}

/// One value may be stored with an axis or without.
fn has_shape(slot: &Slot, info: &TensorInfo) -> bool {
    let scalar = slot.shape.iter().all(|&n| n == 1) && info.shape.iter().all(|&n| n == 1);
    slot.shape == info.shape || scalar && slot.shape.len() <= 1 && info.shape.len() <= 1
}

fn difference(slot: &Slot, info: &TensorInfo) -> Option<String> {
    let kind = |float: bool| if float { "floats" } else { "integers" };
    let key = &slot.key;
    if !has_shape(slot, info) {
        return Some(format!("{key} (is {:?}, expected {:?})", info.shape, slot.shape));
    }
    if slot.is_quantised(Some(info)) {
        return None;
    }
    if slot.float != info.dtype.is_float() || matches!(info.dtype, DType::Bool(_)) {
        let expected = kind(slot.float);
        return Some(format!("{key} (is {:?}, expected {expected})", info.dtype));
    }
    None
}

/// Says what is wrong with the scales of a weight in 8 bits.
fn scales(slot: &Slot, checkpoint: &Checkpoint<'_>, stored: &str) -> Option<String> {
    if !slot.is_quantised(checkpoint.info(stored)) {
        return None;
    }
    let key = scale_key(&slot.key);
    let expected = [slot.shape[0], 1];
    match checkpoint.info(&scale_key(stored)) {
        None => Some(format!("{} (is I8 and has no {key})", slot.key)),
        Some(info) if info.shape != expected => {
            Some(format!("{key} (is {:?}, expected {expected:?})", info.shape))
        }
        Some(info) if !info.dtype.is_float() => {
            Some(format!("{key} (is {:?}, expected floats)", info.dtype))
        }
        Some(_) => None,
    }
}

/// Recognises adapters, an unknown prefix, another model, and a bare `PerceiverModel` loaded as a
/// head or the reverse, which transformers would allow, with the rest left at random.
fn hint(
    missing: &[String],
    unused: &[String],
    some_fit: bool,
    prefix: &Prefix<'_>,
) -> Option<String> {
    const ADAPTERS: [&str; 3] = [".lora_A.", ".lora_B.", ".base_layer."];
    let without_base = |keys: &[String], others: &[String]| {
        let others: BTreeSet<&str> = others.iter().map(String::as_str).collect();
        keys.iter().any(|key| key.strip_prefix(BASE).is_some_and(|key| others.contains(key)))
    };
    if unused.iter().any(|key| ADAPTERS.iter().any(|part| key.contains(part))) {
        Some("adapters are not merged into its weights; PEFT's merge_and_unload merges them".into())
    } else if without_base(missing, unused) {
        Some("it is a PerceiverModel without this head".into())
    } else if without_base(unused, missing) {
        Some("it is a head, not a PerceiverModel alone".into())
    } else if !prefix.text.is_empty() && !prefix.is_common {
        Some(format!("the model's keys follow `{}` there, beside other keys", prefix.text))
    } else if !unused.is_empty() && !some_fit {
        Some("no tensor has a name of this model".into())
    } else {
        None
    }
}

struct Loader<'a> {
    checkpoint: &'a Checkpoint<'a>,
    keys: &'a KeyMap,
    options: &'a LoadOptions,
    place: Place,
    report: LoadReport,
    error: Option<Error>,
}

impl Loader<'_> {
    /// The value that `read` makes of the bytes of the current parameter, unless there is an error.
    fn value<T>(
        &mut self,
        read: impl FnOnce(&mut Self, String, &TensorInfo, &[u8]) -> Option<T>,
    ) -> Option<T> {
        if self.error.is_some() {
            return None;
        }
        let key = self.place.key(self.keys);
        let stored = format!("{}{key}", self.report.prefix);
        let checkpoint = self.checkpoint;
        let may_lack = self.options.partial || self.keys.is_optional(&key);
        let is_fresh = checkpoint.info(&stored).is_none() && may_lack;
        if is_fresh || self.report.mismatched.iter().any(|tensor| tensor.key == key) {
            return None;
        }
        let bytes = checkpoint.bytes(&stored);
        match (bytes, checkpoint.info(&stored)) {
            (Ok(bytes), Some(info)) => {
                let value = read(self, key, info, &bytes);
                if value.is_none() && self.error.is_none() {
                    let why = "its values do not fit their type";
                    self.error = Some(checkpoint.unreadable(&stored, why));
                }
                self.report.tensors += 1;
                value
            }
            (bytes, _) => {
                self.error = bytes.err();
                None
            }
        }
    }

    fn floats(&mut self, shape: &Shape, stored_dtype: Option<FloatDType>) -> Option<TensorData> {
        let transpose = is_linear_weight(&self.place);
        self.value(|loader, key, info, bytes| {
            let floats = if info.dtype == DType::I8 {
                loader.dequantised(&key, bytes, shape, stored_dtype)?
            } else {
                let dtype = stored_dtype.or_else(|| float_dtype(info.dtype))?;
                elements::floats(bytes, info.dtype, dtype, shape, transpose)?
            };
            if floats.non_finite > 0 {
                let count = floats.non_finite;
                loader.report.non_finite.push(NonFinite { key, count });
            }
            Some(floats.data)
        })
    }
}

impl Loader<'_> {
    /// The values of a linear layer's weight that is stored in 8 bits, by default in the type of its
    /// scales.
    fn dequantised(
        &mut self,
        key: &str,
        bytes: &[u8],
        shape: &Shape,
        dtype: Option<FloatDType>,
    ) -> Option<elements::Floats> {
        let stored = format!("{}{key}", self.report.prefix);
        let scales = self.checkpoint.info(&scale_key(&stored));
        let dtype = dtype.or_else(|| float_dtype(scales?.dtype))?;
        self.report.dequantised += 1;
        match self.checkpoint.dequantised(&stored, bytes) {
            Ok(floats) => elements::floats(&floats, DType::F32, dtype, shape, true),
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }
}

fn float_dtype(dtype: DType) -> Option<FloatDType> {
    match dtype {
        DType::F64 => Some(FloatDType::F64),
        DType::F32 => Some(FloatDType::F32),
        DType::F16 => Some(FloatDType::F16),
        DType::BF16 => Some(FloatDType::BF16),
        _ => None,
    }
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let device: Device = param.lazy_device();
        match self.floats(&param.lazy_shape(), self.options.dtype) {
            Some(data) => {
                let dtype = data.dtype();
                let id = param.id;
                param.transform_for_load(Tensor::from_data(data, (&device, dtype)), id)
            }
            None => param,
        }
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        let device: Device = param.lazy_device();
        let shape = param.lazy_shape();
        let dtype = DType::from(device.settings().int_dtype);
        let data = self.value(|_, _, info, bytes| {
            let values = elements::integers(bytes, info.dtype)?;
            // Some devices have 32-bit integers, and burn panics if a value does not fit.
            let limit = 1u64 << (8 * dtype.size() - 1);
            let fits = values.iter().all(|value| value.unsigned_abs() < limit);
            fits.then(|| TensorData::new(values, shape.clone()))
        });
        match data {
            Some(data) => {
                let id = param.id;
                param.transform_for_load(Tensor::from_data(data, (&device, dtype)), id)
            }
            None => param,
        }
    }
}
