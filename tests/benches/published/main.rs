//! The Rust side of `cargo xtask bench compare`: runs a published head on demand.
//!
//! Loads a checkpoint and its inputs once and prints a line of JSON. For every line of standard input it then
//! runs one pass, from tensors in the host's memory to tensors in the host's memory, and prints a line with
//! the seconds and a few results. At the end of input it prints a line with the peak memory.
//! `tests/benches/reference/worker.py` is the other side and follows the same protocol.
#![allow(clippy::print_stdout, reason = "a program that answers on standard output")]

mod decode;
mod fresh;
mod train;

use std::io::{Write as _, stdin, stdout};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};
use burn::tensor::{Device, FloatDType, TensorData};
use clap::{Args, Parser, Subcommand};
use perceiver_models::{AnyPerceiver, ForwardOptions, LoadOptions, NamedTensors, Pretrained};
use perceiver_tests::{device, read_tensors};
use serde_json::{Value, json};

#[derive(Debug, Parser)]
#[command(about = "Runs published Perceivers for `cargo xtask bench compare`")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// One forward pass, of any head
    Forward(Settings),
    /// A clip, encoded once and decoded in chunks
    Clip {
        #[command(flatten)]
        settings: Settings,
        /// How many chunks of 128 to decode
        #[arg(long, default_value_t = decode::CHUNKS)]
        chunks: usize,
    },
    /// Chunks of a clip encoded before, in one call
    Points {
        #[command(flatten)]
        settings: Settings,
        /// How many chunks of 128 to decode
        #[arg(long)]
        chunks: usize,
    },
    /// Forward pass, backward pass and AdamW's step
    Train(Settings),
    /// Write a fresh checkpoint and inputs, for machines without transformers
    Make {
        /// Its name in tests/generate/full_size.py, such as language
        head: String,
        folder: PathBuf,
    },
}

/// Options of every task except `make`.
#[derive(Debug, Args)]
struct Settings {
    /// Folder with a checkpoint and inputs.safetensors
    folder: PathBuf,
    /// Backend, by burn's name
    #[arg(long, default_value = "flex")]
    device: String,
    /// Weights and activations of 16 bits
    #[arg(long)]
    bf16: bool,
    /// Copies of the example per pass
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Copies of a photo to stack into one tall photo
    #[arg(long, default_value_t = 1)]
    height: usize,
}

fn main() -> Result<()> {
    perceiver_core::keep_freed_memory();
    match Arguments::parse().task {
        Task::Forward(settings) => forward(&settings),
        Task::Clip { settings, chunks } => decode::clip(&settings, chunks),
        Task::Points { settings, chunks } => decode::points(&settings, chunks),
        Task::Train(settings) => train::train(&settings),
        Task::Make { head, folder } => fresh::make(&head, &folder),
    }
}

fn forward(settings: &Settings) -> Result<()> {
    let device = settings.open()?;
    let options = settings.load_options();
    let Pretrained { model, config, .. } =
        AnyPerceiver::from_pretrained_with(&settings.folder, &device, &options)?;
    let inputs = settings.inputs();
    serve(&device, || {
        let options = ForwardOptions::default();
        let outputs = model.forward(inputs.clone(), &config, options, &device)?;
        Ok(outputs.values().flat_map(sample).collect())
    })
}

impl Settings {
    fn open(&self) -> Result<Device> {
        let mut device = device(&self.device)
            .with_context(|| format!("this build has no device {}", self.device))?;
        if self.bf16 {
            device.configure(FloatDType::BF16)?;
        }
        Ok(device)
    }

    fn load_options(&self) -> LoadOptions {
        let dtype = if self.bf16 { FloatDType::BF16 } else { FloatDType::F32 };
        LoadOptions { dtype: Some(dtype), ..LoadOptions::default() }
    }

    /// The example of inputs.safetensors, enlarged and repeated by the options.
    fn inputs(&self) -> NamedTensors {
        let inputs = read_tensors(&self.folder.join("inputs.safetensors"));
        let enlarged = inputs.into_iter().map(|(name, data)| {
            // Points are asked of every example alike.
            if name.starts_with("subsampled_output_points") {
                return (name, data);
            }
            let rows = if self.height > 1 { data.shape().num_dims() - 2 } else { 0 };
            let data = repeat(&data, rows, self.height);
            (name, repeat(&data, 0, self.batch))
        });
        enlarged.collect()
    }
}

/// Concatenates copies of a tensor along an axis.
fn repeat(data: &TensorData, axis: usize, times: usize) -> TensorData {
    let mut shape = data.shape().clone();
    let outer: usize = shape[..axis].iter().product();
    let bytes: &[u8] = data.as_bytes();
    let copies = bytes.chunks_exact(bytes.len() / outer).flat_map(|part| part.repeat(times));
    shape[axis] *= times;
    TensorData::from_bytes_vec(copies.collect(), shape, data.dtype())
}

/// The first numbers of a result, to check that both sides compute the same.
fn sample(data: &TensorData) -> Vec<f32> {
    data.iter::<f32>().take(4).collect()
}

/// Runs a pass, which returns samples of its results, for every line of input.
fn serve(device: &Device, mut pass: impl FnMut() -> Result<Vec<f32>>) -> Result<()> {
    say(&json!({ "ready": true }))?;
    for line in stdin().lines() {
        line?;
        let start = Instant::now();
        let results = pass()?;
        device.sync()?;
        say(&json!({ "seconds": start.elapsed().as_secs_f64(), "results": results }))?;
    }
    let reserved = device.memory_pool_usage().map(|usage| usage.bytes_reserved >> 20);
    say(&json!({ "peak_mebibytes": resident_peak(), "device_mebibytes": reserved }))
}

fn say(line: &Value) -> Result<()> {
    println!("{line}");
    Ok(stdout().flush()?)
}

/// The peak of resident memory in mebibytes, if the kernel records it (Linux).
fn resident_peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes / 1024)
}
