//! The generators of tests/fixtures, in order.

use std::path::PathBuf;

use anyhow::Result;

use perceiver_workspace::{has_python, python, root, run};

/// Writes every fixture again, or compares a fresh copy with the committed one.
pub(crate) fn fixtures(check: bool) -> Result<()> {
    for generator in generators()? {
        let mut python = python()?;
        python.arg(generator);
        run(if check { python.arg("--check") } else { &mut python })?;
    }
    Ok(())
}

/// As a step of CI: skipped without Python.
pub(crate) fn check_where_possible() -> Result<()> {
    if has_python()? { fixtures(true) } else { Ok(()) }
}

/// Programs with `--check`; the others in the folder write no fixtures.
fn generators() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join("tests/generate"))? {
        let path = entry?.path();
        let is_library = path.ends_with("common.py");
        if path.extension().is_some_and(|extension| extension == "py")
            && !is_library
            && std::fs::read_to_string(&path)?.contains("generate_or_check(")
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
