//! Full-size checkpoints: transformers makes them, `perceiver forward` runs them.

mod compare;
mod measure;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use perceiver_workspace::{program, python, release_program, root, run};

use super::CHECKPOINTS;

/// Allowed error, relative to the largest element of an output.
const TOLERANCE: f64 = 1e-5;

/// The names that tests/generate/full_size.py knows, with their numbers of parameters.
const HEADS: [(&str, u64); 6] = [
    ("language", 201_108_230),
    ("vision-learned", 62_255_848),
    ("vision-fourier", 48_440_627),
    ("vision-conv", 48_646_522),
    ("optical-flow", 41_057_134),
    ("multimodal", 19_858_855),
];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only this head, such as `language`; all six otherwise
    #[arg(long)]
    head: Option<String>,
    /// Folder of the checkpoints; existing ones are used again
    #[arg(long, default_value = CHECKPOINTS)]
    dir: PathBuf,
}

/// Runs one head or all six and writes their rows into docs/parity.md.
pub(crate) fn parity(arguments: &Arguments) -> Result<()> {
    let head = arguments.head.as_deref();
    let heads: Vec<_> =
        HEADS.into_iter().filter(|(name, _)| head.is_none_or(|head| head == *name)).collect();
    if heads.is_empty() {
        let known = HEADS.map(|(name, _)| name).join(", ");
        bail!("no head {}: the known ones are {known}", head.unwrap_or_default());
    }
    let perceiver = release_program()?;
    for (name, parameters) in heads {
        let row =
            compare_head(&perceiver, name, parameters, &root().join(&arguments.dir).join(name))?;
        table::write(&root().join("docs/parity.md"), &row, &HEADS.map(|(name, _)| name))?;
    }
    Ok(())
}

fn compare_head(
    perceiver: &Path,
    name: &'static str,
    parameters: u64,
    folder: &Path,
) -> Result<table::Row> {
    let expected = folder.join("outputs.safetensors");
    if !expected.exists() {
        run(python()?.args(["tests/generate/full_size.py", "make", name]).arg(folder))?;
    }
    let counted = count_parameters(perceiver, folder)?;
    ensure!(counted == parameters, "{name}: {counted} parameters, not {parameters}");
    let actual = folder.join("outputs.ours.safetensors");
    let usage = measure::run(
        program(perceiver)
            .arg("forward")
            .arg("--model")
            .arg(folder)
            .arg("--inputs")
            .arg(folder.join("inputs.safetensors"))
            .arg("--output")
            .arg(&actual)
            .arg("--force"),
    )?;
    let error = compare::largest_error(&actual, &expected)?;
    println!("{name}: {error:.1e} in {:.1} s, {} MiB", usage.seconds, usage.peak_mebibytes);
    ensure!(error <= TOLERANCE, "{name}: an output differs by {error:.1e} of its largest element");
    Ok(table::Row { name, parameters, error, usage })
}

/// The number of parameters that `perceiver inspect` reports.
fn count_parameters(perceiver: &Path, folder: &Path) -> Result<u64> {
    let inspected = program(perceiver).arg("inspect").arg(folder).arg("--json").output()?;
    let message = String::from_utf8_lossy(&inspected.stderr);
    ensure!(inspected.status.success(), "perceiver inspect: {message}");
    let inspected: serde_json::Value = serde_json::from_slice(&inspected.stdout)?;
    inspected["parameters"]["total"].as_u64().context("perceiver inspect --json has no total")
}
