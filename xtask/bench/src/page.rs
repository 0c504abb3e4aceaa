//! docs/performance.md: tables between marks, prose around them by hand.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};

use super::case::CASES;
use super::record::{Comparison, Growth, Measured, Records, Setting, Side};
use perceiver_workspace::{replace, root};

const SIDES: [&str; 4] = ["ours", "eager", "compile", "onnxruntime"];

/// Writes both blocks of tables again.
pub(super) fn write(records: &Records) -> Result<()> {
    let path = root().join("docs/performance.md");
    let page = fs::read_to_string(&path).context("docs/performance.md")?;
    let page = fill(&page, "compare", &compared(&records.comparisons))
        .and_then(|page| fill(&page, "linear", &grown(&records.growth)))
        .context("docs/performance.md has no place for the tables")?;
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

/// A section for every machine, device and precision.
pub(super) fn compared(comparisons: &[Comparison]) -> String {
    let place = |comparison: &Comparison| {
        let order = CASES.iter().position(|case| case.name == comparison.case);
        (order, comparison.batch)
    };
    let section = |mut rows: Vec<&Comparison>| {
        rows.sort_by_key(|comparison| place(comparison));
        let sides: Vec<_> = SIDES
            .into_iter()
            .filter(|side| rows.iter().any(|row| row.sides.contains_key(*side)))
            .collect();
        let settings: Vec<_> = rows.iter().map(|row| &row.setting).collect();
        let (times, first) = (times(&rows, &sides), first_passes(&rows, &sides));
        let (failures, made) = (failures(&rows), made(&settings));
        format!("{times}\nThe first pass:\n\n{first}{failures}\n{made}")
    };
    sections(comparisons, |comparison| &comparison.setting, section)
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
        let header = ["Of what", "1x", "2x", "4x"].map(str::to_owned).to_vec();
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

/// Medians, what theirs are of ours, and memory.
fn times(rows: &[&Comparison], sides: &[&str]) -> String {
    let theirs = || sides.iter().filter(|side| **side != "ours");
    let mut header = head();
    header.extend(sides.iter().map(|&side| side.to_owned()));
    header.extend(theirs().map(|side| format!("{side} / ours")));
    header.extend(sides.iter().map(|side| format!("memory, {side}")));
    let lines = rows.iter().map(|row| {
        let mut cells = row_head(row);
        let median = |side: &str| measured(row, side).map(Measured::median);
        cells.extend(
            sides.iter().map(|side| median(side).map_or_else(|| missing(row, side), seconds)),
        );
        cells.extend(theirs().map(|side| match (median(side), median("ours")) {
            (Some(theirs), Some(ours)) => format!("{:.2}", theirs / ours),
            _ => String::new(),
        }));
        cells.extend(sides.iter().map(|side| measured(row, side).map_or_else(String::new, memory)));
        cells
    });
    table(header, lines)
}

fn first_passes(rows: &[&Comparison], sides: &[&str]) -> String {
    let mut header = head();
    header.extend(sides.iter().map(|&side| side.to_owned()));
    let lines = rows.iter().map(|row| {
        let mut cells = row_head(row);
        let first = |side: &&str| measured(row, side).map(|measured| seconds(measured.first));
        cells.extend(sides.iter().map(|side| first(side).unwrap_or_default()));
        cells
    });
    table(header, lines)
}

/// Why sides took nothing.
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

fn head() -> Vec<String> {
    vec!["Head".to_owned(), "Batch".to_owned()]
}

fn row_head(row: &Comparison) -> Vec<String> {
    vec![row.case.clone(), row.batch.to_string()]
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

/// The device's own memory where it has any.
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
    fn a_row_tells_medians_their_ratio_and_memory() {
        let text = compared(&[comparison("language", "a", side(&[5.0, 3.0]))]);
        let row = "| language | 1 | 2.00 s | 4.00 s | 2.00 | 7 MiB | 7 MiB |\n";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("| language | 1 | 20.0 s | 20.0 s |\n"), "{text}");
    }

    #[test]
    fn every_machine_has_its_section_in_the_order_of_the_cases() {
        let all = [("multimodal", "a"), ("language", "b"), ("language", "a")];
        let text = compared(&all.map(|(case, machine)| comparison(case, machine, side(&[1.0]))));
        let (first, second) = text.split_once("### b: cpu, f32").unwrap();
        assert!(first.find("| language").unwrap() < first.find("| multimodal").unwrap(), "{text}");
        assert!(second.contains("| language") && !second.contains("| multimodal"), "{text}");
    }

    #[test]
    fn a_side_that_failed_says_why() {
        let failed = Side::Failed { reason: "ended with signal 9".to_owned() };
        let text = compared(&[comparison("language", "a", failed)]);
        assert!(text.contains("| 2.00 s | failed |"), "{text}");
        assert!(text.contains("language, batch 1, eager failed: ended with signal 9"), "{text}");
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
