use image::{Rgb, RgbImage};
use ndarray::{ArrayView3, s};

use super::colours::{coverage, mix};
use super::{Colours, sides};

/// Draws the motion over a frame as arrows.
///
/// Each square of pixels has one arrow, with the mean of its known motion, in that motion's colour.
/// An arrow of [`Colours::largest`] is as long as a square is wide; longer ones are shortened to
/// that.
///
/// # Shapes
/// - `flow`: `[height, width, 2]`
///
/// # Panics
/// If the frame has another size.
#[must_use]
pub fn arrows(frame: &RgbImage, flow: ArrayView3<'_, f32>, colours: &Colours) -> RgbImage {
    let [height, width] = sides(&flow);
    let size = [frame.height() as usize, frame.width() as usize];
    assert_eq!([height, width], size, "flow and frame differ in size");
    let square = (height.min(width) / 18).max(12);
    let mut picture = frame.clone();
    for top in (0..height).step_by(square) {
        for left in (0..width).step_by(square) {
            let (bottom, right) = ((top + square).min(height), (left + square).min(width));
            let Some(motion) = mean(flow.slice(s![top..bottom, left..right, ..])) else { continue };
            let from = [(left + right) as f32 / 2.0, (top + bottom) as f32 / 2.0];
            let distance = motion[0].hypot(motion[1]);
            let scale = square as f32 / distance.max(colours.largest());
            let to = [from[0] + motion[0] * scale, from[1] + motion[1] * scale];
            arrow(&mut picture, from, to, square as f32 / 14.0, colours.of(motion));
        }
    }
    picture
}

/// The mean of the known vectors; `None` if there are none.
fn mean(flow: ArrayView3<'_, f32>) -> Option<[f32; 2]> {
    let known = || flow.rows().into_iter().filter(|vector| vector.iter().all(|x| x.is_finite()));
    let count = known().count() as f32;
    let sum = |direction: usize| known().map(|vector| vector[direction]).sum::<f32>();
    (count > 0.0).then(|| [sum(0) / count, sum(1) / count])
}

type Point = [f32; 2];

/// Draws a shaft and two barbs, or a dot if there is no motion.
fn arrow(picture: &mut RgbImage, from: Point, to: Point, thickness: f32, colour: Rgb<u8>) {
    let shaft = [to[0] - from[0], to[1] - from[1]];
    // Barbs of a short arrow are at most as long as the arrow.
    let barb = (4.0 * thickness / shaft[0].hypot(shaft[1]).max(1e-6)).clamp(0.4, 0.7);
    let barbs = [0.6_f32, -0.6].map(|turn| {
        let (sine, cosine) = turn.sin_cos();
        let [x, y] = [shaft[0] * barb, shaft[1] * barb];
        [to[0] - (cosine * x - sine * y), to[1] - (sine * x + cosine * y)]
    });
    stroke(picture, &[[from, to], [to, barbs[0]], [to, barbs[1]]], thickness, colour);
}

/// Draws the way of a point through the frames so far, with a dot where it is now.
///
/// `places` are positions in pixels, to the right and down, with 0 in the middle of the first pixel.
/// Nothing is drawn without one.
pub fn draw_trail(picture: &mut RgbImage, places: &[[f32; 2]], colour: Rgb<u8>) {
    let thickness = (picture.width().min(picture.height()) as f32 / 150.0).max(1.5);
    let places: Vec<_> = places.iter().map(|place| place.map(|part| part + 0.5)).collect();
    let Some(&now) = places.last() else { return };
    let lines: Vec<_> = places.windows(2).map(|ends| [ends[0], ends[1]]).collect();
    if !lines.is_empty() {
        stroke(picture, &lines, thickness, colour);
    }
    stroke(picture, &[[now; 2]], 3.0 * thickness, colour);
}

/// Draws lines with round ends and a dark outline.
fn stroke(picture: &mut RgbImage, lines: &[[Point; 2]], thickness: f32, colour: Rgb<u8>) {
    const OUTLINE: Rgb<u8> = Rgb([20; 3]);
    let (radius, outline) = (thickness / 2.0, thickness / 2.0 + 1.0);
    let range = |axis: usize, side: u32| {
        let ends = || lines.iter().flatten().map(|end| end[axis]);
        let (least, most) = (ends().fold(f32::INFINITY, f32::min), ends().fold(0.0, f32::max));
        // Negative numbers become zero.
        (least - outline - 1.0) as u32..((most + outline + 2.0) as u32).min(side)
    };
    let (columns, rows) = (range(0, picture.width()), range(1, picture.height()));
    for (y, x) in rows.flat_map(|y| columns.clone().map(move |x| (y, x))) {
        let centre = [x as f32 + 0.5, y as f32 + 0.5];
        let distances = lines.iter().map(|&line| distance(centre, line));
        let distance = distances.fold(f32::MAX, f32::min);
        let pixel = picture.get_pixel_mut(x, y);
        mix(pixel, OUTLINE, coverage(distance - outline));
        mix(pixel, colour, coverage(distance - radius));
    }
}

