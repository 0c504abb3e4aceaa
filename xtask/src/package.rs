//! The packages for crates.io.

use anyhow::{Result, ensure};
use perceiver_workspace::{cargo, root, run, target};

/// Files that every package carries beside its sources.
const CARRIED: [&str; 5] = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "NOTICE", "README.md"];

/// Packs every published crate and builds each from its package alone.
///
/// In a folder of its own, so that no other build is disturbed. Each crate's own features build
/// burn again, which takes a dozen minutes of one core; [`pack`] skips that.
pub(crate) fn package() -> Result<()> {
    make(&[])
}

/// Packs every published crate and checks the files of the packages, as a step of CI.
pub(crate) fn pack() -> Result<()> {
    make(&["--no-verify"])
}

/// A rehearsal of `cargo publish --workspace`, which goes through the crates in the order of their
/// dependencies and passes over members with `publish = false`.
fn make(options: &[&str]) -> Result<()> {
    let mut publish = cargo("publish --workspace --dry-run --allow-dirty");
    publish.args(options).env("CARGO_PROFILE_DEV_DEBUG", "0");
    run(publish.env("CARGO_TARGET_DIR", target().join("packages")))?;
    for entry in std::fs::read_dir(root().join("crates"))? {
        let folder = entry?.path();
        let listed = cargo("package --list --allow-dirty").current_dir(&folder).output()?;
        let files = String::from_utf8(listed.stdout)?;
        for wanted in CARRIED {
            let found = files.lines().any(|file| file == wanted);
            ensure!(found, "the package of {} has no {wanted}", folder.display());
        }
    }
    Ok(())
}
