//! The learning curve of a run.

use std::ops::Range;

use plotters::prelude::*;

use super::picture::{Area, BLUE, Drawn, FONT, INK, VERMILION, svg};
use super::{Log, Record};
use crate::Metric;

/// Name of the picture in a run's folder.
pub const CURVE_NAME: &str = "learning-curve.svg";

const WIDTH: u32 = 800;
const PANEL_HEIGHT: u32 = 320;

/// Points of a line that this width can show.
const MAX_POINTS: usize = 1000;

/// Lines with fewer points show them as dots.
const MAX_DOTS: usize = 100;

/// No genuine value is larger, and axis labels of larger ones would not differ.
const MAX_VALUE: f64 = 1e9;

/// Draws a run's loss over its steps and, below it, its first metric. Returns SVG.
///
/// In a long log, each point of a line is the mean of several records. Values that are not finite or
/// beyond 10⁹ leave a gap.
#[must_use]
pub fn learning_curve(log: &Log) -> String {
    let records = || log.train.iter().chain(&log.validation);
    let metric = records().find_map(|record| record.measures.iter().next()).map(|(found, _)| found);
    let panels = 1 + usize::from(metric.is_some());
    svg((WIDTH, PANEL_HEIGHT * panels as u32), |area| {
        let areas = area.split_evenly((panels, 1));
        panel(&areas[0], "loss", false, log, |record| Some(record.loss))?;
        let Some(metric) = metric else { return Ok(()) };
        let value = |record: &Record| record.measures.get(metric);
        panel(&areas[1], &label(metric), metric.higher_is_better, log, value)
    })
}

/// A metric with its unit.
fn label(metric: &Metric) -> String {
    match metric.unit.as_ref() {
        "" | "bits" => metric.name.clone().into_owned(),
        unit => format!("{} ({unit})", metric.name),
    }
}

fn panel(
    area: &Area<'_>,
    label: &str,
    rises: bool,
    log: &Log,
    value: impl Fn(&Record) -> Option<f64>,
) -> Drawn {
    let points = |records: &[Record]| {
        let points = records.iter().filter_map(|at| Some((at.step as f64, value(at)?)));
        thinned(points.collect())
    };
    let [train, validation] = [points(&log.train), points(&log.validation)];
    let all = || train.iter().chain(&validation).filter(|at| is_drawn(at));
    let last = all().map(|(step, _)| *step).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_right(28)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..last, range(all().map(|(_, value)| *value)))?;
    chart
        .configure_mesh()
        .x_desc("steps")
        .y_desc(label)
        .x_labels(9)
        .y_labels(7)
        .max_light_lines(0)
        .bold_line_style(INK.mix(0.15))
        .axis_style(INK.mix(0.5))
        .label_style((FONT, 16, &INK))
        .axis_desc_style((FONT, 17, &INK))
        .x_label_formatter(&|step| step_label(*step))
        .y_label_formatter(&|value| value_label(*value))
        .draw()?;
    for (name, colour, points) in [("train", BLUE, train), ("validation", VERMILION, validation)] {
        if points.is_empty() {
            continue;
        }
        let style = colour.stroke_width(2);
        let runs = points.split(|at| !is_drawn(at));
        chart
            .draw_series(runs.map(|run| PathElement::new(run, style)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
        // A value with gaps on both sides is a line of length zero.
        let dots = if points.len() < MAX_DOTS { &points[..] } else { &[] };
        let dots = dots.iter().filter(|at| is_drawn(at));
        chart.draw_series(dots.map(|at| Circle::new(*at, 3, colour.filled())))?;
    }
    // The corner where the lines do not end.
    let corner =
        if rises { SeriesLabelPosition::LowerRight } else { SeriesLabelPosition::UpperRight };
    chart
        .configure_series_labels()
        .position(corner)
        .margin(8)
        .legend_area_size(32)
        .label_font((FONT, 16, &INK))
        .background_style(WHITE.mix(0.8))
        .border_style(INK.mix(0.3))
        .draw()
}

fn is_drawn((step, value): &(f64, f64)) -> bool {
    value.abs() <= MAX_VALUE && *step <= MAX_VALUE
}

/// Means over neighbours, at most [`MAX_POINTS`] of them.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(MAX_POINTS).max(1);
    let mean = |some: &[(f64, f64)]| {
        let sum = some.iter().fold((0.0, 0.0), |sum, at| (sum.0 + at.0, sum.1 + at.1));
        (sum.0 / some.len() as f64, sum.1 / some.len() as f64)
    };
    points.chunks(size).map(mean).collect()
}

/// From the lowest to the highest value, with a margin.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let ends = values.fold(None, |ends: Option<(f64, f64)>, value| {
        let (low, high) = ends.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    });
    let (low, high) = ends.unwrap_or((0.0, 1.0));
    // The margin keeps the last digits of nearly equal values off the axis.
    let air = ((high - low) / 20.0).max(high.abs().max(low.abs()) / 1e3);
    let air = if air > 0.0 { air } else { 1.0 };
    low - air..high + air
}

/// 12000 as `12k`.
fn step_label(step: f64) -> String {
    match step {
        1e6.. => format!("{}M", step / 1e6),
        1e4.. => format!("{}k", step / 1e3),
        _ => format!("{step}"),
    }
}

/// A number of any size in a few digits.
fn value_label(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e6).contains(&value.abs()) {
        return format!("{value:.1e}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Part;

    fn log(losses: &[f64]) -> Log {
        let records = losses.iter().zip(1..).map(|(&loss, step)| Record {
            step,
            part: Part::Train,
            loss,
            measures: [(Metric::ACCURACY, loss)].into_iter().collect(),
            learning_rate: None,
            seconds: 0.0,
        });
        Log { train: records.collect(), validation: Vec::new() }
    }

    fn lines(picture: &str) -> usize {
        picture.matches("<polyline fill=\"none\" opacity=\"1\" stroke=\"#0072B2\"").count()
    }

    #[test]
    fn every_log_can_be_drawn() {
        let extremes = [f64::MAX, f64::MIN, f64::INFINITY, f64::NAN, 5e-324, 0.0];
        let mut last = log(&[1.0]);
        last.train[0].step = u64::MAX;
        let several = extremes.map(|one| log(&[one, one])).into_iter();
        for log in several.chain([Log::default(), log(&[]), log(&[1.0]), log(&extremes), last]) {
            assert!(learning_curve(&log).ends_with("</svg>\n"));
        }
    }

    /// Each of two panels has a line, and a sample of it in the legend.
    #[test]
    fn a_number_that_is_not_finite_leaves_a_gap() {
        let whole = lines(&learning_curve(&log(&[3.0, 2.0, 1.5, 1.0, 0.5])));
        let broken = lines(&learning_curve(&log(&[3.0, 2.0, f64::NAN, 1.0, 0.5])));
        assert_eq!((whole, broken), (4, 6));
    }

    #[test]
    fn a_long_log_is_drawn_with_few_points() {
        let losses: Vec<f64> = (0..100_000).map(f64::from).collect();
        assert!(learning_curve(&log(&losses)).len() < 100_000);
        assert_eq!(thinned(vec![(0.0, 1.0); 3]).len(), 3);
    }

    #[test]
    fn axes_have_short_labels() {
        assert_eq!([0.0, 500.0, 12_000.0, 2.5e6].map(step_label), ["0", "500", "12k", "2.5M"]);
        assert_eq!([0.0, 0.25, 87.5, 1e-5].map(value_label), ["0", "0.25", "87.5", "1.0e-5"]);
    }
}
