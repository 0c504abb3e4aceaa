//! Confusion matrices of classifiers.

use std::collections::BTreeMap;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::grouped;
use super::picture::{Area, BLUE, Drawn, FONT, INK, shortened, svg};

/// Largest number of classes in a picture, which prefers the lowest F1.
const MAX_CLASSES: usize = 32;

/// Largest number of characters of a class's name in a picture.
const MAX_NAME: usize = 18;

const CELL: i32 = 38;
const LETTER: i32 = 9;
const TITLE: i32 = 84;
const MARGIN: i32 = 16;
const GAP: i32 = 8;

/// Width of the title.
const MIN_WIDTH: i32 = 480;

/// A classifier's answers, counted by right class.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confusion {
    /// Examples by right class and answer. With many classes, most pairs never occur.
    counts: BTreeMap<(usize, usize), u64>,
    /// Examples whose right class was among the five highest scores.
    in_top_five: u64,
}

impl Confusion {
    /// Counts an answer: the classes with the highest scores, best first; five of them or all.
    ///
    /// # Panics
    /// If there is no class.
    pub fn add(&mut self, right: usize, ranked: &[usize]) {
        *self.counts.entry((right, ranked[0])).or_default() += 1;
        self.in_top_five += u64::from(ranked.iter().take(5).any(|class| *class == right));
    }

    /// Number of examples.
    #[must_use]
    pub fn examples(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Examples of class `right` whose highest score was that of `answer`.
    #[must_use]
    pub fn count(&self, right: usize, answer: usize) -> u64 {
        self.counts.get(&(right, answer)).copied().unwrap_or(0)
    }

    /// Share of examples whose right class had the highest score; NaN without examples.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let right = self.counts.iter().filter(|((right, answer), _)| right == answer);
        right.map(|(_, count)| count).sum::<u64>() as f64 / self.examples() as f64
    }

    /// Share of examples whose right class was among the five highest scores; NaN without examples.
    #[must_use]
    pub fn top_five_accuracy(&self) -> f64 {
        self.in_top_five as f64 / self.examples() as f64
    }

    /// Harmonic mean of precision and recall, for each class that was right or answered.
    ///
    /// # Source
    /// `sklearn.metrics.f1_score`.
    #[must_use]
    pub fn f1(&self) -> BTreeMap<usize, f64> {
        let mut sums: BTreeMap<usize, [u64; 2]> = BTreeMap::new();
        for (&(right, answer), &count) in &self.counts {
            let hits = if right == answer { count } else { 0 };
            for class in [right, answer] {
                let [hit, all] = sums.entry(class).or_default();
                *hit += hits;
                *all += count;
            }
        }
        sums.into_iter().map(|(class, [hit, all])| (class, hit as f64 / all as f64)).collect()
    }

    /// Unweighted mean of [`f1`](Self::f1) over the classes; NaN without examples.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        let all = self.f1();
        all.values().sum::<f64>() / all.len() as f64
    }

    /// Draws the counts as SVG: a row for each right class, a column for each answer, shaded by the
    /// share of the row. `name` names the classes.
    #[must_use]
    pub fn picture(&self, name: impl Fn(usize) -> String) -> String {
        let f1 = self.f1();
        let mut classes: Vec<usize> = f1.keys().copied().collect();
        classes.sort_by(|one, other| f1[one].total_cmp(&f1[other]));
        classes.truncate(MAX_CLASSES);
        classes.sort_unstable();
        let names = classes.iter().map(|&class| shortened(&name(class), MAX_NAME));
        let names: Vec<String> = names.collect();
        let letters = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let (beside, side) = (2 * GAP + LETTER * letters as i32, CELL * classes.len() as i32);
        let (left, right, bottom) = (MARGIN + beside, MARGIN + beside + side, TITLE + side);
        let size = ((right + 2 * CELL).max(MIN_WIDTH), bottom + beside + MARGIN);
        svg((size.0 as u32, size.1 as u32), |area| {
            self.title(area, classes.len(), f1.len())?;
            text(area, "F1", (right + GAP, TITLE - 12), HPos::Left, &INK)?;
            for (at, (&class, name)) in (0..).zip(classes.iter().zip(&names)) {
                let top = TITLE + CELL * at;
                self.row(area, (left, top), class, &classes)?;
                let middle = top + CELL / 2;
                text(area, name, (left - GAP, middle), HPos::Right, &INK)?;
                text(area, &format!("{:.3}", f1[&class]), (right + GAP, middle), HPos::Left, &INK)?;
                let below = (left + CELL * at + CELL / 2, bottom + GAP);
                let upwards = style(HPos::Right, &INK).transform(FontTransform::Rotate270);
                area.draw(&Text::new(name.as_str(), below, upwards))?;
            }
            Ok(())
        })
    }

    fn title(&self, area: &Area<'_>, shown: usize, classes: usize) -> Drawn {
        let title = format!(
            "accuracy {:.2} %, macro F1 {:.3}, {} examples",
            100.0 * self.accuracy(),
            self.macro_f1(),
            grouped(self.examples())
        );
        text(area, &title, (MARGIN, 22), HPos::Left, &INK)?;
        let mut legend = "rows: right class, columns: answer".to_owned();
        if shown < classes {
            legend.push_str(&format!("; {shown} of {classes} classes, those of the lowest F1"));
        }
        text(area, &legend, (MARGIN, 44), HPos::Left, &INK)
    }

    fn row(
        &self,
        area: &Area<'_>,
        (left, y): (i32, i32),
        right: usize,
        classes: &[usize],
    ) -> Drawn {
        let all: u64 = self.counts.range((right, 0)..=(right, usize::MAX)).map(|(_, n)| n).sum();
        for (column, &answer) in classes.iter().enumerate() {
            let x = left + CELL * column as i32;
            let count = self.count(right, answer);
            let share = if all == 0 { 0.0 } else { count as f64 / all as f64 };
            let cell = [(x, y), (x + CELL, y + CELL)];
            area.draw(&Rectangle::new(cell, shade(share).filled()))?;
            let edge = if right == answer { INK } else { RGBColor(220, 220, 220) };
            area.draw(&Rectangle::new(cell, edge.stroke_width(1)))?;
            if count > 0 {
                let ink = if share > 0.5 { &WHITE } else { &INK };
                let middle = (x + CELL / 2, y + CELL / 2);
                text(area, &short(count), middle, HPos::Center, ink)?;
            }
        }
        Ok(())
    }
}

