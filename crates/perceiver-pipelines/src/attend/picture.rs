//! A heat map over a photo or a text.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage, Rgba, RgbaImage};

use super::lines::Lines;
use super::{Attention, AttentionMap, Places};

/// Smallest length of a picture's shorter side, in pixels.
const SHORTEST: usize = 448;
/// Gap between tiles, in pixels.
const GAP: u32 = 8;
/// Share of positions whose weights may exceed the scale; otherwise a few outliers of ten times the
/// weight would hide everything else.
const BEYOND: f64 = 0.002;
/// Smallest end of the scale, as a share of the largest weight.
const LOWEST_TOP: f32 = 0.1;

/// The colour scale of a map, from weight zero to this one.
pub(super) struct Scale {
    pub(super) top: f32,
    /// True if some weights are larger.
    pub(super) exceeded: bool,
}

impl Attention {
    /// A heat map over the photo, which is grey, or behind the characters of the text; several maps
    /// are tiles, row by row.
    ///
    /// Colours are those of `inferno`, from zero to the largest weight, or to a lower one, down to
    /// a tenth of it, if at most one position in 500 exceeds that. A token of an image is a square;
    /// tokens of the convolutional stem share the photo evenly, although each also sees some of its
    /// neighbours.
    #[must_use]
    pub fn picture(&self) -> RgbImage {
        let tiles: Vec<RgbImage> = match &self.places {
            Places::Image { photo, rows, columns } => {
                let photo = background(photo, *rows, *columns);
                self.maps.iter().map(|map| over_photo(map, &photo, *rows, *columns)).collect()
            }
            Places::Text(characters) => {
                let lines = Lines::new(characters);
                self.maps.iter().map(|map| lines.picture(map)).collect()
            }
        };
        let (width, height) = tiles.first().map_or((0, 0), RgbImage::dimensions);
        let across = tiles_across(tiles.len());
        let down = tiles.len().div_ceil(across);
        let side = |tiles: usize, side: u32| (tiles as u32 * (side + GAP)).saturating_sub(GAP);
        let size = (side(across, width), side(down, height));
        let mut picture = RgbImage::from_pixel(size.0, size.1, Rgb([255; 3]));
        for (index, tile) in tiles.iter().enumerate() {
            let place = |at: usize, side: u32| i64::from(at as u32 * (side + GAP));
            let (x, y) = (place(index % across, width), place(index / across, height));
            imageops::replace(&mut picture, tile, x, y);
        }
        picture
    }
}

fn over_photo(map: &AttentionMap, photo: &RgbImage, rows: usize, columns: usize) -> RgbImage {
    let heat = heat(map, rows, columns);
    let (width, height) = photo.dimensions();
    let heat = imageops::resize(&heat, width, height, FilterType::Nearest);
    let mut tile = photo.clone();
    for (pixel, over) in tile.pixels_mut().zip(heat.pixels()) {
        *pixel = blend(*pixel, *over);
    }
    tile
}

/// Number of columns for a nearly square arrangement.
pub(super) fn tiles_across(tiles: usize) -> usize {
    (1..).find(|across| across * across >= tiles).unwrap_or(1)
}

/// The photo in grey, at the size of all tokens' squares together.
pub(super) fn background(photo: &RgbImage, rows: usize, columns: usize) -> RgbImage {
    let square = SHORTEST.div_ceil(rows.min(columns).max(1));
    let (width, height) = ((columns * square) as u32, (rows * square) as u32);
    let photo = imageops::resize(photo, width, height, FilterType::CatmullRom);
    let mut grey = photo;
    for Rgb(channels) in grey.pixels_mut() {
        let [red, green, blue] = channels.map(f32::from);
        *channels = [(0.299 * red + 0.587 * green + 0.114 * blue).round() as u8; 3];
    }
    grey
}

/// One pixel per token: the larger the weight, the brighter and more opaque.
pub(super) fn heat(map: &AttentionMap, rows: usize, columns: usize) -> RgbaImage {
    let Scale { top, .. } = scale(map);
    let colours = colours();
    RgbaImage::from_fn(columns as u32, rows as u32, |column, row| {
        let weight = map.weights[row as usize * columns + column as usize];
        let level = level(weight, top);
        let [red, green, blue] = colours[usize::from(level)];
        Rgba([red, green, blue, 90 + level / 2])
    })
}

