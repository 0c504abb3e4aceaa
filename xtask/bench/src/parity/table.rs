//! The table of docs/parity.md.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};

use super::measure::Usage;
use perceiver_workspace::replace;

const BEGIN: &str = "<!-- full size: written by `cargo xtask parity` -->\n";
const END: &str = "<!-- full size: end -->";
const HEADER: &str = "| Configuration | Parameters | Largest error | Time | Peak memory |
|---|---|---|---|---|
";

/// A line of the table.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) parameters: u64,
    pub(super) error: f64,
    pub(super) usage: Usage,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, parameters, error, usage } = self;
        let Usage { seconds, peak_mebibytes } = usage;
        write!(f, "| {name} | {parameters} | {error:.1e} | {seconds:.1} s | {peak_mebibytes} MiB |")
    }
}

/// Replaces or inserts a row and keeps the others.
pub(super) fn write(path: &Path, row: &Row, order: &[&str]) -> Result<()> {
    let page = std::fs::read_to_string(path)?;
    let page = with_row(&page, row, order)
        .with_context(|| format!("{} has no place for the table", path.display()))?;
    replace(path, &page)
}

fn with_row(page: &str, row: &Row, order: &[&str]) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (old, after) = rest.split_once(END)?;
    let mut table = HEADER.to_owned();
    for name in order {
        let start = format!("| {name} |");
        let kept = old.lines().find(|line| line.starts_with(&start)).map(str::to_owned);
        let line = if *name == row.name { Some(row.to_string()) } else { kept };
        table.extend(line.map(|line| line + "\n"));
    }
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_replaced_and_the_others_are_kept_in_order() {
        let row = |name, error| {
            let usage = Usage { seconds: 1.26, peak_mebibytes: 7 };
            Row { name, parameters: 5, error, usage }
        };
        let order = ["a", "b"];
        let page = with_row(&format!("x\n{BEGIN}{END}\ny"), &row("b", 1e-6), &order).unwrap();
        let page = with_row(&page, &row("a", 2e-6), &order).unwrap();
        let page = with_row(&page, &row("b", 3e-6), &order).unwrap();
        let rows = "| a | 5 | 2.0e-6 | 1.3 s | 7 MiB |\n| b | 5 | 3.0e-6 | 1.3 s | 7 MiB |\n";
        assert_eq!(page, format!("x\n{BEGIN}{HEADER}{rows}{END}\ny"));
    }
}
