use std::cmp::Ordering;
use std::f32::consts::PI;

use image::{Rgb, RgbImage};
use ndarray::{ArrayView3, Axis};

use super::sides;

/// How motion maps to colours: direction to hue, distance to saturation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Palette {
    /// Hues of OpenCV's 8-bit HSV, as DeepMind's notebook renders flow: right is red, down
    /// yellow-green, left cyan, up violet.
    ///
    /// # Source
    /// `visualize_flow` of the notebook, bit for bit with OpenCV 4.12 and 5.0: `hue = angle / 2π ·
    /// 180`, `saturation = min(distance · 255 / 24, 255)`, `value = 255`.
    /// # Differences
    /// The notebook swaps blue and red. OpenCV rounds the last columns of a picture and truncates
    /// the others; here all are truncated.
    #[default]
    Hsv,
    /// The wheel of Baker et al., A Database and Evaluation Methodology for Optical Flow: right is
    /// red, down yellow, left cyan, up violet.
    ///
    /// # Source
    /// `computeColor` of Middlebury's `colorcode.cpp`.
    Middlebury,
}

/// Colours for motion up to a given distance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Colours {
    palette: Palette,
    largest: f32,
}

/// Unknown motion is black.
const UNKNOWN: Rgb<u8> = Rgb([0; 3]);

impl Colours {
    /// `largest` is the motion in pixels that gets full saturation. Larger motion gets the same
    /// colour, a quarter darker in [`Palette::Middlebury`]. DeepMind's notebook uses 24, Middlebury
    /// the [`largest_motion`] of the picture.
    ///
    /// # Panics
    /// If `largest` is not positive and finite.
    /// If it is not positive and finite.
    #[must_use]
    pub fn new(palette: Palette, largest: f32) -> Self {
        assert!(
            largest > 0.0 && largest.is_finite(),
            "the largest motion is {largest}, expected a positive number"
        );
        Self { palette, largest }
    }

    /// The motion in pixels that gets full saturation.
    #[must_use]
    pub fn largest(&self) -> f32 {
        self.largest
    }

    /// The colour of a motion in pixels, to the right and down; black if it is not finite.
    #[must_use]
    pub fn of(&self, [right, down]: [f32; 2]) -> Rgb<u8> {
        if !(right.is_finite() && down.is_finite()) {
            return UNKNOWN;
        }
        match self.palette {
            Palette::Hsv => hsv([right, down], self.largest),
            Palette::Middlebury => middlebury([right, down], self.largest),
        }
    }

    /// Renders flow as a picture.
    ///
    /// # Shapes
    /// - `flow`: `[height, width, 2]`
    ///
    /// # Panics
    /// If the last axis is not 2.
    #[must_use]
    pub fn picture(&self, flow: ArrayView3<'_, f32>) -> RgbImage {
        let [height, width] = sides(&flow).map(|side| u32::try_from(side).unwrap_or(u32::MAX));
        RgbImage::from_fn(width, height, |x, y| {
            let (x, y) = (x as usize, y as usize);
            self.of([flow[[y, x, 0]], flow[[y, x, 1]]])
        })
    }

    /// Draws a colour wheel into the lower right corner: each point has the colour of the motion
    /// from the centre to it, and the rim that of [`largest`](Self::largest).
    pub fn draw_legend(&self, picture: &mut RgbImage) {
        let side = picture.width().min(picture.height()) as f32;
        let radius = (side / 8.0).clamp(side.min(24.0) / 3.0, 96.0);
        let (rim, margin) = ((radius / 24.0).max(1.0), radius / 4.0);
        let reach = radius + rim + margin;
        let centre = [picture.width() as f32 - reach, picture.height() as f32 - reach];
        for (x, y, pixel) in picture.enumerate_pixels_mut() {
            let [dx, dy] = [x as f32 + 0.5 - centre[0], y as f32 + 0.5 - centre[1]];
            let distance = dx.hypot(dy);
            // A white ring between the wheel and the picture, with a thin line around it.
            mix(pixel, Rgb([60; 3]), coverage(distance - radius - rim - 1.0));
            mix(pixel, Rgb([255; 3]), coverage(distance - radius - rim));
            // The last pixel's centre may lie half a pixel outside the rim.
            let scale = self.largest / distance.max(radius);
            mix(pixel, self.of([dx * scale, dy * scale]), coverage(distance - radius));
        }
    }
}