/// The colour of each level.
pub(super) fn colours() -> [[u8; 3]; 256] {
    std::array::from_fn(|level| colorous::INFERNO.eval_rational(level, 256).into_array())
}

/// The level of a weight on the scale.
pub(super) fn level(weight: f32, top: f32) -> u8 {
    if top > 0.0 { (weight / top * 255.0).round().clamp(0.0, 255.0) as u8 } else { 0 }
}

pub(super) fn scale(map: &AttentionMap) -> Scale {
    let mut weights = map.weights.clone();
    weights.sort_by(f32::total_cmp);
    let beyond = (weights.len() as f64 * BEYOND) as usize;
    let greatest = weights.last().copied().unwrap_or(0.0);
    let top = weights.iter().rev().nth(beyond).copied().unwrap_or(0.0);
    let top = top.max(greatest * LOWEST_TOP);
    Scale { top, exceeded: greatest > top }
}

fn blend(Rgb(under): Rgb<u8>, Rgba([red, green, blue, alpha]): Rgba<u8>) -> Rgb<u8> {
    let share = f32::from(alpha) / 255.0;
    let over = [red, green, blue];
    Rgb(std::array::from_fn(|channel| {
        let mixed = f32::from(under[channel]) * (1.0 - share) + f32::from(over[channel]) * share;
        mixed.round() as u8
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use crate::AttendLayer;

    fn map(weights: Vec<f32>) -> AttentionMap {
        AttentionMap { head: None, row: None, weights }
    }

    fn attention(maps: Vec<AttentionMap>) -> Attention {
        let photo = RgbImage::from_pixel(6, 4, Rgb([10, 20, 30]));
        let places = Places::Image { photo, rows: 2, columns: 3 };
        Attention { layer: AttendLayer::Encoder, places, maps }
    }

    #[test]
    fn the_place_of_most_weight_is_the_brightest() {
        let maps = vec![map(vec![0.05, 0.05, 0.05, 0.05, 0.7, 0.1])];
        let picture = attention(maps).picture();
        assert_eq!(picture.dimensions(), (672, 448));
        let brightness =
            |x, y| picture.get_pixel(x, y).0.iter().map(|&c| u32::from(c)).sum::<u32>();
        let centres = [(112, 112), (336, 112), (560, 112), (112, 336), (336, 336), (560, 336)];
        let brightest = centres.into_iter().max_by_key(|&(x, y)| brightness(x, y));
        assert_eq!(brightest, Some((336, 336)));
    }

    #[test]
    fn tiles_lie_in_rows_with_gaps_between() {
        let even = vec![1.0 / 6.0; 6];
        let picture = attention(vec![map(even); 3]).picture();
        assert_eq!(picture.dimensions(), (2 * 672 + 8, 2 * 448 + 8));
        assert_eq!(*picture.get_pixel(676, 10), Rgb([255; 3]));
        assert_ne!(*picture.get_pixel(10, 470), Rgb([255; 3]));
        assert_eq!(*picture.get_pixel(700, 470), Rgb([255; 3]));
    }

    #[test]
    fn one_place_in_500_may_exceed_the_scale() {
        let mut weights = vec![0.001; 1000];
        weights[7] = 0.005;
        weights[8] = 0.004;
        let Scale { top, exceeded } = scale(&map(weights.clone()));
        assert!(exceeded);
        assert_eq!(top, 0.001);
        weights[7] = 0.5;
        assert_eq!(scale(&map(weights)).top, 0.05);
        let Scale { top, exceeded } = scale(&map(vec![0.2, 0.8]));
        assert!(!exceeded);
        assert_eq!(top, 0.8);
    }

    /// The ends and the middle of matplotlib's `inferno`: (0.735683, 0.215906, 0.330245), in bytes.
    #[test]
    fn colours_are_inferno_s() {
        let colours = colours();
        let [first, middle, last] = [0, 128, 255].map(|level| colours[level]);
        assert_eq!([first, middle, last], [[0, 0, 4], [187, 55, 84], [252, 255, 164]]);
    }
}
