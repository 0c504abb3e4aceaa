//! The packages for crates.io.

use anyhow::{Result, ensure};

use crate::process::{cargo, root, run, target};

/// What stays in the workspace.
const UNPUBLISHED: [&str; 3] = ["perceiver-tests", "xtask", "xtask-stereo"];

/// What every package has to carry beside its sources.
const CARRIED: [&str; 5] = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "NOTICE", "README.md"];

/// Packs every published crate and builds each from its package alone.
///
/// In a folder of its own, so that no other build is disturbed. Each crate's own features build
/// burn again, which takes a dozen minutes of one core; [`pack`] leaves that out.
pub(crate) fn package() -> Result<()> {
    make(&[])
}

/// Packs every published crate and looks at what is in the packages, as a step of CI.
pub(crate) fn pack() -> Result<()> {
    make(&["--no-verify"])
}

fn make(options: &[&str]) -> Result<()> {
    let mut pack = cargo("package --workspace --allow-dirty --no-metadata");
    for name in UNPUBLISHED {
        pack.args(["--exclude", name]);
    }
    pack.args(options).env("CARGO_PROFILE_DEV_DEBUG", "0");
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
