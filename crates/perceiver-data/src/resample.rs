//! Resizing of 8-bit images, bit for bit as Pillow and torchvision do it.
//!
//! Both weight the pixels under a filter, along rows and along columns, in integers, and round to
//! 8 bits after each pass. They differ in the number of bits of the weights and in the order of
//! the passes. No Rust library does the same: `fast_image_resize` always begins with the columns,
//! which puts a third of the levels off by one, and by dozens next to clipped ones.

use std::f64::consts::PI;

use image::RgbImage;

const CHANNELS: usize = 3;

/// The filter that weights pixels when an image is resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[doc(alias = "PILImageResampling")]
pub enum Resample {
    /// The nearest pixel.
    Nearest,
    /// A windowed sinc over three pixels.
    Lanczos,
    /// A triangle over one pixel.
    Bilinear,
    /// A cubic over two pixels, with a = −0.5.
    #[default]
    Bicubic,
    /// The mean of the covered pixels.
    Box,
    /// A Hamming window over one pixel.
    Hamming,
}

impl Resample {
    /// In the order of Pillow's numbers, which settings files use.
    pub(crate) const NUMBERED: [Self; 6] =
        [Self::Nearest, Self::Lanczos, Self::Bilinear, Self::Bicubic, Self::Box, Self::Hamming];

    /// Half the width of the filter, in pixels of the larger image.
    fn support(self) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let distance = x.abs();
        match self {
            Self::Nearest => 0.0,
            Self::Box => f64::from(x > -0.5 && x <= 0.5),
            Self::Bilinear => (1.0 - distance).max(0.0),
            Self::Hamming if distance == 0.0 => 1.0,
            Self::Hamming if distance >= 1.0 => 0.0,
            Self::Hamming => {
                let angle = distance * PI;
                angle.sin() / angle * (0.54 + 0.46 * angle.cos())
            }
            Self::Bicubic => {
                const A: f64 = -0.5;
                if distance < 1.0 {
                    ((A + 2.0) * distance - (A + 3.0)) * distance * distance + 1.0
                } else if distance < 2.0 {
                    (((distance - 5.0) * distance + 8.0) * distance - 4.0) * A
                } else {
                    0.0
                }
            }
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

/// The library whose arithmetic is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// torchvision: weights of 16 bits, with as many fractional bits as the largest one allows.
    #[default]
    Torchvision,
    /// Pillow: weights with 22 fractional bits.
    Pil,
}

/// Resizes to `(width, height)`. These and the sides of the image must be at least 1.
pub(crate) fn resize(
    image: &RgbImage,
    (width, height): (u32, u32),
    resample: Resample,
    backend: Backend,
) -> RgbImage {
    let (old_width, old_height) = image.dimensions();
    let [old_columns, old_rows, columns, rows] =
        [old_width, old_height, width, height].map(|side| side as usize);
    let along_rows = |pixels: &[u8], rows| {
        let axis = Axis::new(old_columns, columns, resample, backend);
        axis.along_rows(pixels, rows, old_columns)
    };
    let along_columns = |pixels: &[u8], columns| {
        let axis = Axis::new(old_rows, rows, resample, backend);
        axis.along_columns(pixels, columns)
    };
    let pixels = image.as_raw();
    let pixels = match (columns != old_columns, rows != old_rows) {
        (false, false) => pixels.clone(),
        (true, false) => along_rows(pixels, rows),
        (false, true) => along_columns(pixels, columns),
        (true, true) if columns_first(image, (width, height), backend) => {
            along_rows(&along_columns(pixels, old_columns), rows)
        }
        (true, true) => along_columns(&along_rows(pixels, old_rows), columns),
    };
    RgbImage::from_raw(width, height, pixels).unwrap_or_default()
}

/// Pillow 13 resizes the columns first if that leaves less work along the rows.
fn columns_first(image: &RgbImage, (width, height): (u32, u32), backend: Backend) -> bool {
    let lost_rows = i64::from(image.height()) - i64::from(height);
    let lost_columns = i64::from(image.width()) - i64::from(width);
    backend == Backend::Pil && lost_rows > 0 && lost_rows > 2 * lost_columns
}

/// For each pixel of the new image, along one axis, the old pixels that contribute to it.
struct Axis {
    windows: Vec<Window>,
    /// Fixed-point weights, window after window.
    weights: Vec<i32>,
    fractional_bits: u32,
}

struct Window {
    /// First pixel of the old image.
    start: usize,
    /// The range of its weights.
    weights: std::ops::Range<usize>,
}

impl Axis {
    fn new(old: usize, new: usize, resample: Resample, backend: Backend) -> Self {
        if resample == Resample::Nearest {
            return Self::nearest(old, new, backend);
        }
        let scale = old as f64 / new as f64;
        let filter_scale = scale.max(1.0);
        let support = resample.support() * filter_scale;

        let mut windows = Vec::with_capacity(new);
        let mut weights: Vec<f64> = Vec::new();
        for index in 0..new {
            let center = (index as f64 + 0.5) * scale;
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(old);
            let first = weights.len();
            weights.extend(
                (start..end)
                    .map(|pixel| resample.weight((pixel as f64 - center + 0.5) / filter_scale)),
            );
            let total: f64 = weights[first..].iter().sum();
            if total != 0.0 {
                weights[first..].iter_mut().for_each(|weight| *weight /= total);
            }
            windows.push(Window { start, weights: first..weights.len() });
        }

        let fractional_bits = match backend {
            Backend::Pil => 22,
            Backend::Torchvision => {
                let largest = weights.iter().copied().fold(0.0, f64::max);
                (0..22)
                    .find(|bits| 0.5 + largest * f64::from(1 << (bits + 1)) >= 32768.0)
                    .unwrap_or(22)
            }
        };
        let one = f64::from(1 << fractional_bits);
        Self {
            windows,
            weights: weights
                .iter()
                .map(|weight| (weight * one + 0.5_f64.copysign(*weight)) as i32)
                .collect(),
            fractional_bits,
        }
    }

