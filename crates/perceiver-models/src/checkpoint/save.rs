//! Saves the parameters of a module to safetensors files that transformers loads.

use std::fs;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, FloatDType, Int, Tensor, TensorData};
use serde_json::{Map, Value, json};

use super::elements;
use super::int8::{self, Quantised};
use super::keys::Place;
use super::load::is_linear_weight;
use super::safetensors::dtype_name;
use super::{INDEX_NAME, KeyMap, SINGLE_NAME, TensorInfo};
use crate::config::{CONFIG_NAME, PerceiverConfig, Quantisation};
use crate::files::Replacement;
use crate::{Error, files};

/// How a model is saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SaveOptions {
    /// The type to cast float tensors to; `None` keeps the module's type.
    pub dtype: Option<FloatDType>,
    /// Most bytes of tensors per file, or `None` for a single file. A larger tensor has a file of its
    /// own.
    pub max_shard_size: Option<u64>,
}

/// Writes config.json and the weights of a module into a folder, and creates the folder if
/// necessary. If the configuration has a [`Quantisation`], linear layers are written in 8 bits.
///
/// The weights are `model.safetensors`, or shards with an index. All files are written under
/// temporary names and renamed once every one is complete and durable, so that a full disk leaves
/// the old files in place. Weight files of an earlier save that transformers would load instead are
/// removed.
///
/// # Errors
/// [`Error::Io`]; [`Error::Checkpoint`] if the format lacks the type of a parameter;
/// [`Error::Input`] if a weight to be written in 8 bits has NaN or infinite values.
pub fn save_pretrained<M: Module>(
    module: &M,
    config: &PerceiverConfig,
    folder: impl AsRef<Path>,
    keys: &KeyMap,
    options: &SaveOptions,
) -> Result<(), Error> {
    let folder = folder.as_ref();
    let is_new = !folder.exists();
    fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
    let saved = save_into(folder, module, config, keys, options);
    if is_new && saved.is_err() {
        // Only an empty folder can be removed; the error is that of saving.
        let _ = fs::remove_dir(folder);
    }
    saved
}

fn save_into<M: Module>(
    folder: &Path,
    module: &M,
    config: &PerceiverConfig,
    keys: &KeyMap,
    options: &SaveOptions,
) -> Result<(), Error> {
    let entries = entries(module, keys, options, config.quantisation.as_ref());
    let mut config = config.clone();
    config.dtype = common_dtype(&entries).or(config.dtype);

    let shards = shards(entries, options.max_shard_size);
    let count = shards.len();
    let names: Vec<String> = match count {
        1 => vec![SINGLE_NAME.into()],
        _ => (1..=count).map(|n| format!("model-{n:05}-of-{count:05}.safetensors")).collect(),
    };
    let paths: Vec<_> = names.iter().map(|name| folder.join(name)).collect();
    let index_path = folder.join(INDEX_NAME);
    let config_path = folder.join(CONFIG_NAME);

    let index = (count > 1).then(|| index(&shards, &names));
    let mut complete = Vec::new();
    for (path, shard) in paths.iter().zip(shards) {
        complete.push(write(path, shard)?);
    }
    for (path, text) in [(&index_path, index), (&config_path, Some(config.to_json()))] {
        if let Some(text) = text {
            let mut file = Replacement::new(path)?;
            file.write(text.as_bytes())?;
            file.sync()?;
            complete.push(file);
        }
    }
    complete.into_iter().try_for_each(Replacement::commit)?;
    remove_stale(folder, &names)
}

/// Writes named tensors to a safetensors file, which replaces an older one once it is complete.
///
/// # Errors
/// [`Error::Io`]; [`Error::Checkpoint`] if the format lacks the type of a tensor.
pub fn write_tensors(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (String, TensorData)>,
) -> Result<(), Error> {
    let entries = tensors.into_iter().map(|(key, data)| Entry {
        key,
        info: TensorInfo { dtype: data.dtype(), shape: data.shape().to_vec() },
        transpose: false,
        data: Box::new(move || Some(data)),
    });
    let mut entries: Vec<_> = entries.collect();
    sort(&mut entries);
    write(path.as_ref(), entries)?.commit()
}

