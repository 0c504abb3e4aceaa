//! Changes of pixel values.

use image::{Rgb, RgbImage};

/// Blends an image with another; its `share` may exceed one. As in torchvision, the arithmetic is in
/// single precision and truncates.
pub(super) fn blend(
    image: &RgbImage,
    other: impl Fn(u32, u32) -> [f32; 3],
    share: f64,
) -> RgbImage {
    let (own, others) = (share as f32, (1.0 - share) as f32);
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let (pixel, other) = (image.get_pixel(x, y).0, other(x, y));
        Rgb([0, 1, 2].map(|channel| {
            (own * f32::from(pixel[channel]) + others * other[channel]).clamp(0.0, 255.0) as u8
        }))
    })
}

pub(super) fn grey(pixel: Rgb<u8>) -> u8 {
    let [red, green, blue] = pixel.0.map(f32::from);
    (0.2989 * red + 0.587 * green + 0.114 * blue) as u8
}

pub(super) fn mean_grey(image: &RgbImage) -> f32 {
    let sum: u64 = image.pixels().map(|pixel| u64::from(grey(*pixel))).sum();
    let pixels = u64::from(image.width()) * u64::from(image.height());
    sum as f32 / pixels as f32
}

/// Smooths a pixel, which weighs five times as much as each of its eight neighbours. Border pixels
/// stay unchanged.
pub(super) fn blurred(image: &RgbImage, x: u32, y: u32) -> [f32; 3] {
    let own = image.get_pixel(x, y).0.map(u32::from);
    let is_inside = |place: u32, side: u32| place > 0 && place + 1 < side;
    if !is_inside(x, image.width()) || !is_inside(y, image.height()) {
        return own.map(|value| value as f32);
    }
    let mut sums = own.map(|value| 4 * value);
    for (row, column) in (y - 1..=y + 1).flat_map(|row| (x - 1..=x + 1).map(move |x| (row, x))) {
        for (sum, value) in sums.iter_mut().zip(image.get_pixel(column, row).0) {
            *sum += u32::from(value);
        }
    }
    // Rounds to the nearest integer: thirteenths are never half way.
    sums.map(|sum| ((2 * sum + 13) / 26) as f32)
}

/// Maps each channel's values by a table computed from its histogram.
pub(super) fn remap(image: &RgbImage, table: impl Fn(&[usize; 256]) -> [u8; 256]) -> RgbImage {
    let tables = [0, 1, 2].map(|channel| {
        let mut counts = [0; 256];
        for pixel in image.pixels() {
            counts[usize::from(pixel[channel])] += 1;
        }
        table(&counts)
    });
    let mut remapped = image.clone();
    for pixel in remapped.pixels_mut() {
        for (value, table) in pixel.0.iter_mut().zip(&tables) {
            *value = table[usize::from(*value)];
        }
    }
    remapped
}

/// Stretches values so that the lowest becomes 0 and the highest 255.
pub(super) fn stretched(counts: &[usize; 256]) -> [u8; 256] {
    let lowest = counts.iter().position(|count| *count > 0).unwrap_or(0);
    let highest = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
    if highest <= lowest {
        return identity();
    }
    let scale = 255.0 / (highest - lowest) as f32;
    std::array::from_fn(|level| ((level as f32 - lowest as f32) * scale).clamp(0.0, 255.0) as u8)
}

/// Equalises the histogram of values.
pub(super) fn equalised(counts: &[usize; 256]) -> [u8; 256] {
    let pixels: usize = counts.iter().sum();
    let brightest = counts.iter().rfind(|count| **count > 0).copied().unwrap_or(0);
    let step = (pixels - brightest) / 255;
    if step == 0 {
        return identity();
    }
    let mut below = 0;
    std::array::from_fn(|level| {
        let new = if level == 0 { 0 } else { (below + step / 2) / step };
        below += counts[level];
        new.min(255) as u8
    })
}

fn identity() -> [u8; 256] {
    std::array::from_fn(|level| level as u8)
}
