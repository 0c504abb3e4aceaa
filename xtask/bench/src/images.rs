//! Reading photos and preparing them for a model, by us and by Pillow, on one thread.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use perceiver_workspace::{cargo, data_folder, python};

/// Photos from `cargo xtask data`, of several sizes and kinds.
const PHOTOS: [&str; 6] = [
    "deb/python3-skimage/usr/lib/python3/dist-packages/skimage/data/astronaut.png",
    "deb/python3-skimage/usr/lib/python3/dist-packages/skimage/data/coffee.png",
    "deb/python3-skimage/usr/lib/python3/dist-packages/skimage/data/rocket.jpg",
    "deb/opencv-doc/usr/share/doc/opencv-doc/examples/data/aloeL.jpg",
    "deb/opencv-doc/usr/share/doc/opencv-doc/examples/data/home.jpg",
    "deb/libjxl-testdata/usr/share/libjxl-testdata/jxl/flower/flower.png.im_q85_420_progr.jpg",
];

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Photos to use instead of those that `cargo xtask data` fetches
    photos: Vec<PathBuf>,
}

pub(super) fn images(arguments: &Arguments) -> Result<()> {
    let mut photos = arguments.photos.clone();
    if photos.is_empty() {
        photos = PHOTOS.iter().map(|name| data_folder().join(name)).collect();
    }
    let mut ours = cargo("bench --quiet --package perceiver-data --bench images --");
    let ours = measure(ours.args(&photos))?;
    let mut theirs = python()?;
    let theirs = measure(theirs.arg("crates/perceiver-data/benches/pillow.py").args(&photos))?;
    ensure!(ours.len() == theirs.len(), "{} photos, with Pillow {}", ours.len(), theirs.len());

    println!("| Photo | Read, ms | Pillow | Crop, resize, normalise, ms | Pillow |");
    println!("|---|---|---|---|---|");
    for ([read, prepared, path], [their_read, their_prepared, _]) in ours.iter().zip(&theirs) {
        let name = path.rsplit('/').next().unwrap_or(path);
        println!("| {name} | {read} | {their_read} | {prepared} | {their_prepared} |");
    }
    Ok(())
}

/// The lines that a program prints, one per photo: two times in milliseconds, and the path.
fn measure(program: &mut Command) -> Result<Vec<[String; 3]>> {
    let output = program.output().with_context(|| format!("cannot start {program:?}"))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    text.lines()
        .map(|line| {
            let mut parts = line.splitn(3, ' ').map(str::to_owned);
            let mut part = || parts.next().with_context(|| format!("{line:?}: expected a photo"));
            Ok([part()?, part()?, part()?])
        })
        .collect()
}
