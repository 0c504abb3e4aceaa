//! The packages for crates.io.

use anyhow::{Result, ensure};

use crate::process::{cargo, root, run, target};

/// What stays in the workspace.
const UNPUBLISHED: [&str; 2] = ["perceiver-tests", "xtask"];

/// What every package has to carry beside its sources.
const CARRIED: [&str; 5] = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "NOTICE", "README.md"];

/// Packs every published crate and builds each from its package alone.
///
/// In a folder of its own and with the default features, so that the crates share one build of
/// burn and no other build is disturbed.
pub(crate) fn package() -> Result<()> {
    let mut pack = cargo("package --workspace --allow-dirty --no-metadata");
    for name in UNPUBLISHED {
        pack.args(["--exclude", name]);
    }
    run(pack.env("CARGO_TARGET_DIR", target().join("packages")))?;
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
