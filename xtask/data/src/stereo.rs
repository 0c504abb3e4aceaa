//! Turns stereo pairs with disparities into pairs of frames with flow: a point that the left camera
//! sees lies further left for the right one, by the disparity in pixels.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use image::imageops::thumbnail;
use ndarray::{Array2, Array3};
use perceiver_data::flow::encode_flo;
use perceiver_data::read_image;
use perceiver_workspace::{program, run};

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
        write_pair(&cameras, &disparities, shrink, &folder.join("motorcycle"))?;
        let cameras = ["L", "R"].map(|side| aloe.join(format!("aloe{side}.jpg")));
        write_pair(&cameras, &aloe.join("aloeGT.png"), shrink, &folder.join("aloe"))?;
    }
    fs::remove_dir_all(unpacked)?;
    Ok(())
}

/// Writes `pair_1.png`, `pair_2.png` and `pair.flo`, all smaller by the factor `shrink`.
///
/// Disparities are an image of 8 bits with 0 where they are unknown, or a `.npy` file of floats.
fn write_pair(
    cameras: &[PathBuf; 2],
    disparities: &Path,
    shrink: usize,
    pair: &Path,
) -> Result<()> {
    let disparities = match disparities.extension() {
        Some(ending) if ending == "npy" => from_npy(&read(disparities)?),
        _ => from_image(disparities),
    }
    .with_context(|| disparities.display().to_string())?;
    let pair = pair.display();
    for (number, camera) in (1..).zip(cameras) {
        let image = read_image(camera)?;
        let size = (image.height() as usize, image.width() as usize);
        let expected = disparities.dim();
        ensure!(
            size == expected,
            "{}: {size:?} pixels, disparities {expected:?}",
            camera.display()
        );
        let [width, height] = [image.width(), image.height()].map(|side| side / shrink as u32);
        thumbnail(&image, width, height).save(format!("{pair}_{number}.png"))?;
    }
    let flow = flow(&disparities, shrink);
    Ok(fs::write(format!("{pair}.flo"), encode_flo(flow.view()))?)
}

/// Flow of the smaller picture, taken from the middle of the pixels that become one.
fn flow(disparities: &Array2<f32>, shrink: usize) -> Array3<f32> {
    let (height, width) = disparities.dim();
    Array3::from_shape_fn((height / shrink, width / shrink, 2), |(y, x, direction)| {
        let middle = [y, x].map(|place| place * shrink + (shrink - 1) / 2);
        let disparity = disparities[middle];
        let known = disparity.is_finite() && disparity > 0.0;
        match (known, direction) {
            (false, _) => f32::NAN,
            (true, 0) => -disparity / shrink as f32,
            (true, _) => 0.0,
        }
    })
}

fn from_image(path: &Path) -> Result<Array2<f32>> {
    let image = read_image(path)?;
    let size = (image.height() as usize, image.width() as usize);
    let level = |(y, x)| f32::from(image.get_pixel(x as u32, y as u32)[0]);
    Ok(Array2::from_shape_fn(size, level))
}

/// An array of two axes of little-endian floats: a header of text, then the numbers.
fn from_npy(bytes: &[u8]) -> Result<Array2<f32>> {
    const START: usize = 10;
    ensure!(
        bytes.starts_with(b"\x93NUMPY\x01\x00") && bytes.len() >= START,
        "not a .npy file of version 1"
    );
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let end = START + length;
    let header = std::str::from_utf8(bytes.get(START..end).context("the header ends early")?)?;
    let is_plain = ["'descr': '<f4'", "'fortran_order': False"]
        .into_iter()
        .all(|wanted| header.contains(wanted));
    let sides = header.split(['(', ')']).nth(1).unwrap_or_default();
    let sides: Vec<usize> = sides.split(", ").map(str::parse).collect::<Result<_, _>>()?;
    let ([height, width], true) = (&sides[..], is_plain) else {
        bail!("expected a plain array of two axes, found {header}");
    };
    let numbers = bytes[end..].as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word));
    Ok(Array2::from_shape_vec((*height, *width), numbers.collect())?)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn disparities_become_leftward_flow_that_shrinks_with_the_picture() {
        let disparities =
            Array2::from_shape_vec((2, 4), vec![8.0, 0.0, 6.0, f32::NAN, 9.0, 9.0, 9.0, 9.0]);
        let flow = flow(&disparities.unwrap(), 2);
        assert_eq!(flow.dim(), (1, 2, 2));
        assert_eq!(flow.iter().copied().collect::<Vec<_>>(), [-4.0, 0.0, -3.0, 0.0]);
    }

    #[test]
    fn an_unknown_disparity_is_not_a_number() {
        let disparities = Array2::from_shape_vec((1, 2), vec![0.0, f32::INFINITY]).unwrap();
        assert!(flow(&disparities, 1).iter().all(|number| number.is_nan()));
    }

    #[test]
    fn a_numpy_array_is_read_row_by_row() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }\n";
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend([1.5_f32, -2.0].map(f32::to_le_bytes).concat());
        assert_eq!(from_npy(&bytes).unwrap(), ndarray::arr2(&[[1.5, -2.0]]));
    }
}
