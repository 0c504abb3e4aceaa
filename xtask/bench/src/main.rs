//! Benchmarks, `cargo xtask bench`: each operation beside the dense path, each published head beside
//! transformers; and parity of full-size checkpoints, `cargo xtask parity`.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

mod case;
mod compare;
mod contender;
mod images;
mod linear;
mod machine;
mod page;
mod parity;
mod record;
mod reference;
mod worker;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use perceiver_workspace::{cargo, run};

/// The folder of checkpoints, shared by benchmarks and parity.
const CHECKPOINTS: &str = "target/parity";

#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask bench", args_conflicts_with_subcommands = true)]
#[command(about = "Time each attention operation beside the dense path")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = Place::Cpu)]
    device: Place,
    /// Only benchmarks whose names contain this
    filter: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Time published heads in turn with transformers and fill docs/performance.md
    Compare(compare::Arguments),
    /// Time 1, 2 and 4 times as many tokens and output points and fill docs/benchmarks.md
    Linear(linear::Arguments),
    /// Write the tables of docs/performance.md and docs/benchmarks.md from docs/performance.json
    Pages,
    /// Time reading and preparing photos beside Pillow
    Images(images::Arguments),
    /// Compare full-size random checkpoints with transformers and fill docs/parity.md (needs .venv)
    Parity(parity::Arguments),
}

/// Where both sides compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Place {
    Cpu,
    Cuda,
    Vulkan,
}

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Vulkan => "vulkan",
        }
    }

    /// burn's name.
    const fn ours(self) -> &'static str {
        match self {
            Self::Cpu => "flex",
            Self::Cuda => "cuda",
            Self::Vulkan => "vulkan",
        }
    }

    /// PyTorch's name. It has nothing for Vulkan: the same card is reached through CUDA.
    const fn theirs(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda | Self::Vulkan => "cuda",
        }
    }

    /// One selection for every benchmark of a place: another one would build burn again.
    const fn features(self) -> &'static str {
        match self {
            Self::Cpu => "autodiff",
            Self::Cuda => "autodiff,cuda",
            Self::Vulkan => "autodiff,vulkan",
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match &arguments.command {
        None => operations(&arguments),
        Some(Command::Compare(arguments)) => compare::compare(arguments),
        Some(Command::Linear(arguments)) => linear::linear(arguments),
        Some(Command::Pages) => page::write(&record::Records::read()?),
        Some(Command::Images(arguments)) => images::images(arguments),
        Some(Command::Parity(arguments)) => parity::parity(arguments),
    }
}

fn operations(arguments: &Arguments) -> Result<()> {
    let features = arguments.device.features();
    let mut bench = cargo("bench --package perceiver-tests --bench ops");
    bench.args(["--features", features, "--"]).args(&arguments.filter);
    run(bench.env("PERCEIVER_BENCH_DEVICE", arguments.device.ours()))
}

/// Our worker, built as a user builds us.
fn build(place: Place) -> Result<PathBuf> {
    let mut build = cargo("bench --package perceiver-tests --bench published --no-run");
    build.args(["--features", place.features()]);
    worker::executable(build.arg("--message-format=json-render-diagnostics"), "published")
}
