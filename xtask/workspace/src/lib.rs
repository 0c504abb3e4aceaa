//! Shared by the workspace's own programs: its folders, and running other programs from its root.
#![allow(clippy::print_stdout, reason = "shows the commands that it runs on the terminal")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

const PYTHON: &str = ".venv/bin/python";

/// Names a Python that has transformers, for machines where nothing can be installed.
pub const OTHER_PYTHON: &str = "PERCEIVER_PYTHON";

/// The workspace's root.
///
/// # Panics
///
/// Never: this crate lies two folders below the root.
#[must_use]
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("xtask/workspace lies in the workspace")
}

/// Cargo's target folder.
#[must_use]
pub fn target() -> PathBuf {
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// The folder of real data: the variable `PERCEIVER_DATA`, or `data` in the target folder.
#[must_use]
pub fn data_folder() -> PathBuf {
    env::var_os("PERCEIVER_DATA")
        .map_or_else(|| target().join("data"), |chosen| root().join(chosen))
}

/// A program that starts in the root.
#[must_use]
pub fn program(path: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(path);
    command.current_dir(root());
    command
}

/// The cargo that runs us, with arguments separated by blanks.
#[must_use]
pub fn cargo(arguments: &str) -> Command {
    let mut command = program(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments.split_whitespace());
    command
}

/// Runs a program to its end, with its output on the terminal.
///
/// # Errors
///
/// If it does not start, or ends with an exit code other than 0.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    println!("$ {shown}");
    let status = command.status().with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// The program `perceiver`, built as a user builds it.
///
/// # Errors
///
/// If the build fails.
pub fn release_program() -> Result<PathBuf> {
    run(&mut cargo("build --release --package perceiver-cli"))?;
    Ok(target().join("release/perceiver"))
}

/// A program that pip installed into .venv, or one on the PATH.
///
/// # Errors
///
/// If it is missing on CI; see [`skip`].
pub fn tool(name: &str) -> Result<Option<Command>> {
    let ours = root().join(".venv/bin").join(name);
    if ours.is_file() {
        return Ok(Some(program(ours)));
    }
    if is_installed(name) { Ok(Some(program(name))) } else { skip(name).map(|()| None) }
}

/// Returns true if a program is on the PATH.
#[must_use]
pub fn is_installed(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Returns true if there is a [`python`] with transformers.
///
/// # Errors
///
/// If there is none on CI; see [`skip`].
pub fn has_python() -> Result<bool> {
    let found = python().is_ok();
    if !found {
        skip("transformers")?;
    }
    Ok(found)
}

/// The Python of .venv, or the one that [`OTHER_PYTHON`] names.
///
/// # Errors
///
/// If there is neither.
pub fn python() -> Result<Command> {
    if let Some(python) = env::var_os(OTHER_PYTHON) {
        return Ok(program(python));
    }
    let python = root().join(PYTHON);
    if !python.exists() {
        bail!("no .venv: see \"Tests\" in CONTRIBUTING.md");
    }
    Ok(program(python))
}

/// Notes that a step is skipped because a program is missing.
///
/// # Errors
///
/// On CI (the variable `CI` is set), where nothing may be missing.
pub fn skip(name: &str) -> Result<()> {
    let text = format!("{name} is not installed: see \"Tests\" in CONTRIBUTING.md");
    if env::var_os("CI").is_some() {
        bail!(text);
    }
    println!("skipped: {text}");
    Ok(())
}

/// Replaces a file: writes the text beside it, then renames, so that an interruption leaves the
/// old text or the new one.
///
/// # Errors
///
/// If the file cannot be written.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn show(command: &Command) -> String {
    let short = |text: &OsStr| {
        let text = text.to_string_lossy();
        let root = format!("{}/", root().display());
        text.strip_prefix(&root).unwrap_or(&text).to_owned()
    };
    let mut words = vec![short(command.get_program())];
    words.extend(command.get_args().map(short));
    words.join(" ")
}