/// A tensor to write, as the file will describe it.
struct Entry {
    key: String,
    info: TensorInfo,
    transpose: bool,
    /// Fetches the values from their device, just before they are written; `None` if they have to be
    /// finite and are not.
    data: Box<dyn FnOnce() -> Option<TensorData>>,
}

fn entries<M: Module>(
    module: &M,
    keys: &KeyMap,
    options: &SaveOptions,
    quantisation: Option<&Quantisation>,
) -> Vec<Entry> {
    struct Entries<'a> {
        keys: &'a KeyMap,
        options: &'a SaveOptions,
        quantisation: Option<&'a Quantisation>,
        place: Place,
        found: Vec<Entry>,
    }
    impl Entries<'_> {
        fn push(
            &mut self,
            dtype: DType,
            shape: Vec<usize>,
            data: impl FnOnce() -> TensorData + 'static,
        ) {
            let key = self.place.key(self.keys);
            let mut shape = self.keys.shape(&key, shape);
            let transpose = is_linear_weight(&self.place);
            if transpose {
                shape.reverse();
            }
            let data = Box::new(|| Some(data()));
            self.found.push(Entry { key, info: TensorInfo { dtype, shape }, transpose, data });
        }

        /// True if the current parameter is to be written in 8 bits.
        fn is_quantised(&self) -> bool {
            let key = self.place.key(self.keys);
            let layer = int8::layer(&key);
            let chosen = |chosen: &Quantisation| chosen.ignore.iter().all(|name| name != layer);
            is_linear_weight(&self.place) && self.quantisation.is_some_and(chosen)
        }

        /// The integers and scales of a weight of shape `[in, out]`.
        fn push_quantised<const D: usize>(&mut self, tensor: Tensor<D>) {
            let key = self.place.key(self.keys);
            let mut shape = tensor.dims().to_vec();
            shape.reverse();
            let scales = TensorInfo { dtype: DType::F32, shape: vec![shape[0], 1] };
            let weight = tensor.clone();
            self.found.push(Entry {
                key: int8::scale_key(&key),
                info: scales,
                transpose: false,
                data: Box::new(|| Some(Quantised::of(&tensor.into_data())?.scales)),
            });
            self.found.push(Entry {
                key,
                info: TensorInfo { dtype: DType::I8, shape },
                transpose: false,
                data: Box::new(|| Some(Quantised::of(&weight.into_data())?.values)),
            });
        }
    }
    impl ModuleVisitor for Entries<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.place.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.place.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let tensor = param.val();
            if self.is_quantised() {
                return self.push_quantised(tensor);
            }
            let dtype = self.options.dtype.map_or(tensor.dtype(), DType::from);
            // Flex32 is stored in the type that it is computed from.
            let dtype = if dtype == DType::Flex32 { DType::F32 } else { dtype };
            self.push(dtype, tensor.dims().to_vec(), move || tensor.into_data());
        }
        fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
            let tensor = param.val();
            let shape = tensor.dims().to_vec();
            self.push(DType::I64, shape, move || tensor.into_data());
        }
    }
    let place = Place::default();
    let mut entries = Entries { keys, options, quantisation, place, found: Vec::new() };
    module.visit(&mut entries);
    sort(&mut entries.found);
    entries.found
}

/// Widest elements first, so that every tensor starts at a multiple of its element size.
fn sort(entries: &mut [Entry]) {
    entries.sort_by(|one, other| {
        let width = |entry: &Entry| std::cmp::Reverse(entry.info.dtype.size());
        (width(one), &one.key).cmp(&(width(other), &other.key))
    });
}

/// The float type that all float tensors except scales share, if they do.
fn common_dtype(entries: &[Entry]) -> Option<FloatDType> {
    let is_scale = |entry: &&Entry| entry.key.ends_with(".weight_scale");
    let dtypes = entries.iter().filter(|entry| !is_scale(entry)).map(|entry| entry.info.dtype);
    let mut dtypes = dtypes.filter(DType::is_float);
    let first = dtypes.next()?;
    dtypes.all(|dtype| dtype == first).then(|| first.into())
}

fn shards(entries: Vec<Entry>, limit: Option<u64>) -> Vec<Vec<Entry>> {
    let mut shards = vec![Vec::new()];
    let mut size = 0;
    for entry in entries {
        let bytes = entry.info.bytes() as u64;
        if size > 0 && limit.is_some_and(|limit| size + bytes > limit) {
            shards.push(Vec::new());
            size = 0;
        }
        size += bytes;
        if let Some(shard) = shards.last_mut() {
            shard.push(entry);
        }
    }
    shards
}