/// Distance of a point from the line between two others.
fn distance(point: Point, [from, to]: [Point; 2]) -> f32 {
    let line = [to[0] - from[0], to[1] - from[1]];
    let start = [point[0] - from[0], point[1] - from[1]];
    let squared = line[0] * line[0] + line[1] * line[1];
    let along = (start[0] * line[0] + start[1] * line[1]) / squared.max(f32::MIN_POSITIVE);
    let along = along.clamp(0.0, 1.0);
    (start[0] - along * line[0]).hypot(start[1] - along * line[1])
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::super::Palette;
    use super::*;

    const GREY: Rgb<u8> = Rgb([128; 3]);

    /// Columns and rows of pixels that are no longer grey.
    fn changed(picture: &RgbImage) -> (Vec<u32>, Vec<u32>) {
        picture
            .enumerate_pixels()
            .filter(|(_, _, pixel)| **pixel != GREY)
            .map(|(x, y, _)| (x, y))
            .unzip()
    }

    /// One square of 12x12: its arrow starts in the centre.
    fn single(motion: [f32; 2], largest: f32) -> RgbImage {
        let frame = RgbImage::from_pixel(12, 12, GREY);
        let flow = Array3::from_shape_fn((12, 12, 2), |(_, _, direction)| motion[direction]);
        arrows(&frame, flow.view(), &Colours::new(Palette::Hsv, largest))
    }

    #[test]
    fn arrows_point_where_things_go() {
        let (columns, rows) = changed(&single([0.25, 0.0], 1.0));
        // From column 6 to 6 + 12 · 0.25, with the outline around it.
        assert_eq!((columns.iter().min(), columns.iter().max()), (Some(&4), Some(&10)));
        assert!(rows.iter().all(|row| (2..=9).contains(row)), "{rows:?}");
        let (_, rows) = changed(&single([0.0, -0.25], 1.0));
        assert_eq!((rows.iter().min(), rows.iter().max()), (Some(&1), Some(&7)));
    }

    #[test]
    fn what_rests_is_a_dot_in_white() {
        let picture = single([0.0, 0.0], 1.0);
        let (columns, rows) = changed(&picture);
        assert!(columns.iter().chain(&rows).all(|place| (4..=7).contains(place)), "{columns:?}");
        let [red, green, blue] = picture.get_pixel(6, 6).0;
        assert!(red == green && green == blue && red != 128);
    }

    #[test]
    fn a_trail_ends_in_a_dot_where_the_point_is() {
        let trail = |places: &[[f32; 2]]| {
            let mut picture = RgbImage::from_pixel(40, 20, GREY);
            draw_trail(&mut picture, places, Rgb([255, 0, 0]));
            picture
        };
        assert_eq!(changed(&trail(&[])), (Vec::new(), Vec::new()));
        let (columns, rows) = changed(&trail(&[[10.0, 5.0]]));
        assert_eq!(columns.iter().sum::<u32>(), 10 * columns.len() as u32);
        assert_eq!(rows.iter().sum::<u32>(), 5 * rows.len() as u32);
        let picture = trail(&[[5.0, 10.0], [30.0, 10.0]]);
        assert_eq!(*picture.get_pixel(20, 10), Rgb([255, 0, 0]));
        assert_eq!(*picture.get_pixel(30, 11), Rgb([255, 0, 0]));
        assert_eq!(*picture.get_pixel(20, 14), GREY);
        // Beyond the frame there is nothing to draw on.
        assert_eq!(changed(&trail(&[[-50.0, -50.0]])), (Vec::new(), Vec::new()));
        assert_eq!(changed(&trail(&[[500.0, 500.0]])), (Vec::new(), Vec::new()));
    }

    #[test]
    fn unknown_motion_has_no_arrow() {
        let (columns, _) = changed(&single([f32::NAN, 1.0], 1.0));
        assert_eq!(columns, [0; 0]);
    }

    #[test]
    fn no_arrow_is_longer_than_the_largest() {
        assert_eq!(single([1e30, 0.0], 1.0), single([1e20, 0.0], 1.0));
    }
}
