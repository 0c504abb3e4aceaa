//! Stereo pairs with disparities as pairs of frames with flow.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::process::{cargo, program, run};

const ALOE: &str = "usr/share/doc/opencv-doc/examples/data";
const MOTORCYCLE: &str = "usr/lib/python3/dist-packages/skimage/data";

/// Aloe (Middlebury 2006) and motorcycle (Middlebury 2014), whole and a quarter as wide.
pub(super) fn write_pairs(packages: &[PathBuf], folder: &Path) -> Result<()> {
    let (aloe, motorcycle) = (packages[0].join(ALOE), packages[1].join(MOTORCYCLE));
    let unpacked = folder.join("unpacked");
    let disparities = motorcycle.join("motorcycle_disp.npz");
    run(program("python3").args(["-m", "zipfile", "-e"]).args([&disparities, &unpacked]))?;
    let disparities = unpacked.join("arr_0.npy");
    for (size, shrink) in [("whole", 1), ("quarter", 4)] {
        let folder = folder.join(size);
        fs::create_dir(&folder)?;
        let cameras =
            ["left", "right"].map(|side| motorcycle.join(format!("motorcycle_{side}.png")));
        write_pair(cameras, &disparities, shrink, &folder.join("motorcycle"))?;
        let cameras = ["L", "R"].map(|side| aloe.join(format!("aloe{side}.jpg")));
        write_pair(cameras, &aloe.join("aloeGT.png"), shrink, &folder.join("aloe"))?;
    }
    fs::remove_dir_all(unpacked)?;
    Ok(())
}

/// Runs a program of its own, which reads images: xtask builds faster without that.
fn write_pair(cameras: [PathBuf; 2], disparities: &Path, shrink: usize, pair: &Path) -> Result<()> {
    for file in cameras.iter().map(PathBuf::as_path).chain([disparities]) {
        ensure!(file.is_file(), "{} is missing", file.display());
    }
    let mut command = cargo("run --quiet -p xtask-stereo --");
    run(command.args(cameras).arg(disparities).arg(shrink.to_string()).arg(pair))
}
