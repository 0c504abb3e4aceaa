//! The program as an archive for one platform, installed into an empty folder and tried.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use perceiver_workspace::{cargo, program, root, run, target};

use crate::licences;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Files of the root that every archive carries. The models lie beside the program, where it looks
/// for them.
const CARRIED: [&str; 3] = ["LICENSE-APACHE", "LICENSE-MIT", "NOTICE"];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The platform, such as `aarch64-apple-darwin`; this machine's otherwise
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
}

/// Builds the program, packs it with licences and models, and tries it from the archive. Uploads
/// nothing.
pub(crate) fn release(arguments: &Arguments) -> Result<()> {
    let host = host()?;
    let triple = arguments.target.as_deref().unwrap_or(&host);
    let program = build(arguments.target.as_deref())?;
    let archives = target().join("archives");
    let name = format!("perceiver-{VERSION}-{triple}");
    let content = empty(&archives.join(&name))?;
    let file = program.file_name().context("a program has a name")?;
    fs::copy(&program, content.join(file))?;
    for name in CARRIED {
        fs::copy(root().join(name), content.join(name))?;
    }
    fs::copy(root().join("crates/perceiver-cli/README.md"), content.join("README.md"))?;
    fs::write(content.join("LICENSES-OF-DEPENDENCIES"), licences::texts(triple)?)?;
    copy_folder(&root().join("models"), &content.join("models"))?;
    let archive = format!("{name}.tar.gz");
    run(Command::new("tar").args(["-czf", &archive, &name]).current_dir(&archives))?;
    fs::remove_dir_all(content)?;
    write_checksum(&archives, &archive)?;
    try_it(&archives, &archive, &Path::new(&name).join(file))?;
    println!("{}", archives.join(archive).display());
    Ok(())
}

fn build(triple: Option<&str>) -> Result<PathBuf> {
    let mut build = cargo("build --release --locked --package perceiver-cli");
    let mut folder = target();
    if let Some(triple) = triple {
        build.args(["--target", triple]);
        folder.push(triple);
    }
    run(&mut build)?;
    Ok(folder.join("release").join(format!("perceiver{}", std::env::consts::EXE_SUFFIX)))
}

/// Unpacks the archive into an empty folder and lets the program fill in a word there, with the
/// model that came with it and without this machine's variables.
fn try_it(archives: &Path, archive: &str, program: &Path) -> Result<()> {
    let folder = empty(&archives.join("tried"))?;
    run(Command::new("tar").args(["-xzf", &format!("../{archive}")]).current_dir(&folder))?;
    let perceiver = |arguments: &[&str]| -> Result<String> {
        let mut command = Command::new(folder.join(program));
        // Windows starts no program without SYSTEMROOT.
        let system = std::env::var_os("SYSTEMROOT").map(|root| ("SYSTEMROOT", root));
        command.args(arguments).current_dir(&folder).env_clear().envs(system);
        let output = command.output().context("cannot start the program of the archive")?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {}\n{message}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    };
    let version = perceiver(&["--version"])?;
    ensure!(version.trim() == format!("perceiver {VERSION}"), "unexpected version: {version}");
    let filled = perceiver(&["fill-mask", "She could [MASK][MASK][MASK] believe it."])?;
    ensure!(!filled.trim().is_empty(), "fill-mask printed nothing");
    println!("{filled}");
    Ok(fs::remove_dir_all(folder)?)
}

/// Writes the SHA-256 beside the archive, as `sha256sum --check` reads it.
fn write_checksum(folder: &Path, archive: &str) -> Result<()> {
    // macOS has the one, Linux and Git for Windows have the other.
    let (name, options) = match cfg!(target_os = "macos") {
        true => ("shasum", &["-a", "256"][..]),
        false => ("sha256sum", &[][..]),
    };
    let file = File::create(folder.join(format!("{archive}.sha256")))?;
    run(Command::new(name).args(options).arg(archive).current_dir(folder).stdout(file))
}

/// This machine's target triple.
fn host() -> Result<String> {
    let output = program("rustc").arg("-vV").output().context("cannot start rustc")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

fn empty(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot write {}", folder.display()))?;
    Ok(folder.to_owned())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), place)?;
        }
    }
    Ok(())
}