/// The largest motion in pixels, at least a thousandth.
///
/// # Shapes
/// - `flow`: `[height, width, 2]`
#[must_use]
pub fn largest_motion(flow: ArrayView3<'_, f32>) -> f32 {
    let distances = flow.lanes(Axis(2)).into_iter().map(|vector| distance([vector[0], vector[1]]));
    distances.filter(|distance| distance.is_finite()).fold(1e-3, f32::max)
}

/// Share of a pixel inside a shape whose outline is at this distance; inside, the distance is
/// negative.
pub(super) fn coverage(distance: f32) -> f32 {
    (0.5 - distance).clamp(0.0, 1.0)
}

/// Blends a colour over a pixel.
pub(super) fn mix(pixel: &mut Rgb<u8>, colour: Rgb<u8>, coverage: f32) {
    for (under, over) in pixel.0.iter_mut().zip(colour.0) {
        let (below, above) = (f32::from(*under), f32::from(over));
        *under = (below + (above - below) * coverage).round() as u8;
    }
}

/// OpenCV uses a fused multiply-add, so this does too: the results truncate alike.
fn distance([x, y]: [f32; 2]) -> f32 {
    x.mul_add(x, y * y).sqrt()
}

fn hsv(vector: [f32; 2], largest: f32) -> Rgb<u8> {
    let hue = (angle(vector) / PI / 2.0 * 180.0) as u8;
    let saturation = (distance(vector) * 255.0 / largest).min(255.0) as u8;
    let turn = f32::from(hue) * (6.0 / 180.0);
    let (sector, part) = (turn as u8, turn.fract());
    let grey = f32::from(saturation) * (1.0 / 255.0);
    let falling = (-grey).mul_add(part, 1.0);
    let rising = (-grey).mul_add(1.0 - part, 1.0);
    let low = 1.0 - grey;
    let levels = match sector {
        0 => [1.0, rising, low],
        1 => [falling, 1.0, low],
        2 => [low, 1.0, rising],
        3 => [low, falling, 1.0],
        4 => [rising, low, 1.0],
        _ => [1.0, low, falling],
    };
    Rgb(levels.map(|level| (level * 255.0) as u8))
}

/// The angle of OpenCV's `cartToPolar`, from 0 to 2π, accurate to a hundredth of a degree.
fn angle([x, y]: [f32; 2]) -> f32 {
    const DEGREES: f32 = (180.0 / std::f64::consts::PI) as f32;
    const P1: f32 = 0.999_787_841_279_480_7_f64 as f32 * DEGREES;
    const P3: f32 = -0.325_808_397_464_097_5_f64 as f32 * DEGREES;
    const P5: f32 = 0.155_578_651_846_328_1_f64 as f32 * DEGREES;
    const P7: f32 = -0.044_326_555_547_921_28_f64 as f32 * DEGREES;
    let (across, down) = (x.abs(), y.abs());
    let ratio = across.min(down) / (across.max(down) + f64::EPSILON as f32);
    let square = ratio * ratio;
    let angle = square.mul_add(P7, P5).mul_add(square, P3).mul_add(square, P1) * ratio;
    let angle = if across >= down { angle } else { 90.0 - angle };
    let angle = if x < 0.0 { 180.0 - angle } else { angle };
    let angle = if y < 0.0 { 360.0 - angle } else { angle };
    angle * (std::f64::consts::PI / 180.0) as f32
}

/// The corners of Middlebury's wheel, and the number of colours from each to the next.
const WHEEL: [([u16; 3], u16); 6] = [
    ([255, 0, 0], 15),
    ([255, 255, 0], 6),
    ([0, 255, 0], 4),
    ([0, 255, 255], 11),
    ([0, 0, 255], 13),
    ([255, 0, 255], 6),
];
const WHEEL_COLOURS: u16 = 55;