    fn nearest(old: usize, new: usize, backend: Backend) -> Self {
        let step = old as f64 / new as f64;
        let mut position = step * 0.5;
        let windows = (0..new).map(|index| {
            let start = match backend {
                // Pillow sums the steps, including their rounding errors.
                Backend::Pil => position as usize,
                Backend::Torchvision => {
                    let step = old as f32 / new as f32;
                    ((step * (index as f32 + 0.5) - 0.5).max(0.0) + 0.5) as usize
                }
            };
            position += step;
            Window { start: start.min(old - 1), weights: 0..1 }
        });
        Self { windows: windows.collect(), weights: vec![1], fractional_bits: 0 }
    }

    fn along_rows(&self, pixels: &[u8], rows: usize, old_columns: usize) -> Vec<u8> {
        let mut resized = Vec::with_capacity(rows * self.windows.len() * CHANNELS);
        for row in pixels.chunks_exact(old_columns * CHANNELS) {
            for window in &self.windows {
                let mut sums = [self.half(); CHANNELS];
                let pixels = row[window.start * CHANNELS..].chunks_exact(CHANNELS);
                for (pixel, weight) in pixels.zip(&self.weights[window.weights.clone()]) {
                    for (sum, &value) in sums.iter_mut().zip(pixel) {
                        *sum += i32::from(value) * weight;
                    }
                }
                resized.extend(sums.map(|sum| self.round(sum)));
            }
        }
        resized
    }

    fn along_columns(&self, pixels: &[u8], columns: usize) -> Vec<u8> {
        let row_length = columns * CHANNELS;
        let mut resized = Vec::with_capacity(self.windows.len() * row_length);
        let mut sums = vec![0; row_length];
        for window in &self.windows {
            sums.fill(self.half());
            let rows = pixels[window.start * row_length..].chunks_exact(row_length);
            for (row, weight) in rows.zip(&self.weights[window.weights.clone()]) {
                for (sum, &value) in sums.iter_mut().zip(row) {
                    *sum += i32::from(value) * weight;
                }
            }
            resized.extend(sums.iter().map(|&sum| self.round(sum)));
        }
        resized
    }

    fn half(&self) -> i32 {
        (1 << self.fractional_bits) >> 1
    }

    fn round(&self, sum: i32) -> u8 {
        (sum >> self.fractional_bits).clamp(0, 255) as u8
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::{Backend, Resample, resize};

    #[test]
    fn an_even_colour_stays_what_it_is() {
        let colour = Rgb([0, 131, 255]);
        let image = RgbImage::from_pixel(7, 5, colour);
        for backend in [Backend::Torchvision, Backend::Pil] {
            for resample in Resample::NUMBERED {
                for size in [(7, 5), (3, 11), (20, 5), (1, 1)] {
                    let resized = resize(&image, size, resample, backend);
                    assert_eq!(resized.dimensions(), size);
                    assert!(resized.pixels().all(|pixel| *pixel == colour), "{resample:?}");
                }
            }
        }
    }

    #[test]
    fn the_box_filter_gives_the_mean_of_the_pixels_covered() {
        let image = RgbImage::from_fn(4, 2, |x, y| Rgb([(x * 10 + y * 100) as u8; 3]));
        let resized = resize(&image, (2, 1), Resample::Box, Backend::Pil);
        assert_eq!(resized.as_raw(), &[55, 55, 55, 75, 75, 75]);
    }
}
