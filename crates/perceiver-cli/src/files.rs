//! Paths to write to, texts to read, and the small files beside a model.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::atomic_output::AtomicOutput;

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

/// Refuses a path that cannot be written, before any work is done for it.
pub(crate) fn check_output(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder
        && !folder.is_dir()
    {
        bail!("{}: cannot write: {} is not a folder", path.display(), folder.display());
    }
    // Files are replaced whole, which must not happen to a device or a pipe.
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            bail!("{}: cannot write: exists and is not a regular file", path.display())
        }
        _ => Ok(()),
    }
}

/// Refuses a folder that is not empty, unless `force` is set.
pub(crate) fn check_output_folder(path: &Path, force: bool) -> Result<()> {
    let path_text = path.display();
    match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
        Ok(false) if !force => {
            bail!("{path_text}: is not empty; --force writes into it anyway")
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).context(format!("{path_text}: cannot use as a folder")),
    }
}

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

/// Writes a file that appears at its path only once it is complete.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let output = AtomicOutput::file(path)?;
    let write = || -> io::Result<()> {
        let mut file = File::create(output.path())?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("{}: cannot write", path.display()))?;
    output.finish()
}

/// The text of an argument; `-` stands for standard input, without its final line break.
pub(crate) fn text_argument(argument: &str) -> Result<String> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let text = standard_input()?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// The lines of a file, at least one; `-` stands for standard input.
pub(crate) fn lines(path: &Path) -> Result<Vec<(String, String)>> {
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

/// The lines of a file that are not blank, each with its place; `-` stands for standard input.
pub(crate) fn lines_if_any(path: &Path) -> Result<Vec<(String, String)>> {
    let (name, text) = if path == Path::new("-") {
        ("standard input".to_owned(), standard_input()?)
    } else {
        (path.display().to_string(), perceiver_data::read_text(path)?)
    };
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    Ok(lines.map(|(line, at)| (format!("{name}:{at}"), line.to_owned())).collect())
}

fn standard_input() -> Result<String> {
    let mut bytes = Vec::new();
    let input = io::stdin().lock().take(MAX_INPUT + 1).read_to_end(&mut bytes);
    input.context("standard input: cannot read")?;
    if bytes.len() as u64 > MAX_INPUT {
        bail!("standard input: is longer than {MAX_INPUT} bytes");
    }
    Ok(perceiver_data::decode_text(bytes, "standard input")?)
}
