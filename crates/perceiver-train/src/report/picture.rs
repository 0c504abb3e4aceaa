//! Drawing into text.

use plotters::coord::Shift;
use plotters::prelude::*;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Colours that stay apart for the colour-blind.
///
/// # Source
/// The palette of Okabe and Ito.
pub(super) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(super) const VERMILION: RGBColor = RGBColor(213, 94, 0);

/// Text beside and inside of what is drawn.
pub(super) const INK: RGBColor = RGBColor(40, 40, 40);
pub(super) const FONT: &str = "sans-serif";

/// A picture in SVG. Its letters are the reader's: none are needed to draw it.
pub(super) fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
    let drawn = area.fill(&WHITE).and_then(|()| draw(&area)).and_then(|()| area.present());
    drawn.expect("memory takes what is written to it");
    drop(area);
    text
}

/// Text without what XML has no place for, at most `longest` characters of it.
pub(super) fn shortened(text: &str, longest: usize) -> String {
    let clean = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    let mut shown: String = text.chars().take(longest).map(clean).collect();
    if text.chars().nth(longest).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}
