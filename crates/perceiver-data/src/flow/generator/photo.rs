use std::f32::consts::TAU;

use image::RgbImage;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::resample::{Backend, Resample, resize};

/// A photo at successively halved sizes, so that no view of it skips pixels.
#[derive(Debug)]
pub(super) struct Photo {
    sizes: Vec<RgbImage>,
}

/// The position in a photo that each position in a frame shows: the photo rotated, scaled and
/// shifted.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    image: &'a RgbImage,
    /// A complex number: its angle rotates, its length is the number of photo pixels per frame
    /// pixel.
    turn: [f32; 2],
    shift: [f32; 2],
}

impl Photo {
    /// Halves a photo until all its sizes together fit the given number of bytes.
    pub(super) fn new(mut image: RgbImage, bytes: usize) -> Self {
        /// Smaller sizes show nothing.
        const SMALLEST: u32 = 8;
        // All smaller sizes together take a third of the largest.
        while image.len() / 3 * 4 > bytes && image.width().max(image.height()) > 1 {
            image = halved(&image);
        }
        let mut sizes = vec![image];
        while let Some(last) = sizes.last()
            && last.width().min(last.height()) >= 2 * SMALLEST
        {
            let next = halved(last);
            sizes.push(next);
        }
        Self { sizes }
    }

    /// Shows a random part of the photo, at any angle, on a disc of a frame: between its slight
    /// enlargement and the scale at which all of it is visible.
    pub(super) fn draw_view(
        &self,
        centre: [f32; 2],
        radius: f32,
        random: &mut ChaCha8Rng,
    ) -> View<'_> {
        /// Photo pixels per frame pixel at the largest enlargement.
        const ENLARGED: f32 = 0.7;
        let (width, height) = self.sizes[0].dimensions();
        let whole = (width.min(height) as f32 / (2.0 * radius)).max(ENLARGED);
        let scale = ENLARGED * (whole / ENLARGED).powf(random.random());
        let level = (scale.log2().round().max(0.0) as usize).min(self.sizes.len() - 1);
        let (image, scale) = (&self.sizes[level], scale / (level as f32).exp2());
        let (sine, cosine) = random.random_range(0.0..TAU).sin_cos();
        let turn = [cosine * scale, sine * scale];
        let mut place = |side: u32| {
            let free = (side as f32 / 2.0 - radius * scale).max(0.0);
            (side - 1) as f32 / 2.0 + free * random.random_range(-1.0..1.0)
        };
        let [x, y] = [place(image.width()), place(image.height())];
        let shift = [
            x - turn[0] * centre[0] + turn[1] * centre[1],
            y - turn[1] * centre[0] - turn[0] * centre[1],
        ];
        View { image, turn, shift }
    }
}

impl View<'_> {
    /// The colour at a position in the frame, interpolated from four pixels. The photo is mirrored
    /// at its borders.
    pub(super) fn colour(&self, [x, y]: [f32; 2]) -> [f32; 3] {
        let [real, imaginary] = self.turn;
        let (width, height) = (self.image.width() as usize, self.image.height() as usize);
        let (left, right, across) = between(real * x - imaginary * y + self.shift[0], width);
        let (top, bottom, down) = between(imaginary * x + real * y + self.shift[1], height);
        let levels = self.image.as_raw();
        let pixel = |row: usize, column: usize| &levels[(row * width + column) * 3..][..3];
        let (top, bottom) =
            ([pixel(top, left), pixel(top, right)], [pixel(bottom, left), pixel(bottom, right)]);
        let along = |row: [&[u8]; 2], channel: usize| {
            let [left, right] = row.map(|pixel| f32::from(pixel[channel]));
            left + across * (right - left)
        };
        std::array::from_fn(|channel| {
            let upper = along(top, channel);
            upper + down * (along(bottom, channel) - upper)
        })
    }
}

/// The pixels on both sides of a position, and its fraction of the way from the first to the
/// second.
fn between(place: f32, side: usize) -> (usize, usize, f32) {
    let last = (side - 1) as f32;
    let place = if (0.0..=last).contains(&place) {
        place
    } else {
        let there_and_back = place.rem_euclid((2.0 * last).max(1.0));
        there_and_back.min(2.0 * last - there_and_back).clamp(0.0, last)
    };
    let before = place as usize;
    (before, (before + 1).min(side - 1), place - before as f32)
}

fn halved(image: &RgbImage) -> RgbImage {
    let sides = (image.width().div_ceil(2), image.height().div_ceil(2));
    resize(image, sides, Resample::Box, Backend::Pil)
}

#[cfg(test)]
impl<'a> View<'a> {
    /// The photo at its own size.
    pub(super) fn plain(image: &'a RgbImage) -> Self {
        Self { image, turn: [1.0, 0.0], shift: [0.0; 2] }
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use rand::SeedableRng;

    use super::*;

    /// Red is the column, green the row.
    fn ramp(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 7]))
    }

    #[test]
    fn colours_between_pixels_are_weighed() {
        let image = ramp(9, 6);
        let colour = View::plain(&image).colour([3.25, 4.5]);
        assert_eq!(colour, [3.25, 4.5, 7.0]);
    }

    #[test]
    fn photos_are_mirrored_at_their_edges() {
        let image = ramp(5, 4);
        let view = View::plain(&image);
        assert_eq!(view.colour([-1.5, 3.25]), [1.5, 2.75, 7.0]);
        assert_eq!(view.colour([4.5, -3.0]), [3.5, 3.0, 7.0]);
        assert_eq!(view.colour([8.5, 0.0]), [0.5, 0.0, 7.0]);
        let single = RgbImage::from_pixel(1, 1, Rgb([9; 3]));
        assert_eq!(View::plain(&single).colour([-2.5, 13.0]), [9.0; 3]);
    }

    #[test]
    fn views_lie_within_the_photo_where_it_is_large_enough() {
        let photo = Photo::new(ramp(100, 80), usize::MAX);
        let mut random = ChaCha8Rng::seed_from_u64(4);
        for _ in 0..200 {
            let View { image, turn, shift } = photo.draw_view([20.0, 30.0], 10.0, &mut random);
            let scale = turn[0].hypot(turn[1]);
            let x = turn[0] * 20.0 - turn[1] * 30.0 + shift[0];
            let y = turn[1] * 20.0 + turn[0] * 30.0 + shift[1];
            for (place, side) in [(x, image.width()), (y, image.height())] {
                let reach = place - 10.0 * scale..=place + 10.0 * scale;
                assert!(*reach.start() >= -1.0 && *reach.end() <= side as f32, "{reach:?}");
            }
            assert!((0.69..1.43).contains(&scale), "{scale}");
        }
    }

    #[test]
    fn photos_keep_within_their_memory() {
        let photo = Photo::new(ramp(200, 100), 19_000);
        assert_eq!(photo.sizes[0].dimensions(), (50, 25));
        let bytes: usize = photo.sizes.iter().map(|image| image.len()).sum();
        assert!(bytes <= 19_000, "{bytes}");
        assert_eq!(Photo::new(ramp(3, 2), 0).sizes[0].dimensions(), (1, 1));
    }
}
