//! The other side: its Python, and ONNX files exported from its models.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result, ensure};

use perceiver_workspace::{OTHER_PYTHON, program, python, root, run, target};

/// The required packages, versions pinned.
const LISTS: [&str; 2] =
    ["tests/generate/requirements.txt", "tests/benches/reference/requirements.txt"];

/// A copy of the lists is stored here once everything is installed.
const INSTALLED: &str = ".venv/benches.txt";

/// Completes .venv, and returns true if the other side can run; without Python or a network it prints a
/// note.
pub(super) fn prepare() -> Result<bool> {
    if !is_there()
        && let Err(error) = install()
    {
        println!("no transformers to compare with, ours runs alone: {error:#}");
    }
    Ok(is_there())
}

/// Returns true if the lists are installed, or a Python is named that has them.
pub(super) fn is_there() -> bool {
    if env::var_os(OTHER_PYTHON).is_some() {
        return true;
    }
    let installed = fs::read_to_string(root().join(INSTALLED));
    matches!((installed, lists()), (Ok(installed), Ok(lists)) if installed == lists)
}

fn install() -> Result<()> {
    if python().is_err() {
        run(program("python3").args(["-m", "venv", ".venv"]))?;
    }
    let mut install = python()?;
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    for list in LISTS {
        install.args(["--requirement", list]);
    }
    run(&mut install)?;
    Ok(fs::write(root().join(INSTALLED), lists()?)?)
}

fn lists() -> Result<String> {
    let texts = LISTS.map(|list| fs::read_to_string(root().join(list)));
    Ok(texts.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
}

/// A head as ONNX, kept in the target folder.
pub(super) fn export(checkpoint: &Path, name: &str, batch: usize) -> Result<PathBuf> {
    let file = target().join(format!("bench/onnx/{name}-{batch}/model.onnx"));
    if !file.exists() {
        println!("$ export.py {name} --batch {batch}");
        let batch = batch.to_string();
        let arguments: [OsString; 4] =
            [checkpoint.into(), (&file).into(), "--batch".into(), batch.into()];
        let exported =
            python()?.arg("tests/benches/reference/export.py").args(arguments).output()?;
        let message = String::from_utf8_lossy(&exported.stderr);
        let last = message.lines().last().unwrap_or_default().trim();
        ensure!(exported.status.success(), "not exported: {last}");
        ensure!(file.exists(), "not exported, though nothing failed");
    }
    file.canonicalize().context("cannot find what was exported")
}
