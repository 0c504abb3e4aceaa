//! Converts a stereo pair with disparities to a pair of frames with flow, in the layout that
//! `FlowPairs` reads: a point in the left image is further left in the right one, by the disparity.
//!
//! `cargo run -p xtask-stereo -- LEFT RIGHT DISPARITIES SHRINK FOLDER/NAME`
//!
//! Disparities are an 8-bit image, with 0 for unknown, or a `.npy` file of floats. `SHRINK` divides
//! the size of both images, and the motion.

use std::fs;
use std::path::Path;

use image::imageops::thumbnail;
use ndarray::{Array2, Array3};
use perceiver_data::flow::encode_flo;
use perceiver_data::read_image;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [left, right, disparities, shrink, pair] = &arguments[..] else {
        return Err("expected LEFT RIGHT DISPARITIES SHRINK FOLDER/NAME".into());
    };
    let shrink: u32 = shrink.parse()?;
    let disparities = match Path::new(disparities).extension() {
        Some(ending) if ending == "npy" => from_npy(&fs::read(disparities)?)?,
        _ => from_image(disparities)?,
    };
    for (number, camera) in [left, right].into_iter().enumerate() {
        let image = read_image(camera)?;
        if (image.height() as usize, image.width() as usize) != disparities.dim() {
            return Err(format!("{camera}: its size differs from that of the disparities").into());
        }
        let (width, height) = (image.width() / shrink, image.height() / shrink);
        thumbnail(&image, width, height).save(format!("{pair}_{}.png", number + 1))?;
    }
    let flow = flow(&disparities, shrink as usize);
    fs::write(format!("{pair}.flo"), encode_flo(flow.view()))?;
    Ok(())
}

/// Flow of the reduced image, from the middle of the pixels that become one.
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

fn from_image(path: &str) -> Result<Array2<f32>, Box<dyn std::error::Error>> {
    let image = read_image(path)?;
    let (height, width) = (image.height() as usize, image.width() as usize);
    let level = |(y, x)| f32::from(image.get_pixel(x as u32, y as u32)[0]);
    Ok(Array2::from_shape_fn((height, width), level))
}

/// A two-dimensional array of little-endian floats: a text header, then the numbers.
fn from_npy(bytes: &[u8]) -> Result<Array2<f32>, Box<dyn std::error::Error>> {
    const START: usize = 10;
    if !bytes.starts_with(b"\x93NUMPY\x01\x00") || bytes.len() < START {
        return Err("not a .npy file of version 1".into());
    }
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let end = START + length;
    let header = std::str::from_utf8(bytes.get(START..end).ok_or("the header ends early")?)?;
    let is_plain = ["'descr': '<f4'", "'fortran_order': False"]
        .into_iter()
        .all(|wanted| header.contains(wanted));
    let sides = header.split(['(', ')']).nth(1).unwrap_or_default();
    let sides: Vec<usize> = sides.split(", ").map(str::parse).collect::<Result<_, _>>()?;
    let ([height, width], true) = (&sides[..], is_plain) else {
        return Err(format!("expected a plain two-dimensional array, found {header}").into());
    };
    let numbers = bytes[end..].as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word));
    Ok(Array2::from_shape_vec((*height, *width), numbers.collect())?)
}
