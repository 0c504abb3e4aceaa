//! Running other programs from the workspace's root.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

const PYTHON: &str = ".venv/bin/python";
pub(crate) const OTHER_PYTHON: &str = "PERCEIVER_PYTHON";

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// A program that is started in the root.
pub(crate) fn program(path: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(path);
    command.current_dir(root());
    command
}

/// The cargo that runs us, with arguments separated by blanks.
pub(crate) fn cargo(arguments: &str) -> Command {
    let mut command = program(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments.split_whitespace());
    command
}

/// Runs to the end, output to the terminal; an exit code other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    println!("$ {shown}");
    let status = command.status().with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// Sends a signal, such as `STOP`, to a process that we started.
pub(crate) fn signal(name: &str, process: u32) -> Result<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status()?;
    if !status.success() {
        bail!("kill -{name}: {status}");
    }
    Ok(())
}

/// A program that pip installed into .venv, or one on the PATH.
///
/// What a machine lacks is left out with a note; on CI (the variable `CI`) it is an error.
pub(crate) fn tool(name: &str) -> Result<Option<Command>> {
    let ours = root().join(".venv/bin").join(name);
    if ours.is_file() {
        return Ok(Some(program(ours)));
    }
    if is_installed(name) { Ok(Some(program(name))) } else { left_out(name).map(|()| None) }
}

/// Whether a program is on the PATH.
pub(crate) fn is_installed(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Whether the Python of .venv is there; like [`tool`] where it is not.
pub(crate) fn has_python() -> Result<bool> {
    let found = python().is_ok();
    if !found {
        left_out("transformers")?;
    }
    Ok(found)
}

/// The Python of .venv, which has transformers; another one that has it by the variable
/// `PERCEIVER_PYTHON`, on machines where nothing can be installed.
pub(crate) fn python() -> Result<Command> {
    if let Some(python) = env::var_os(OTHER_PYTHON) {
        return Ok(program(python));
    }
    let python = root().join(PYTHON);
    if !python.exists() {
        bail!("there is no .venv: see \"Tests\" in README.md");
    }
    Ok(program(python))
}

/// Says that something is not done for want of a program; an error on CI.
pub(crate) fn left_out(name: &str) -> Result<()> {
    let text = format!("{name} is not installed: see \"Tests\" in README.md");
    if env::var_os("CI").is_some() {
        bail!(text);
    }
    println!("left out, {text}");
    Ok(())
}

/// Cargo's target folder.
pub(crate) fn target() -> PathBuf {
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
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