fn middlebury([right, down]: [f32; 2], largest: f32) -> Rgb<u8> {
    let [x, y] = [right, down].map(f64::from);
    let radius = (x * x + y * y).sqrt() / f64::from(largest);
    let turn = (-y).atan2(-x) / std::f64::consts::PI;
    let place = (turn + 1.0) / 2.0 * f64::from(WHEEL_COLOURS - 1);
    let index = place as u16;
    let part = place - f64::from(index);
    let (from, to) = (wheel_colour(index), wheel_colour((index + 1) % WHEEL_COLOURS));
    Rgb([0, 1, 2].map(|channel| {
        let colour = (1.0 - part) * from[channel] + part * to[channel];
        let colour = if radius <= 1.0 { 1.0 - radius * (1.0 - colour) } else { colour * 0.75 };
        (255.0 * colour) as u8
    }))
}

/// A colour of the wheel, from 0 to 1.
fn wheel_colour(index: u16) -> [f64; 3] {
    let mut step = index;
    let mut corner = 0;
    while step >= WHEEL[corner].1 {
        step -= WHEEL[corner].1;
        corner += 1;
    }
    let (from, steps) = WHEEL[corner];
    let (to, _) = WHEEL[(corner + 1) % WHEEL.len()];
    let change = 255 * step / steps;
    [0, 1, 2].map(|channel| {
        let level = match from[channel].cmp(&to[channel]) {
            Ordering::Less => change,
            Ordering::Equal => from[channel],
            Ordering::Greater => 255 - change,
        };
        f64::from(level) / 255.0
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn what_is_not_known_is_black() {
        for palette in [Palette::Hsv, Palette::Middlebury] {
            let colours = Colours::new(palette, 5.0);
            assert_eq!(colours.of([f32::NAN, 0.0]), Rgb([0; 3]));
            assert_eq!(colours.of([0.0, f32::INFINITY]), Rgb([0; 3]));
            assert_eq!(colours.of([0.0, 0.0]), Rgb([255; 3]));
        }
    }

    #[test]
    fn the_largest_motion_leaves_out_what_is_not_known() {
        let numbers = vec![3.0, -4.0, f32::NAN, 99.0, 0.5, 0.0];
        let flow = Array3::from_shape_vec((1, 3, 2), numbers).unwrap();
        assert_eq!(largest_motion(flow.view()), 5.0);
        assert_eq!(largest_motion(Array3::zeros((2, 2, 2)).view()), 1e-3);
    }

    /// Right of the wheel's centre lies the colour of motion to the right, and so on.
    #[test]
    fn the_legend_shows_every_direction() {
        for palette in [Palette::Hsv, Palette::Middlebury] {
            let colours = Colours::new(palette, 7.0);
            let mut picture = RgbImage::new(400, 300);
            colours.draw_legend(&mut picture);
            // Radius 300 / 8, rim radius / 24, margin radius / 4.
            let reach = 37.5 + 37.5 / 24.0 + 37.5 / 4.0;
            let (x, y) = (400.0 - reach, 300.0 - reach);
            for (dx, dy) in [(30.0_f32, 0.0_f32), (-30.0, 0.0), (0.0, 30.0), (0.0, -30.0)] {
                let (column, row) = ((x + dx).floor(), (y + dy).floor());
                let motion = [column + 0.5 - x, row + 0.5 - y].map(|side| side * 7.0 / 37.5);
                let found = picture.get_pixel(column as u32, row as u32);
                assert_eq!(*found, colours.of(motion), "{palette:?} at {dx}, {dy}");
            }
            assert_eq!(*picture.get_pixel(0, 0), Rgb([0; 3]));
        }
    }

    #[test]
    fn the_smallest_picture_has_room_for_a_legend() {
        let mut picture = RgbImage::new(1, 1);
        Colours::new(Palette::Hsv, 1.0).draw_legend(&mut picture);
        assert_eq!(picture.dimensions(), (1, 1));
    }
}