fn index(shards: &[Vec<Entry>], names: &[String]) -> String {
    let all = || shards.iter().flatten();
    let size: usize = all().map(|entry| entry.info.bytes()).sum();
    let parameters: usize = all().map(|entry| entry.info.elements()).sum();
    let mut files: Vec<(&str, &str)> = Vec::new();
    for (shard, name) in shards.iter().zip(names) {
        files.extend(shard.iter().map(|entry| (entry.key.as_str(), name.as_str())));
    }
    files.sort_unstable();
    let files: Map<String, Value> =
        files.into_iter().map(|(key, file)| (key.to_owned(), json!(file))).collect();
    let metadata = json!({ "total_parameters": parameters, "total_size": size });
    format!("{:#}\n", json!({ "metadata": metadata, "weight_map": files }))
}

/// Writes one file and makes it durable, under its temporary name.
fn write(path: &Path, entries: Vec<Entry>) -> Result<Replacement<'_>, Error> {
    let mut header = Map::from_iter([("__metadata__".to_owned(), json!({ "format": "pt" }))]);
    let mut offset = 0;
    for entry in &entries {
        let Entry { key, info, .. } = entry;
        let dtype = dtype_name(info.dtype).ok_or_else(|| unsupported(path, entry))?;
        let end = offset + info.bytes();
        let description =
            json!({ "dtype": dtype, "shape": info.shape, "data_offsets": [offset, end] });
        if header.insert(key.clone(), description).is_some() {
            return Err(Error::checkpoint(path, format!("would hold the tensor {key} twice")));
        }
        offset = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');

    let mut file = Replacement::new(path)?;
    file.write(&(header.len() as u64).to_le_bytes())?;
    file.write(&header)?;
    for Entry { key, info, transpose, data } in entries {
        let data = data().ok_or_else(|| int8::not_finite(&key))?;
        let bytes = stored_bytes(&data, &info, transpose);
        match bytes.filter(|bytes| bytes.len() == info.bytes()) {
            Some(bytes) => file.write(&bytes)?,
            None => {
                let message = format!("cannot store {:?} tensor {key} as {:?}", data.dtype(), info);
                return Err(Error::checkpoint(path, message));
            }
        }
    }
    file.sync()?;
    Ok(file)
}

fn unsupported(path: &Path, entry: &Entry) -> Error {
    let Entry { key, info, .. } = entry;
    Error::checkpoint(path, format!("cannot store tensor {key} of type {:?}", info.dtype))
}

fn stored_bytes(data: &TensorData, info: &TensorInfo, transpose: bool) -> Option<Vec<u8>> {
    let bytes = data.as_bytes();
    if info.dtype.is_float() {
        let shape = &info.shape;
        return elements::float_bytes(bytes, data.dtype(), info.dtype, shape, transpose);
    }
    if data.dtype() == info.dtype {
        return Some(bytes.to_vec());
    }
    let values = elements::integers(bytes, data.dtype())?;
    Some(values.into_iter().flat_map(i64::to_le_bytes).collect())
}

/// Removes weights of an earlier save that would be loaded instead of, or beside, `names`.
fn remove_stale(folder: &Path, names: &[String]) -> Result<(), Error> {
    let listing = fs::read_dir(folder).map_err(Error::io(folder, "read"))?;
    for file in listing.flatten() {
        let name = file.file_name();
        let name = name.to_string_lossy();
        let stale = match names {
            [_] => name == INDEX_NAME || is_shard(&name),
            _ => name == SINGLE_NAME || is_shard(&name),
        };
        if stale && !names.iter().any(|kept| *kept == name) && files::is_file(&file.path()) {
            fs::remove_file(file.path()).map_err(Error::io(&file.path(), "remove"))?;
        }
    }
    Ok(())
}

/// True for `model-00001-of-00002.safetensors` with any numbers.
fn is_shard(name: &str) -> bool {
    let numbers = name.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let halves = numbers.and_then(|numbers| numbers.split_once("-of-"));
    halves.is_some_and(|(number, count)| digits(number) && digits(count))
}
