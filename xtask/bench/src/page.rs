//! docs/performance.md, the summary, and docs/benchmarks.md, the log: tables between marks, prose
//! around them written by hand.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};
use perceiver_workspace::{replace, root};

use super::case::CASES;
use super::record::{Comparison, Growth, Measured, Records, Setting, Side};

/// The sides in the order of the columns, and their names in the header.
const SIDES: [(&str, &str); 4] = [
    ("ours", "ours"),
    ("eager", "PyTorch"),
    ("compile", "PyTorch, compiled"),
    ("onnxruntime", "ONNX Runtime"),
];

/// The summary shows this precision only.
const SUMMARISED: &str = "f32";

type Column = (&'static str, &'static str);

/// Fills the tables of both pages.
pub(super) fn write(records: &Records) -> Result<()> {
    let Records { comparisons, growth } = records;
    write_page("performance.md", &[("compare", summary(comparisons))])?;
    write_page("benchmarks.md", &[("compare", log(comparisons)), ("linear", grown(growth))])
}

fn write_page(name: &str, blocks: &[(&str, String)]) -> Result<()> {
    let path = root().join("docs").join(name);
    let mut page = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    for (block, text) in blocks {
        page = fill(&page, block, text)
            .with_context(|| format!("{name}: no marks of `cargo xtask bench {block}`"))?;
    }
    replace(&path, &page)
}

/// Puts a text between the marks of a block.
fn fill(page: &str, block: &str, text: &str) -> Option<String> {
    let begin = format!("<!-- written by `cargo xtask bench {block}` -->\n");
    let end = format!("<!-- end of `cargo xtask bench {block}` -->");
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{text}\n{end}{after}"))
}

/// A table of times and memory for every machine and device, in single precision.
pub(super) fn summary(comparisons: &[Comparison]) -> String {
    let shown: Vec<_> =
        comparisons.iter().filter(|row| row.setting.dtype == SUMMARISED).cloned().collect();
    sections(&shown, |row| &row.setting, |rows| times(&in_order(rows)))
}

/// First passes, failures, dates and commands for every machine, device and precision; times as
/// well where the summary does not show them.
pub(super) fn log(comparisons: &[Comparison]) -> String {
    let section = |rows: Vec<&Comparison>| {
        let rows = in_order(rows);
        let is_summarised = rows[0].setting.dtype == SUMMARISED;
        let times = if is_summarised { String::new() } else { times(&rows) + "\n" };
        let settings: Vec<_> = rows.iter().map(|row| &row.setting).collect();
        let (first, failures, made) = (first_passes(&rows), failures(&rows), made(&settings));
        format!("{times}The first pass:\n\n{first}{failures}\n{made}")
    };
    sections(comparisons, |row| &row.setting, section)
}

/// Everything about one row, for the terminal.
pub(super) fn row(comparison: &Comparison) -> String {
    let rows = [comparison];
    format!("{}\n{}{}", times(&rows), first_passes(&rows), failures(&rows))
}

fn in_order(mut rows: Vec<&Comparison>) -> Vec<&Comparison> {
    rows.sort_by_key(|row| (CASES.iter().position(|case| case.name == row.case), row.batch));
    rows
}

/// A section for every machine, device and precision.
pub(super) fn grown(growth: &[Growth]) -> String {
    let section = |rows: Vec<&Growth>| {
        let lines = rows.iter().map(|growth| {
            let mut cells = vec![growth.what.clone()];
            cells.extend(growth.steps.iter().map(|step| {
                let (time, memory) = (seconds(step.measured.median()), memory(&step.measured));
                format!("{}: {time}, {memory}", step.count)
            }));
            cells
        });
        let header = ["Amount", "1x", "2x", "4x"].map(str::to_owned).to_vec();
        let settings: Vec<_> = rows.iter().map(|growth| &growth.setting).collect();
        format!("{}\n{}", table(header, lines), made(&settings))
    };
    sections(growth, |growth| &growth.setting, section)
}

