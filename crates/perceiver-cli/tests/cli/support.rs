//! Runs the program; makes and reads its files.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use image::{Rgb, RgbImage};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::Value;
use tempfile::tempdir;

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Run {
    /// The JSON documents of a run, one per line.
    pub(crate) fn documents(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The JSON document of a successful run.
    pub(crate) fn json(&self) -> Value {
        self.json_with_code(0)
    }

    /// The JSON document of a run that ended with this code.
    pub(crate) fn json_with_code(&self, code: i32) -> Value {
        assert_eq!(self.code, code, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// The program, without access to the hub or the user's cache.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perceiver"));
    command.env("HF_ENDPOINT", "http://127.0.0.1:9").env("HF_HOME", env!("CARGO_TARGET_TMPDIR"));
    for variable in [
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_TOKEN",
        "HF_TOKEN_PATH",
    ] {
        command.env_remove(variable);
    }
    command
}

pub(crate) fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Run {
    program().args(arguments).stdin(Stdio::null()).output().unwrap().into()
}

pub(crate) fn run_with_input<S: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = S>,
    input: &[u8],
) -> Run {
    let mut child = program()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap().into()
}

/// Arguments from words and paths.
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => {
        vec![$(std::ffi::OsString::from($argument)),*]
    };
}
pub(crate) use arguments;

pub(crate) fn fixture(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/heads").join(case)
}

/// `forward` without the model's folder.
pub(crate) fn forward(model: &Path, inputs: &Path, output: &Path) -> Vec<OsString> {
    arguments!["forward", "--model", model, "--inputs", inputs, "--output", output]
}

/// A tensor read as floats.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Floats {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// The float tensors of a file.
pub(crate) fn read(path: &Path) -> BTreeMap<String, Floats> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats = file.iter().filter(|(_, tensor)| tensor.dtype() == Dtype::F32);
    floats
        .map(|(name, tensor)| {
            let values =
                tensor.data().chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
            let floats = Floats { shape: tensor.shape().to_vec(), values: values.collect() };
            (name.to_owned(), floats)
        })
        .collect()
}

/// A tensor to write.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn ids(shape: &[usize], values: &[i64]) -> Stored {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Stored { dtype: Dtype::I64, shape: shape.to_vec(), bytes }
}

pub(crate) fn floats(shape: &[usize], values: &[f32]) -> Stored {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Stored { dtype: Dtype::F32, shape: shape.to_vec(), bytes }
}

pub(crate) fn write(path: &Path, tensors: &BTreeMap<String, Stored>) {
    let views = tensors.iter().map(|(name, tensor)| {
        let shape = tensor.shape.clone();
        (name, TensorView::new(tensor.dtype, shape, &tensor.bytes).unwrap())
    });
    fs::write(path, serialize(views, None).unwrap()).unwrap();
}

/// Changes the tensors of a file.
pub(crate) fn edit(path: &Path, change: impl FnOnce(&mut BTreeMap<String, Stored>)) {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = file
        .iter()
        .map(|(name, tensor)| {
            let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
            (name.to_owned(), Stored { dtype, shape, bytes: tensor.data().to_vec() })
        })
        .collect();
    change(&mut tensors);
    write(path, &tensors);
}

/// Changes a field of a folder's config.json.
pub(crate) fn configure(folder: &Path, field: &str, value: Value) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config[field] = value;
    fs::write(path, config.to_string()).unwrap();
}

/// A copy of a case's folder that a test may change.
pub(crate) fn copy(case: &str, to: &Path) -> PathBuf {
    let folder = to.join(case);
    fs::create_dir_all(&folder).unwrap();
    for file in fs::read_dir(fixture(case)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    folder
}

/// Settings of an image processor with square output of this side.
pub(crate) fn image_settings(folder: &Path, side: u32) {
    let size = serde_json::json!({ "height": side, "width": side });
    let settings = serde_json::json!({ "size": size, "crop_size": size });
    fs::write(folder.join("preprocessor_config.json"), settings.to_string()).unwrap();
}

/// A classifier of photos of 9x9 pixels, and a flow model for frames of 32x24.
pub(crate) fn classifier_and_flow(to: &Path) -> [PathBuf; 2] {
    let classifier = copy("image_fourier", to);
    image_settings(&classifier, 9);
    let flow = copy("optical_flow", to);
    configure(&flow, "train_size", serde_json::json!([24, 32]));
    [classifier, flow]
}

/// A photo of waves in three colours.
pub(crate) fn photo(path: &Path, width: u32, height: u32) {
    let level = |at: u32, length: u32| {
        let phase = f64::from(at) / f64::from(length) * 9.0;
        (127.0 + 120.0 * phase.sin()) as u8
    };
    let image = RgbImage::from_fn(width, height, |x, y| {
        Rgb([level(x, width), level(y, height), level(x + y, width)])
    });
    image.save(path).unwrap();
}

/// The names in a folder.
pub(crate) fn listing(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

pub(crate) fn softmax(logits: &[f32]) -> Vec<f64> {
    let weights: Vec<f64> = logits.iter().map(|&logit| f64::from(logit).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// The logits of the tokens of a text from `forward`, whose parity is tested.
pub(crate) fn logits(model: &Path, token_ids: &[i64]) -> Floats {
    let folder = tempdir().unwrap();
    let (inputs, output) =
        (folder.path().join("in.safetensors"), folder.path().join("out.safetensors"));
    let tensor = ids(&[1, token_ids.len()], token_ids);
    write(&inputs, &[("inputs".to_owned(), tensor)].into());
    assert_eq!(run(forward(model, &inputs, &output)).code, 0);
    read(&output).remove("logits").unwrap()
}

#[track_caller]
pub(crate) fn assert_close(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
}
