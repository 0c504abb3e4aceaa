//! The machine, the versions and the date of a measurement.

use std::collections::BTreeMap;
use std::fs;
use std::thread::available_parallelism;

use anyhow::{Context as _, Result};

use super::Place;
use perceiver_workspace::{program, root};

/// The processor with its cores, and the graphics card where one is used.
pub(super) fn name(place: Place) -> Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name| info.lines().find_map(|line| line.strip_prefix(name)?.split_once(": "));
    let model = field("model name").map_or("unknown processor", |(_, model)| model);
    // Virtual machines report only a brand; a later generation of it may be twice as fast.
    let family = field("cpu family").map(|(_, family)| format!(" (family {family})"));
    let cores = available_parallelism()?;
    Ok(match place {
        Place::Cpu => format!("{model}{}, {cores} cores", family.unwrap_or_default()),
        Place::Cuda | Place::Vulkan => {
            let card = output("nvidia-smi", &["--query-gpu=name", "--format=csv,noheader"]);
            format!("{} ({model}, {cores} cores)", card.unwrap_or_else(|_| "unknown card".into()))
        }
    })
}

/// The versions that our side is built from.
pub(super) fn versions() -> Result<BTreeMap<String, String>> {
    // A machine that received a worker may have neither.
    let rustc = output("rustc", &["--version"]).unwrap_or_default();
    let rustc = rustc.split_whitespace().nth(1).unwrap_or("elsewhere");
    let commit = output("git", &["rev-parse", "--short", "HEAD"]);
    let commit = commit.unwrap_or_else(|_| "unknown".to_owned());
    let lock = fs::read_to_string(root().join("Cargo.lock"))?;
    let burn =
        lock.split_once("name = \"burn\"\nversion = \"").context("Cargo.lock has no burn")?;
    let burn = burn.1.split('"').next().unwrap_or_default();
    let versions = [("rustc", rustc), ("burn", burn), ("commit", &commit)];
    Ok(versions.map(|(name, version)| (name.to_owned(), version.to_owned())).into())
}

/// Today, as 2026-11-23.
pub(super) fn date() -> Result<String> {
    output("date", &["-u", "+%Y-%m-%d"])
}

/// The first line that a program prints.
fn output(name: &str, arguments: &[&str]) -> Result<String> {
    let output = program(name).args(arguments).output();
    let output = output.with_context(|| format!("cannot start {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(str::to_owned).with_context(|| format!("{name} printed nothing"))
}