fn sections<T>(
    all: &[T],
    setting: impl Fn(&T) -> &Setting,
    section: impl Fn(Vec<&T>) -> String,
) -> String {
    if all.is_empty() {
        return "Not measured yet.\n".to_owned();
    }
    let mut groups: Vec<Vec<&T>> = Vec::new();
    for item in all {
        let group = groups.iter_mut().find(|group| setting(group[0]).is_beside(setting(item)));
        match group {
            Some(group) => group.push(item),
            None => groups.push(vec![item]),
        }
    }
    let sections = groups.into_iter().map(|group| {
        let Setting { machine, device, dtype, .. } = setting(group[0]);
        format!("### {machine}: {device}, {dtype}\n\n{}", section(group))
    });
    sections.collect::<Vec<_>>().join("\n")
}

/// Medians, their ratios and memory.
fn times(rows: &[&Comparison]) -> String {
    let sides = columns(rows);
    let others = || sides.iter().filter(|(side, _)| *side != "ours");
    let mut header = head(sides.iter().map(|(_, label)| (*label).to_owned()));
    header.extend(others().map(|(_, label)| format!("{label} / ours")));
    header.extend(sides.iter().map(|(_, label)| format!("memory, {label}")));
    let lines = rows.iter().map(|row| {
        let median = |side: &str| measured(row, side).map(Measured::median);
        let time = |side| median(side).map_or_else(|| missing(row, side), seconds);
        let mut cells = row_head(row, sides.iter().map(|(side, _)| time(side)));
        cells.extend(others().map(|(side, _)| match (median(side), median("ours")) {
            (Some(other), Some(ours)) => format!("{:.2}", other / ours),
            _ => String::new(),
        }));
        cells.extend(
            sides.iter().map(|(side, _)| measured(row, side).map_or_else(String::new, memory)),
        );
        cells
    });
    table(header, lines)
}

fn first_passes(rows: &[&Comparison]) -> String {
    let sides = columns(rows);
    let header = head(sides.iter().map(|(_, label)| (*label).to_owned()));
    let lines = rows.iter().map(|row| {
        let first = |side| measured(row, side).map(|measured| seconds(measured.first));
        row_head(row, sides.iter().map(|(side, _)| first(side).unwrap_or_default()))
    });
    table(header, lines)
}

/// The sides that any of the rows has.
fn columns(rows: &[&Comparison]) -> Vec<Column> {
    let has = |side: &str| rows.iter().any(|row| row.sides.contains_key(side));
    SIDES.into_iter().filter(|(side, _)| has(side)).collect()
}

/// The reasons of sides that failed.
fn failures(rows: &[&Comparison]) -> String {
    let mut text = String::new();
    for row in rows {
        for (side, taken) in &row.sides {
            if let Side::Failed { reason } = taken {
                text += &format!("\n{}, batch {}, {side} failed: {reason}\n", row.case, row.batch);
            }
        }
    }
    text
}

/// Dates and versions, with the commands that ran then.
fn made(settings: &[&Setting]) -> String {
    let mut commands: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for Setting { date, versions, command, .. } in settings {
        let versions: Vec<_> = versions.iter().map(|(name, of)| format!("{name} {of}")).collect();
        let when = format!("{date}, {}", versions.join(", "));
        let ran = commands.entry(when).or_default();
        if !ran.contains(&command.as_str()) {
            ran.push(command);
        }
    }
    let line = |(when, commands): (String, Vec<&str>)| {
        let commands: Vec<_> =
            commands.iter().map(|command| format!("  - `{command}`\n")).collect();
        format!("- {when}:\n{}", commands.concat())
    };
    commands.into_iter().map(line).collect()
}

fn head(columns: impl Iterator<Item = String>) -> Vec<String> {
    ["Head".to_owned(), "Batch".to_owned()].into_iter().chain(columns).collect()
}

fn row_head(row: &Comparison, cells: impl Iterator<Item = String>) -> Vec<String> {
    [row.case.clone(), row.batch.to_string()].into_iter().chain(cells).collect()
}

fn measured<'a>(row: &'a Comparison, side: &str) -> Option<&'a Measured> {
    match row.sides.get(side) {
        Some(Side::Measured(measured)) => Some(measured),
        _ => None,
    }
}

