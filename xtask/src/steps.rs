//! The steps of CI, cheapest first.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use clap::Args;
use perceiver_workspace::{cargo, data_folder, is_installed, run, skip, target, tool};

use crate::{fixtures, package, round_trip, tidy};

/// One selection of features for every step that compiles tests: a second one would build burn
/// again.
const FEATURES: &str = "--no-default-features --features flex,ndarray,wgpu,autodiff,hub";

type Step = (&'static str, fn() -> Result<()>);

/// Runs everything that must pass before a change lands.
pub(crate) fn ci() -> Result<()> {
    all(&[
        ("format", format),
        ("tidy", tidy::tidy),
        ("spelling", spelling),
        ("licences", deny),
        ("fixtures", fixtures::check_where_possible),
        ("clippy", clippy),
        ("rustdoc", rustdoc),
        ("test", test),
        ("browser", browser_tests),
        ("round trip", round_trip::where_possible),
        ("packages", package::pack),
    ])
}

/// Checks format, house rules, spelling and lints.
pub(crate) fn lint() -> Result<()> {
    all(&[("format", format), ("tidy", tidy::tidy), ("spelling", spelling), ("clippy", clippy)])
}

/// Checks licences, sources and bans. Advisories need a database that not every machine reaches.
pub(crate) fn deny() -> Result<()> {
    let Some(mut deny) = tool("cargo-deny")? else { return Ok(()) };
    run(deny
        .args(["--all-features", "check", "--hide-inclusion-graph"])
        .args(["licenses", "bans", "sources"]))
}

/// Runs unit, parity, property, end-to-end and documentation tests on flex, ndarray and wgpu.
pub(crate) fn test() -> Result<()> {
    run(&mut cargo(&format!("test --workspace {FEATURES}")))
}

/// Runs the ignored tests that look at pages; skipped without a browser.
pub(crate) fn browser_tests() -> Result<()> {
    if !is_installed("chromium") {
        return skip("chromium");
    }
    run(&mut cargo(&format!("test --workspace {FEATURES} --test cli -- --ignored browser::")))
}

/// Runs the ignored tests of every test target called `real_data…`.
pub(crate) fn data_tests() -> Result<()> {
    let folder = data_folder();
    ensure!(folder.is_dir(), "no folder {}: `cargo xtask data` fetches it", folder.display());
    let mut tests = cargo(&format!("test --workspace {FEATURES} --test real_data*"));
    run(tests.args(["--", "--ignored"]).env("PERCEIVER_DATA", folder))
}

/// Builds the documentation as docs.rs does, with warnings as errors.
pub(crate) fn rustdoc() -> Result<()> {
    let arguments = format!("doc --workspace --no-deps {FEATURES},cuda,persistence");
    run(without_llvm(cargo(&arguments).env("RUSTDOCFLAGS", "-D warnings")))
}

/// Arguments for another member of the workspace, which reads them itself.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Forwarded {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Builds and runs the member `name`, which xtask does not depend on, so that it starts quickly.
pub(crate) fn member(name: &str, command: Option<&str>, forwarded: &Forwarded) -> Result<()> {
    let mut member = cargo("run --quiet --package");
    let status = member.arg(name).arg("--").args(command).args(&forwarded.arguments).status()?;
    ensure!(status.success(), "{name}: {status}");
    Ok(())
}

/// The program `perceiver` as the tests have it.
pub(crate) fn build_program() -> Result<PathBuf> {
    run(&mut cargo(&format!("build --workspace --all-targets {FEATURES}")))?;
    Ok(target().join("debug/perceiver"))
}

fn format() -> Result<()> {
    run(&mut cargo("fmt --all --check"))
}

fn spelling() -> Result<()> {
    let Some(mut typos) = tool("typos")? else { return Ok(()) };
    run(&mut typos)
}

/// Includes cuda, which type-checks without CUDA's toolkit or a GPU, and the store of kernels.
fn clippy() -> Result<()> {
    let arguments = format!("clippy --workspace --all-targets {FEATURES},cuda,persistence");
    run(without_llvm(cargo(&arguments).args(["--", "-D", "warnings"])))
}

/// Type-checks cuda without its code generator's LLVM: build scripts do not download it for docs.rs.
/// Nothing else in the tree reads this variable.
fn without_llvm(command: &mut Command) -> &mut Command {
    command.env("DOCS_RS", "1")
}

fn all(steps: &[Step]) -> Result<()> {
    let mut summary = String::new();
    for (name, step) in steps {
        println!("\n== {name}");
        let start = Instant::now();
        step().with_context(|| format!("{name} failed"))?;
        summary += &format!("{name:<12} {:>5.0} s\n", start.elapsed().as_secs_f32());
    }
    println!("\n{summary}");
    Ok(())
}
