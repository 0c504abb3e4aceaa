//! The workspace's own commands: what CI runs, fixtures, full-size parity, benchmarks.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

mod bench;
mod data;
mod files;
mod fixtures;
mod guide;
mod package;
mod parity;
mod process;
mod round_trip;
mod steps;
mod tidy;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The workspace's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything that must pass before a change lands, cheapest first
    Ci,
    /// Format, house rules, spelling, clippy with cuda compiled in
    Lint,
    /// House rules that no compiler knows
    Tidy,
    /// Licences, sources and bans of every dependency
    Deny,
    /// Unit, parity, property, end-to-end and documentation tests
    Test,
    /// Fetch real photos, videos, sound and texts into target/data, or the folder PERCEIVER_DATA
    Data(data::Arguments),
    /// Tests on the real data that `data` fetched
    DataTests,
    /// Pages that the program writes, in chromium
    BrowserTests,
    /// Documentation of the crates, with warnings as errors
    Rustdoc,
    /// Run the commands of docs/guide.md and write down what they say, and their pictures
    Docs,
    /// Write the fixtures again with transformers (needs .venv)
    Fixtures {
        /// Compare with what is committed instead, and write nothing
        #[arg(long)]
        check: bool,
    },
    /// Let transformers load what `perceiver convert` wrote (needs .venv)
    RoundTrip,
    /// Make and build the packages of every crate that goes to crates.io
    Package,
    /// Compare full-size random checkpoints with transformers and fill docs/parity.md (needs .venv)
    Parity {
        /// Only this head, such as `language`; all six otherwise
        #[arg(long)]
        head: Option<String>,
        /// Where checkpoints are kept; those already there are not made again
        #[arg(long, default_value = "target/parity")]
        dir: PathBuf,
    },
    /// Time each attention operation; `bench compare` times published heads beside transformers
    Bench(bench::Arguments),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Ci => steps::ci(),
        Command::Lint => steps::lint(),
        Command::Tidy => tidy::tidy(),
        Command::Deny => steps::deny(),
        Command::Test => steps::test(),
        Command::Data(arguments) => data::data(&arguments),
        Command::DataTests => steps::data_tests(),
        Command::BrowserTests => steps::browser_tests(),
        Command::Rustdoc => steps::rustdoc(),
        Command::Docs => guide::docs(),
        Command::Fixtures { check } => fixtures::fixtures(check),
        Command::RoundTrip => round_trip::round_trip(),
        Command::Package => package::package(),
        Command::Parity { head, dir } => parity::parity(head.as_deref(), &dir),
        Command::Bench(arguments) => bench::bench(&arguments),
    }
}