fn missing(row: &Comparison, side: &str) -> String {
    if row.sides.contains_key(side) { "failed".to_owned() } else { String::new() }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        ..10.0 => format!("{seconds:.2} s"),
        _ => format!("{seconds:.1} s"),
    }
}

/// The device's own memory if it has any, otherwise the process's.
fn memory(measured: &Measured) -> String {
    let mebibytes = measured.device_mebibytes.or(measured.peak_mebibytes);
    mebibytes.map_or_else(String::new, |mebibytes| format!("{mebibytes} MiB"))
}

fn table(header: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let rule = "|---".repeat(header.len()) + "|\n";
    let line = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | "));
    let lines: String = rows.map(|cells| line(&cells)).collect();
    line(&header) + &rule + &lines
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn setting(machine: &str) -> Setting {
        Setting {
            machine: machine.to_owned(),
            device: "cpu".to_owned(),
            dtype: "f32".to_owned(),
            date: "2026-01-02".to_owned(),
            command: "cargo xtask bench compare".to_owned(),
            versions: [("burn".to_owned(), "1.0".to_owned())].into(),
        }
    }

    fn side(seconds: &[f64]) -> Side {
        Side::Measured(Measured {
            first: 20.0,
            seconds: seconds.to_vec(),
            peak_mebibytes: Some(7),
            device_mebibytes: None,
        })
    }

    fn comparison(case: &str, machine: &str, eager: Side) -> Comparison {
        let sides = [("ours".to_owned(), side(&[3.0, 1.0, 2.0])), ("eager".to_owned(), eager)];
        Comparison {
            case: case.to_owned(),
            batch: 1,
            setting: setting(machine),
            sides: sides.into(),
        }
    }

    #[test]
    fn the_summary_has_medians_ratios_and_memory_and_the_log_first_passes() {
        let rows = [comparison("language", "a", side(&[5.0, 3.0]))];
        let row = "| language | 1 | 2.00 s | 4.00 s | 2.00 | 7 MiB | 7 MiB |\n";
        assert!(summary(&rows).contains(row), "{}", summary(&rows));
        assert!(log(&rows).contains("| language | 1 | 20.0 s | 20.0 s |\n"), "{}", log(&rows));
    }

    #[test]
    fn every_machine_has_its_section_in_the_order_of_the_cases() {
        let all = [("multimodal", "a"), ("language", "b"), ("language", "a")];
        let text = summary(&all.map(|(case, machine)| comparison(case, machine, side(&[1.0]))));
        let (first, second) = text.split_once("### b: cpu, f32").unwrap();
        assert!(first.find("| language").unwrap() < first.find("| multimodal").unwrap(), "{text}");
        assert!(second.contains("| language") && !second.contains("| multimodal"), "{text}");
    }

    #[test]
    fn a_side_that_failed_says_why() {
        let failed = Side::Failed { reason: "ended with signal 9".to_owned() };
        let rows = [comparison("language", "a", failed)];
        assert!(summary(&rows).contains("| 2.00 s | failed |"), "{}", summary(&rows));
        let text = log(&rows);
        assert!(text.contains("language, batch 1, eager failed: ended with signal 9"), "{text}");
    }

    #[test]
    fn other_precisions_are_in_the_log_alone() {
        let mut row = comparison("language", "a", side(&[4.0]));
        row.setting.dtype = "bf16".to_owned();
        let rows = [row];
        assert!(!summary(&rows).contains("language"), "{}", summary(&rows));
        assert!(log(&rows).contains("| language | 1 | 2.00 s | 4.00 s |"), "{}", log(&rows));
    }

    #[test]
    fn a_block_is_filled_and_the_rest_of_the_page_kept() {
        let marks = |text: &str| {
            format!(
                "<!-- written by `cargo xtask bench x` -->\n{text}<!-- end of `cargo xtask bench x` -->"
            )
        };
        let page = format!("before\n{}\nafter", marks("old\n"));
        let filled = fill(&page, "x", "new\n").unwrap();
        assert_eq!(filled, format!("before\n{}\nafter", marks("\nnew\n\n")));
    }
}
