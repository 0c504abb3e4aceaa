//! Drawing SVG.

use plotters::coord::Shift;
use plotters::prelude::*;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Colours that colour-blind readers can tell apart.
///
/// # Source
/// The palette of Okabe and Ito.
pub(super) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(super) const VERMILION: RGBColor = RGBColor(213, 94, 0);

/// Labels and titles.
pub(super) const INK: RGBColor = RGBColor(40, 40, 40);
pub(super) const FONT: &str = "sans-serif";

/// A picture in SVG. The viewer brings the font.
pub(super) fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
    let drawn = area.fill(&WHITE).and_then(|()| draw(&area)).and_then(|()| area.present());
    drawn.expect("writing to memory cannot fail");
    drop(area);
    text
}

/// Text without control characters, which XML does not allow, cut to `longest` characters.
pub(super) fn shortened(text: &str, longest: usize) -> String {
    let clean = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    let mut shown: String = text.chars().take(longest).map(clean).collect();
    if text.chars().nth(longest).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}