/// From white to blue. The square root makes rare mistakes visible.
fn shade(share: f64) -> RGBColor {
    let mix = |end: u8| (255.0 + (f64::from(end) - 255.0) * share.sqrt()).round() as u8;
    RGBColor(mix(BLUE.0), mix(BLUE.1), mix(BLUE.2))
}

/// A count short enough for its cell.
fn short(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..10_000_000 => format!("{}k", count / 1000),
        _ => format!("{}M", count / 1_000_000),
    }
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), side: HPos, colour: &RGBColor) -> Drawn {
    area.draw(&Text::new(text, at, style(side, colour)))
}

fn style(side: HPos, colour: &RGBColor) -> TextStyle<'_> {
    TextStyle::from((FONT, 16)).pos(Pos::new(side, VPos::Center)).color(colour)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn confusion(answers: &[(usize, usize)]) -> Confusion {
        let mut confusion = Confusion::default();
        answers.iter().for_each(|&(right, answer)| confusion.add(right, &[answer]));
        confusion
    }

    /// Class 0 has two hits, no false alarm and one miss; class 1 a hit and two false alarms;
    /// class 2 a miss alone.
    #[test]
    fn f1_is_the_harmonic_mean_of_precision_and_recall() {
        let confusion = confusion(&[(0, 0), (0, 0), (0, 1), (1, 1), (2, 1)]);
        assert_eq!(confusion.accuracy(), 0.6);
        let f1 = |precision: f64, recall: f64| 2.0 * precision * recall / (precision + recall);
        let expected = [f1(1.0, 2.0 / 3.0), f1(1.0 / 3.0, 1.0), 0.0];
        for (class, expected) in expected.into_iter().enumerate() {
            assert!((confusion.f1()[&class] - expected).abs() < 1e-12, "{class}");
        }
        let mean = expected.iter().sum::<f64>() / 3.0;
        assert!((confusion.macro_f1() - mean).abs() < 1e-12);
    }

    #[test]
    fn the_fifth_score_counts_and_the_sixth_does_not() {
        let mut confusion = Confusion::default();
        confusion.add(4, &[0, 1, 2, 3, 4, 5]);
        confusion.add(5, &[0, 1, 2, 3, 4, 5]);
        assert_eq!((confusion.accuracy(), confusion.top_five_accuracy()), (0.0, 0.5));
    }

    #[test]
    fn names_from_strangers_stay_text() {
        let picture = confusion(&[(0, 1)]).picture(|class| format!("</text>\u{7}<a>&{class}"));
        assert!(!picture.contains("<a>") && !picture.contains('\u{7}'), "{picture}");
        assert!(picture.contains("&lt;/text&gt;"), "{picture}");
    }

    #[test]
    fn a_picture_shows_the_worst_of_many_classes() {
        let mut answers: Vec<_> = (0..1000).map(|class| (class, class)).collect();
        answers.push((777, 888));
        let picture = confusion(&answers).picture(|class| format!("class {class};"));
        assert!(picture.contains("class 777;") && picture.contains("class 888;"));
        assert!(picture.contains(&format!("{MAX_CLASSES} of 1000 classes")));
        assert!(!picture.contains("class 999;"));
    }

    #[test]
    fn without_examples_there_is_no_accuracy() {
        let nothing = Confusion::default();
        assert!(nothing.accuracy().is_nan() && nothing.macro_f1().is_nan());
        assert!(nothing.picture(|class| class.to_string()).starts_with("<svg"));
    }
}
