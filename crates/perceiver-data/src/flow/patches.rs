use image::RgbImage;
use ndarray::{Array3, Array4, s};

/// The optical flow model's input: the 3x3 patch around every pixel of a tile in two frames.
///
/// Pixels outside the tile are zero, the middle grey, even if the frame extends past the tile.
///
/// # Shapes
/// - `start`: row and column of the tile's first pixel; `tile`: its height and width
/// - returns: `[2, 27, height, width]` in `[-1, 1]`; the channels of a patch are in the order row,
///   column, colour
///
/// # Panics
/// If the tile is not inside both frames.
///
/// # Source
/// `x / 255 · 2 - 1` and the patches of DeepMind's notebook; transformers leaves both to its user.
#[must_use]
pub fn patches(frames: [&RgbImage; 2], start: [usize; 2], tile: [usize; 2]) -> Array4<f32> {
    let [height, width] = tile;
    let mut patches = Array4::zeros((2, 27, height, width));
    for (frame, image) in frames.into_iter().enumerate() {
        let pixels = normalised(image, start, tile);
        for (neighbour, (dy, dx)) in (0..3).flat_map(|y| (0..3).map(move |x| (y, x))).enumerate() {
            let ((to_y, from_y), (to_x, from_x)) = (shifted(dy, height), shifted(dx, width));
            let channels = 3 * neighbour..3 * neighbour + 3;
            let pixels = pixels.slice(s![.., from_y, from_x]);
            patches.slice_mut(s![frame, channels, to_y, to_x]).assign(&pixels);
        }
    }
    patches
}

/// A tile's pixels, `[3, height, width]`.
fn normalised(image: &RgbImage, [top, left]: [usize; 2], tile: [usize; 2]) -> Array3<f32> {
    let ([height, width], columns) = (tile, image.width() as usize);
    let inside = top + height <= image.height() as usize && left + width <= columns;
    assert!(inside, "a tile of {height}x{width} at {top}, {left} leaves the frame");
    let levels = image.as_raw();
    Array3::from_shape_fn((3, height, width), |(colour, y, x)| {
        let level = levels[((top + y) * columns + left + x) * 3 + colour];
        f32::from(level) / 255.0 * 2.0 - 1.0
    })
}

type Range = std::ops::Range<usize>;

/// The positions along a side that have a given neighbour, and the neighbours' positions: `place`
/// is 0 for the previous position, 1 for the position itself and 2 for the next one.
fn shifted(place: usize, side: usize) -> (Range, Range) {
    match place {
        0 => (1..side, 0..side - 1),
        1 => (0..side, 0..side),
        _ => (0..side - 1, 1..side),
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    /// Every channel is the pixel that its place in the patch says.
    #[test]
    fn channels_are_row_column_colour() {
        let image = |shift: u8| {
            RgbImage::from_fn(7, 6, |x, y| {
                Rgb([0, 1, 2].map(|colour| shift + (y * 7 + x) as u8 * 3 + colour))
            })
        };
        let (first, second) = (image(0), image(100));
        let ([top, left], [height, width]) = ([1, 2], [4, 5]);
        let patches = patches([&first, &second], [top, left], [height, width]);
        assert_eq!(patches.dim(), (2, 27, height, width));
        for ((frame, channel, y, x), &found) in patches.indexed_iter() {
            let (dy, dx, colour) = (channel / 9, channel / 3 % 3, channel % 3);
            let (row, column) = (y + dy, x + dx);
            let inside = (1..=height).contains(&row) && (1..=width).contains(&column);
            let expected = if inside {
                let level = ((top + row - 1) * 7 + left + column - 1) * 3 + colour + 100 * frame;
                level as f32 / 255.0 * 2.0 - 1.0
            } else {
                0.0
            };
            assert_eq!(found, expected, "frame {frame}, channel {channel} at {y}, {x}");
        }
    }

    #[test]
    #[should_panic(expected = "a tile of 2x3 at 1, 0 leaves the frame")]
    fn tiles_beyond_the_frame_are_refused() {
        let image = RgbImage::new(3, 2);
        let _ = patches([&image, &image], [1, 0], [2, 3]);
    }

    #[test]
    fn a_single_pixel_has_no_neighbours() {
        let image = RgbImage::from_pixel(1, 1, Rgb([255, 0, 255]));
        let patches = patches([&image, &image], [0, 0], [1, 1]);
        let found: Vec<f32> = patches.iter().copied().filter(|&value| value != 0.0).collect();
        assert_eq!(found, [1.0, -1.0, 1.0, 1.0, -1.0, 1.0]);
    }
}
