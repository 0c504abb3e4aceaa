//! The steps of development: what CI runs, fixtures, documents, packages.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

mod figures;
mod fixtures;
mod guide;
mod licences;
mod package;
mod release;
mod round_trip;
mod steps;
mod tidy;

use anyhow::Result;
use clap::{Parser, Subcommand};

use self::steps::{Forwarded, member};

#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", about = "The steps of development")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything that must pass before a change lands, cheapest first
    Ci,
    /// Check format, house rules and spelling, and run clippy with cuda compiled in
    Lint,
    /// Check the house rules that no compiler knows
    Tidy,
    /// Check licences, sources and bans of every dependency
    Deny,
    /// Run unit, parity, property, end-to-end and documentation tests
    Test,
    /// Fetch real photos, videos, sound and texts into target/data, or the folder PERCEIVER_DATA
    Data(Forwarded),
    /// Run the tests on the real data that `data` fetched
    DataTests,
    /// Look at the pages that the program writes, in chromium
    BrowserTests,
    /// Build the documentation of the crates, with warnings as errors
    Rustdoc,
    /// Run the commands of docs/guide.md and fill in their output and pictures
    Docs,
    /// Draw docs/architecture.svg
    Figures,
    /// Write the fixtures again with transformers (needs .venv)
    Fixtures {
        /// Compare with the committed files instead, and write nothing
        #[arg(long)]
        check: bool,
    },
    /// Let transformers load what `perceiver convert` wrote (needs .venv)
    RoundTrip,
    /// Pack every crate that goes to crates.io and build each from its package
    Package,
    /// Pack the program with licences and models for one platform and try it from the archive
    Release(release::Arguments),
    /// Compare full-size random checkpoints with transformers and fill docs/parity.md (needs .venv)
    Parity(Forwarded),
    /// Time each attention operation; `bench compare` times published heads beside transformers
    Bench(Forwarded),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Ci => steps::ci(),
        Command::Lint => steps::lint(),
        Command::Tidy => tidy::tidy(),
        Command::Deny => steps::deny(),
        Command::Test => steps::test(),
        Command::Data(arguments) => member("perceiver-datasets", None, &arguments),
        Command::DataTests => steps::data_tests(),
        Command::BrowserTests => steps::browser_tests(),
        Command::Rustdoc => steps::rustdoc(),
        Command::Docs => guide::docs(),
        Command::Figures => figures::figures(),
        Command::Fixtures { check } => fixtures::fixtures(check),
        Command::RoundTrip => round_trip::round_trip(),
        Command::Package => package::package(),
        Command::Release(arguments) => release::release(&arguments),
        Command::Parity(arguments) => member("perceiver-bench", Some("parity"), &arguments),
        Command::Bench(arguments) => member("perceiver-bench", None, &arguments),
    }
}
