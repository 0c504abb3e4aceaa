//! Thumbnails on a terminal.

use clap::builder::styling::{RgbColor, Style};
use image::{RgbImage, imageops};

/// Most columns of a thumbnail.
const COLUMNS: u32 = 40;
/// Most lines of a thumbnail.
const LINES: u32 = 12;

/// A thumbnail in half blocks: each character shows two pixels, one above the other.
pub(crate) fn thumbnail(image: &RgbImage) -> String {
    let sides = [image.width(), image.height()].map(f64::from);
    let scale = (f64::from(COLUMNS) / sides[0]).min(f64::from(2 * LINES) / sides[1]).min(1.0);
    let [width, height] = sides.map(|side| ((side * scale).round() as u32).max(1));
    let small = imageops::thumbnail(image, width, height);
    let colour = |x, y| {
        let pixel = small.get_pixel_checked(x, y);
        pixel.map(|pixel| RgbColor(pixel.0[0], pixel.0[1], pixel.0[2]).into())
    };
    let mut text = String::new();
    for y in (0..height).step_by(2) {
        text.push_str("  ");
        for x in 0..width {
            let style = Style::new().fg_color(colour(x, y)).bg_color(colour(x, y + 1));
            text.push_str(&format!("{style}▀{style:#}"));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn a_character_shows_two_pixels() {
        let image = RgbImage::from_fn(2, 3, |x, y| Rgb([x as u8, y as u8, 7]));
        let expected = "  \u{1b}[38;2;0;0;7m\u{1b}[48;2;0;1;7m▀\u{1b}[0m\
                        \u{1b}[38;2;1;0;7m\u{1b}[48;2;1;1;7m▀\u{1b}[0m\n  \
                        \u{1b}[38;2;0;2;7m▀\u{1b}[0m\u{1b}[38;2;1;2;7m▀\u{1b}[0m\n";
        assert_eq!(thumbnail(&image), expected);
    }

    #[test]
    fn long_and_narrow_photos_have_room() {
        for (width, height, columns, lines) in
            [(4000, 10, 40, 1), (10, 4000, 1, 12), (640, 480, 32, 12), (4, 4, 4, 2)]
        {
            let picture = thumbnail(&RgbImage::new(width, height));
            assert_eq!(picture.lines().count(), lines);
            assert_eq!(picture.matches('▀').count(), columns * lines);
        }
    }
}
