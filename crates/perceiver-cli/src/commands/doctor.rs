use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, bail};
use burn::tensor::TensorData;
use clap::Args;
use perceiver_models::hub::HubOptions;
use perceiver_models::{AnyPerceiver, ForwardOptions, Head, NamedTensors, PerceiverConfig};
use serde_json::json;

use super::Context;
use crate::device::{self, OpenDevice};
use crate::output::{megabytes, one_line, table, without_panic};

const EXAMPLES: &str = "\
Examples:
  perceiver doctor
  perceiver doctor --json";

/// Show what this build can do on this machine, and how fast
///
/// Every device of the build runs the same small model, once to warm up and then three times; the
/// fastest run counts. A device that fails is listed with its error.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArguments {}

/// A model with a quarter of a million parameters, and the number of tokens in its text.
const MODEL: &str = r#"{"model_type": "perceiver", "num_latents": 32, "d_latents": 128,
    "d_model": 64, "num_self_attends_per_block": 2, "num_self_attention_heads": 4,
    "num_cross_attention_heads": 4, "max_position_embeddings": 128}"#;
const TOKENS: usize = 128;

const RUNS: usize = 3;

/// Instruction sets that our kernels or burn's use.
#[cfg(target_arch = "x86_64")]
fn instructions() -> Vec<&'static str> {
    let known = [
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ];
    known.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect()
}

/// On other architectures, the compiler's target decides.
#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> Vec<&'static str> {
    Vec::new()
}

pub(crate) fn run(context: &Context) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let features = features();
    let build = if cfg!(debug_assertions) { "unoptimised" } else { "optimised" };
    let ffmpeg = ffmpeg();
    let cache = HubOptions::default().cache;
    let cached = cache.as_deref().map_or(0, size);
    let devices: Vec<(String, Result<(String, f64)>)> = device::all()
        .into_iter()
        .map(|(name, opened)| {
            let timed = opened.and_then(|opened| {
                let milliseconds = milliseconds(&name, &opened)?;
                Ok((opened.description, milliseconds))
            });
            (name, timed)
        })
        .collect();

    let json: Vec<_> = devices
        .iter()
        .map(|(name, timed)| match timed {
            Ok((description, milliseconds)) => {
                json!({ "name": name, "device": description, "milliseconds": milliseconds })
            }
            Err(error) => json!({ "name": name, "error": error.to_string() }),
        })
        .collect();
    let json = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "build": build,
        "features": features,
        "architecture": std::env::consts::ARCH,
        "instructions": instructions(),
        "threads": threads,
        "ffmpeg": ffmpeg,
        "cache": { "path": cache.as_ref().map(|cache| cache.display().to_string()), "bytes": cached },
        "devices": json,
    });
    let processor = format!(
        "{}, {threads} thread{}, {}",
        std::env::consts::ARCH,
        if threads == 1 { "" } else { "s" },
        instructions().join(" ")
    );
    let missing = "not installed (apt install ffmpeg, brew install ffmpeg or winget install \
                   ffmpeg); only needed for video files";
    let facts = [
        ["features".to_owned(), features.join(" ")],
        ["processor".to_owned(), processor.trim_end_matches(", ").to_owned()],
        ["ffmpeg".to_owned(), ffmpeg.unwrap_or_else(|| missing.to_owned())],
        [
            "cache".to_owned(),
            match &cache {
                Some(cache) => format!("{}, {}", cache.display(), megabytes(cached)),
                None => "none: the user has no home folder, and HF_HOME is not set".to_owned(),
            },
        ],
    ];
    let rows = devices.iter().map(|(name, timed)| match timed {
        Ok((description, milliseconds)) => [format!("{milliseconds:.2} ms"), one_line(description)],
        Err(error) => ["-".to_owned(), one_line(&named(name, error))],
    });
    let text = format!(
        "perceiver {}, {build}\n{}\na small model takes\n{}",
        env!("CARGO_PKG_VERSION"),
        table(&facts.map(|[name, value]| [name, one_line(&value)])),
        table(&rows.collect::<Vec<_>>())
    );
    context.output.result(json, &text)?;
    if devices.iter().all(|(_, timed)| timed.is_err()) {
        return Err(NoDevice.into());
    }
    Ok(())
}

/// Every device failed; the error of each was printed.
#[derive(Debug, thiserror::Error)]
#[error("no device works")]
pub(crate) struct NoDevice;

/// An error that names its device.
fn named(name: &str, error: &anyhow::Error) -> String {
    let error = error.to_string();
    if error.contains(name) { error } else { format!("device {name}: {error}") }
}

/// Features of the build, backends first.
fn features() -> Vec<&'static str> {
    let mut features = device::built();
    for (name, there) in [
        ("autotune", cfg!(feature = "autotune")),
        ("hub", cfg!(feature = "hub")),
        ("persistence", cfg!(feature = "persistence")),
    ] {
        if there {
            features.push(name);
        }
    }
    features
}

/// The version of the `ffmpeg` program, if it is installed.
fn ffmpeg() -> Option<String> {
    let said = Command::new("ffmpeg").arg("-version").stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    said.split_whitespace().nth(2).map(str::to_owned)
}

/// Total size of a folder's files in bytes, without links.
fn size(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let bytes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) if metadata.is_file() => usize::try_from(metadata.len()).unwrap_or(0),
        _ => 0,
    });
    bytes.sum()
}

/// Fastest pass of the small model on the warm device, in milliseconds.
fn milliseconds(name: &str, device: &OpenDevice) -> Result<f64> {
    let device = &device.device;
    let config = PerceiverConfig::from_json(MODEL)?;
    let timed = without_panic(|| {
        let model = AnyPerceiver::from_config(Head::MaskedLm, &config, device)?;
        let pass = || {
            let ids = TensorData::new(vec![70_i64; TOKENS], [1, TOKENS]);
            let inputs = NamedTensors::from([("inputs".to_owned(), ids)]);
            let start = Instant::now();
            model.forward(inputs, &config, ForwardOptions::default(), device)?;
            Ok(start.elapsed().as_secs_f64() * 1e3)
        };
        pass()?;
        let passes: Result<Vec<f64>> = (0..RUNS).map(|_| pass()).collect();
        Ok(passes?.into_iter().fold(f64::INFINITY, f64::min))
    });
    timed.unwrap_or_else(|reason| bail!("device {name}: failed: {reason}"))
}
