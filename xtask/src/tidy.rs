//! House rules that no compiler knows. docs/style.md says why.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use perceiver_workspace::{program, root};

/// Lines of a source file without its tests.
const LONGEST_FILE: usize = 400;

/// Folders of binary files, and the bytes that each may hold.
const LIMITS: [(&str, u64); 2] = [("tests/fixtures/", 11_500_000), ("models/", 24_000_000)];

/// The crates of the workspace that each crate may depend on. Dependencies point one way.
const KNOWS: [(&str, &[&str]); 7] = [
    ("perceiver-core", &[]),
    ("perceiver-io", &["perceiver-core"]),
    ("perceiver-models", &["perceiver-core", "perceiver-io"]),
    ("perceiver-data", &[]),
    ("perceiver-train", &["perceiver-core", "perceiver-io", "perceiver-models", "perceiver-data"]),
    (
        "perceiver-pipelines",
        &["perceiver-core", "perceiver-io", "perceiver-models", "perceiver-data"],
    ),
    (
        "perceiver-cli",
        &[
            "perceiver-core",
            "perceiver-io",
            "perceiver-models",
            "perceiver-data",
            "perceiver-train",
            "perceiver-pipelines",
        ],
    ),
];

/// Checks every file that git knows or would add.
pub(crate) fn tidy() -> Result<()> {
    let listed = program("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("cannot start git")?;
    ensure!(listed.status.success(), "git ls-files: {}", listed.status);
    let mut found = Vec::new();
    let mut held = [0; LIMITS.len()];
    for name in String::from_utf8(listed.stdout)?.lines() {
        let Ok(bytes) = std::fs::read(root().join(name)) else { continue };
        if let Some(folder) = LIMITS.iter().position(|(folder, _)| name.starts_with(folder)) {
            held[folder] += bytes.len() as u64;
        } else if let Ok(text) = String::from_utf8(bytes) {
            found.extend(file(name, &text));
        }
    }
    for ((folder, limit), held) in LIMITS.iter().zip(held) {
        if held > *limit {
            found.push(format!("{folder}: {held} bytes, at most {limit}"));
        }
    }
    for (name, knows) in KNOWS {
        found.extend(package(name, knows)?);
    }
    // perceiver-models compiles the example of its page.
    if example(&read(&root().join("README.md"))?)
        != example(&read(&root().join("crates/perceiver-models/README.md"))?)
    {
        found.push("README.md: its example differs from that of perceiver-models".into());
    }
    for line in &found {
        println!("{line}");
    }
    if !found.is_empty() {
        bail!("{} untidy places", found.len());
    }
    Ok(())
}

fn file(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    // Spelled apart, so that this file does not find itself.
    let unfinished = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("unimple", "mented!")];
    for (number, line) in (1..).zip(text.lines()) {
        for word in unfinished {
            if line.contains(word) {
                found.push(format!("{name}:{number}: {word}: finish it or write an issue"));
            }
        }
    }
    let is_test = name.contains("/tests/") || name.ends_with("tests.rs");
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
    if name.contains("/src/") && name.ends_with(".rs") && !is_test && lines > LONGEST_FILE {
        found.push(format!("{name}: {lines} lines without tests, at most {LONGEST_FILE}"));
    }
    found
}

fn package(name: &str, knows: &[&str]) -> Result<Vec<String>> {
    let folder = root().join("crates").join(name);
    let manifest = read(&folder.join("Cargo.toml"))?;
    let mut found = Vec::new();
    if !manifest.contains("[lints]\nworkspace = true") {
        found.push(format!("{name}: Cargo.toml does not take the workspace's lints"));
    }
    if read(&folder.join("README.md"))?.lines().count() < 5 {
        found.push(format!("{name}: README.md has fewer than 5 lines"));
    }
    for (dependency, line) in dependencies(&manifest) {
        let ours = dependency.starts_with("perceiver-");
        let burn_in_data = name == "perceiver-data" && dependency.starts_with("burn");
        if (ours && !knows.contains(&dependency)) || burn_in_data {
            found.push(format!("{name}: must not depend on {dependency}"));
        }
        if !line.contains("workspace = true") {
            found.push(format!(
                "{name}: the version of {dependency} belongs in the root Cargo.toml"
            ));
        }
    }
    Ok(found)
}

/// Names and lines under `[dependencies]`.
fn dependencies(manifest: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| (line.split(['.', ' ', '=']).next().unwrap_or(line), line))
}

/// The first Rust block of a page.
fn example(page: &str) -> Option<&str> {
    let (_, rest) = page.split_once("```rust")?;
    rest.split_once("```").map(|(code, _)| code)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn tests_at_the_end_do_not_count_as_length() {
        let long = "line\n".repeat(LONGEST_FILE);
        assert!(file("crates/a/src/b.rs", &format!("{long}#[cfg(test)]\n{long}")).is_empty());
        assert_eq!(file("crates/a/src/b.rs", &format!("{long}line\n")).len(), 1);
    }

    #[test]
    fn dependencies_are_read_in_every_spelling() {
        let manifest =
            "[dependencies]\na.workspace = true\n\n# why\nb = { path = \"b\" }\n[lints]\n";
        let names: Vec<_> = dependencies(manifest).map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
