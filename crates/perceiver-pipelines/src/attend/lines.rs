//! A text in lines of characters, with heat behind each.

use image::{Rgb, RgbImage};
use unifont::{Glyph, get_glyph};

use super::picture::{colours, level, scale};
use super::{AttentionMap, Character};

/// Width of a narrow character in pixels; a wide one, as in Chinese, takes two columns.
const COLUMN: usize = 8;
/// Columns per line.
const COLUMNS: usize = 64;
/// Height of a character in pixels.
const LETTER: usize = 16;
/// Height of a line in pixels, with characters in the middle.
const LINE: usize = 20;
/// Pixels of the picture per pixel of the font, along either side.
const ENLARGED: u32 = 2;
/// Characters on this level of heat or above are dark.
const BRIGHT: u8 = 150;

/// The layout of characters.
pub(super) struct Lines {
    letters: Vec<Letter>,
    /// Number of columns in the longest line.
    columns: usize,
    lines: usize,
}

struct Letter {
    glyph: &'static Glyph,
    /// The text's character that it belongs to; special tokens are drawn with several.
    character: usize,
    line: usize,
    column: usize,
}

impl Lines {
    pub(super) fn new(characters: &[Character]) -> Self {
        let mut lines = Self { letters: Vec::new(), columns: 0, lines: 1 };
        let mut column = 0;
        for (index, character) in characters.iter().enumerate() {
            let glyphs: Vec<_> = character.text.chars().filter_map(glyph).collect();
            let width = |glyph: &Glyph| glyph.get_width() / COLUMN;
            // Special tokens are not split.
            let mut needed = glyphs.iter().map(|glyph| width(glyph)).sum::<usize>().min(COLUMNS);
            for glyph in glyphs {
                if column + needed.max(width(glyph)) > COLUMNS {
                    (column, lines.lines) = (0, lines.lines + 1);
                }
                needed = 0;
                let line = lines.lines - 1;
                lines.letters.push(Letter { glyph, character: index, line, column });
                column += width(glyph);
                lines.columns = lines.columns.max(column);
            }
            if character.text == "\n" {
                (column, lines.lines) = (0, lines.lines + 1);
            }
        }
        lines
    }

    pub(super) fn picture(&self, map: &AttentionMap) -> RgbImage {
        let top = scale(map).top;
        let colours = colours();
        let (width, height) = (self.columns * COLUMN, self.lines * LINE);
        let (width, height) = (width as u32 * ENLARGED, height as u32 * ENLARGED);
        let mut picture = RgbImage::from_pixel(width, height, Rgb(colours[0]));
        for letter in &self.letters {
            let level = level(map.weights[letter.character], top);
            let ink = if level < BRIGHT { Rgb([255; 3]) } else { Rgb([0; 3]) };
            let ground = Rgb(colours[usize::from(level)]);
            let corner = [letter.column * COLUMN, letter.line * LINE];
            for y in 0..LINE as u32 * ENLARGED {
                for x in 0..letter.glyph.get_width() as u32 * ENLARGED {
                    let row = (y / ENLARGED) as usize;
                    let row = row.checked_sub((LINE - LETTER) / 2).unwrap_or(LETTER);
                    let is_ink = letter.glyph.get_pixel((x / ENLARGED) as usize, row);
                    let [left, above] = corner.map(|corner| corner as u32 * ENLARGED);
                    picture.put_pixel(left + x, above + y, if is_ink { ink } else { ground });
                }
            }
        }
        picture
    }
}

/// The glyph of a character; line ends are arrows, and characters missing from the font are
/// question marks in a diamond.
fn glyph(letter: char) -> Option<&'static Glyph> {
    let shown = if letter == '\n' { '\u{21b5}' } else { letter };
    get_glyph(shown).or_else(|| get_glyph(char::REPLACEMENT_CHARACTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Lines {
        let character = |text: &&str| Character { text: (*text).to_owned(), range: None };
        Lines::new(&texts.iter().map(character).collect::<Vec<_>>())
    }

    fn places(lines: &Lines) -> Vec<[usize; 3]> {
        let place = |letter: &Letter| [letter.character, letter.line, letter.column];
        lines.letters.iter().map(place).collect()
    }

    #[test]
    fn letters_follow_each_other_and_wide_ones_take_two_columns() {
        let lines = lines(&["[A]", "\u{4e2d}", "b", "\n", "c"]);
        let expected =
            [[0, 0, 0], [0, 0, 1], [0, 0, 2], [1, 0, 3], [2, 0, 5], [3, 0, 6], [4, 1, 0]];
        assert_eq!(places(&lines), expected);
        assert_eq!((lines.columns, lines.lines), (7, 2));
    }

    #[test]
    fn a_full_line_is_followed_by_another() {
        let lines = lines(&["x"; COLUMNS + 1]);
        assert_eq!(places(&lines)[COLUMNS], [COLUMNS, 1, 0]);
        let weights = vec![1.0; COLUMNS + 1];
        let picture = lines.picture(&AttentionMap { head: None, row: None, weights });
        assert_eq!(picture.dimensions(), (1024, 80));
    }

    #[test]
    fn special_tokens_stay_whole() {
        let texts = [vec!["x"; COLUMNS - 2], vec!["[A]", "y"]].concat();
        assert_eq!(
            places(&lines(&texts))[COLUMNS - 2..],
            [[62, 1, 0], [62, 1, 1], [62, 1, 2], [63, 1, 3]]
        );
    }

    #[test]
    fn letters_stand_on_the_colour_of_their_weight() {
        let map = AttentionMap { head: None, row: None, weights: vec![1.0, 0.0] };
        let picture = lines(&["I", " "]).picture(&map);
        let [.., darkest] = [255, 0].map(|level| Rgb(colours()[level]));
        let brightest = Rgb(colours()[255]);
        assert_eq!([*picture.get_pixel(0, 0), *picture.get_pixel(31, 39)], [brightest, darkest]);
        // The letter is dark on bright ground: its stem is in the middle.
        let dark = picture.pixels().filter(|pixel| **pixel == Rgb([0; 3])).count();
        assert!(dark > 40, "{dark}");
        assert!(picture.pixels().all(|pixel| *pixel != Rgb([255; 3])));
    }

    #[test]
    fn letters_without_a_form_are_told_apart_from_none() {
        assert_eq!(lines(&["\u{1f600}", "\u{7}"]).letters.len(), 2);
    }
}
