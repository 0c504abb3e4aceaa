//! A small module with one of each thing a Perceiver has, and files around it.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part")]

use std::path::{Path, PathBuf};

use burn::module::{Module, Param, ParamId};
use burn::nn::{
    BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear,
    LinearConfig,
};
use burn::tensor::{Device, Distribution, Int, Tensor};

/// A norm that some variants have.
#[derive(Module, Debug)]
pub enum Norm {
    /// With parameters.
    Layer(LayerNorm),
}

#[derive(Module, Debug)]
pub struct Attention {
    pub projections: Linear,
    pub output: Linear,
    pub absent: Option<Linear>,
}

/// PyTorch's batch norm, which counts batches.
#[derive(Module, Debug)]
pub struct Counted {
    pub norm: BatchNorm,
    pub num_batches_tracked: Param<Tensor<1, Int>>,
}

#[derive(Module, Debug)]
pub struct Small {
    pub latents: Param<Tensor<2>>,
    pub attention: Attention,
    pub layers: Vec<Linear>,
    pub norm: Norm,
    pub embeddings: Embedding,
    pub batchnorm: Counted,
    pub last: Option<Linear>,
}

pub fn device() -> Device {
    Device::flex()
}

impl Small {
    pub fn new() -> Self {
        let device = device();
        let latents = Param::uninitialized(
            ParamId::new(),
            |device, _| Tensor::random([3, 4], Distribution::Default, device),
            device.clone(),
            true,
            [3, 4].into(),
        );
        Self {
            latents,
            attention: Attention {
                projections: LinearConfig::new(4, 6).init(&device),
                output: LinearConfig::new(6, 4).init(&device),
                absent: None,
            },
            layers: (0..2)
                .map(|_| LinearConfig::new(4, 5).with_bias(false).init(&device))
                .collect(),
            norm: Norm::Layer(LayerNormConfig::new(4).init(&device)),
            embeddings: EmbeddingConfig::new(7, 4).init(&device),
            batchnorm: Counted {
                norm: BatchNormConfig::new(2).init(&device),
                num_batches_tracked: Param::initialized(
                    ParamId::new(),
                    Tensor::zeros([1], &device),
                ),
            },
            last: Some(LinearConfig::new(4, 1).init(&device)),
        }
    }
}

/// Keys and shapes as PyTorch would have them, in any order.
pub const KEYS: [(&str, &[usize]); 17] = [
    ("latents", &[3, 4]),
    ("attention.self.weight", &[6, 4]),
    ("attention.self.bias", &[6]),
    ("attention.output.dense.weight", &[4, 6]),
    ("attention.output.dense.bias", &[4]),
    ("layers.0.weight", &[5, 4]),
    ("layers.1.weight", &[5, 4]),
    ("norm.weight", &[4]),
    ("norm.bias", &[4]),
    ("embeddings.weight", &[7, 4]),
    ("batchnorm.weight", &[2]),
    ("batchnorm.bias", &[2]),
    ("batchnorm.running_mean", &[2]),
    ("batchnorm.running_var", &[2]),
    ("batchnorm.num_batches_tracked", &[]),
    ("last.weight", &[1, 4]),
    ("last.bias", &[1]),
];

/// A tensor for a hand-written safetensors file.
pub struct Raw {
    pub key: String,
    pub dtype: &'static str,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// `key` filled with values that no other element of any tensor has.
pub fn raw(key: &str, shape: &[usize], seed: usize) -> Raw {
    let count: usize = shape.iter().product();
    if key.ends_with("num_batches_tracked") {
        let bytes = 9i64.to_le_bytes().to_vec();
        return Raw { key: key.into(), dtype: "I64", shape: shape.to_vec(), bytes };
    }
    let value = |i: usize| ((seed * 1000 + i) as f32 / 7.0).to_le_bytes();
    let bytes = (0..count).flat_map(value).collect();
    Raw { key: key.into(), dtype: "F32", shape: shape.to_vec(), bytes }
}

pub fn small_tensors() -> Vec<Raw> {
    KEYS.iter().enumerate().map(|(i, (key, shape))| raw(key, shape, i + 1)).collect()
}

/// The bytes of a safetensors file, written without the code under test.
pub fn safetensors(tensors: &[Raw]) -> Vec<u8> {
    let mut header = Vec::new();
    let mut data = Vec::new();
    for Raw { key, dtype, shape, bytes } in tensors {
        let start = data.len();
        data.extend_from_slice(bytes);
        let end = data.len();
        header.push(format!(
            r#""{key}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        ));
    }
    let header = format!("{{{}}}", header.join(","));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend(data);
    file
}

/// A file of a fixture that transformers wrote.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/heads").join(path)
}

/// Writes a file into a fresh folder.
pub fn folder_with(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).expect("a file");
    }
    folder
}
