//! Texts to read, and the small files beside a model.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use perceiver_data::{decode_lines, decode_text, read_lines};

use crate::atomic_output::write_whole;

/// Largest standard input that is read, in bytes.
const MAX_INPUT: u64 = 1 << 30;

/// Settings files of a model besides config.json and the weights.
const COMPANIONS: [&str; 5] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "preprocessor_config.json",
    "processor_config.json",
];

/// Copies the settings files of tokenizer and image processor that exist.
pub(crate) fn copy_companions(from: &Path, to: &Path) -> Result<()> {
    for name in COMPANIONS {
        let source = from.join(name);
        if source.is_file() {
            let bytes = fs::read(&source);
            let bytes = bytes.with_context(|| format!("{}: cannot read", source.display()))?;
            write_whole(&to.join(name), &bytes)?;
        }
    }
    Ok(())
}

/// The text of an argument; `-` stands for standard input, without its final line break.
pub(crate) fn text_argument(argument: &str) -> Result<String> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let text = decode_text(standard_input()?, "standard input")?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// The lines of a file, at least one, with those that cannot be read; `-` stands for standard input.
pub(crate) fn lines(path: &Path) -> Result<Vec<Line>> {
    let lines = lines_if_any(path)?;
    if lines.is_empty() {
        return Err(without_text(path));
    }
    Ok(lines)
}

/// The error about a file or folder without any text.
pub(crate) fn without_text(path: &Path) -> anyhow::Error {
    let name = if path == Path::new("-") { Path::new("standard input") } else { path };
    anyhow!("{}: is empty, expected one text per line", name.display())
}

/// A line's place, and its text unless that is not UTF-8.
pub(crate) type Line = (String, Result<String>);

/// The lines of a file that are not blank; `-` stands for standard input.
pub(crate) fn lines_if_any(path: &Path) -> Result<Vec<Line>> {
    let (name, lines) = if path == Path::new("-") {
        ("standard input".to_owned(), decode_lines(standard_input()?, "standard input")?)
    } else {
        (path.display().to_string(), read_lines(path)?)
    };
    let numbered = |(at, line): (usize, perceiver_data::Result<String>)| {
        let line = line.map_err(|error| anyhow!("{error}, in line {at}"));
        (format!("{name}:{at}"), line)
    };
    Ok(lines.into_iter().map(numbered).collect())
}

fn standard_input() -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let input = io::stdin().lock().take(MAX_INPUT + 1).read_to_end(&mut bytes);
    input.context("standard input: cannot read")?;
    if bytes.len() as u64 > MAX_INPUT {
        bail!("standard input: is longer than {MAX_INPUT} bytes");
    }
    Ok(bytes)
}
