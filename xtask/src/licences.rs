//! Licence texts of the crates that the program is built from.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use perceiver_workspace::cargo;

/// File names of licences begin with one of these.
const NAMES: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];

/// Every crate with its licence, then each text once, under the crates that carry it.
pub(crate) fn texts(triple: &str) -> Result<String> {
    let mut tree = cargo("tree --package perceiver-cli --edges normal --prefix none --locked");
    let listed = tree.args(["--format", "{p}\t{l}", "--target", triple]).output()?;
    let message = String::from_utf8_lossy(&listed.stderr);
    ensure!(listed.status.success(), "cargo tree: {message}");
    let mut crates = BTreeMap::new();
    for line in String::from_utf8(listed.stdout)?.lines() {
        // A dependency that stands twice in the tree is marked the second time.
        let (package, licence) =
            line.trim_end_matches(" (*)").split_once('\t').context("no tab")?;
        let mut words = package.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !name.starts_with("perceiver-") {
            crates
                .insert(format!("{name}-{}", version.trim_start_matches('v')), licence.to_owned());
        }
    }
    let sources = sources()?;
    let mut texts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in crates.keys() {
        let folder = sources.iter().map(|source| source.join(name)).find(|folder| folder.is_dir());
        let folder = folder.with_context(|| format!("cargo has no sources of {name}"))?;
        for text in carried(&folder)? {
            texts.entry(text).or_default().push(name);
        }
    }
    let mut page = "perceiver is built from these crates:\n\n".to_owned();
    page.extend(crates.iter().map(|(name, licence)| format!("{name}: {licence}\n")));
    for (text, names) in texts {
        page += &format!("\n{}\n{}\n\n{}\n", "=".repeat(80), names.join(", "), text.trim_end());
    }
    Ok(page)
}

/// The texts of the licence files in a crate's folder.
fn carried(folder: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if path.is_file() && NAMES.iter().any(|start| name.starts_with(start)) {
            let bytes = fs::read(&path)?;
            texts.push(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"));
        }
    }
    Ok(texts)
}

/// The folders into which cargo unpacked the crates.
fn sources() -> Result<Vec<PathBuf>> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo"))).context("no CARGO_HOME")?;
    let registries = home.join("registry/src");
    let entries =
        fs::read_dir(&registries).with_context(|| format!("no folder {}", registries.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}
