//! docs/guide.md: runs its commands on real files and fills in their output.
//!
//! In an indented block a line `$ …` is a command, and the lines below are its output. A hidden
//! command, `<!-- $ … -->`, prepares files for later ones. All run in order in one folder, with a copy
//! of the release program on the path (beside which they can put models), `$DATA` for the real data
//! and `$ROOT` for the workspace. A picture that the page shows from `guide/` is the file of that name
//! in that folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use perceiver_workspace::{data_folder, release_program, replace, root, target};

const PROMPT: &str = "    $ ";
const INDENT: &str = "    ";
const HIDDEN: [&str; 2] = ["<!-- $ ", " -->"];
const PICTURE: [&str; 2] = ["](guide/", ")"];

/// Writes the output of the guide's commands and its pictures again.
pub(crate) fn docs() -> Result<()> {
    ensure!(data_folder().is_dir(), "no real files: run `cargo xtask data` first");
    let program = release_program()?;
    let folder = target().join("guide");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let bin = folder.join("bin");
    fs::create_dir_all(&bin)?;
    fs::copy(program, bin.join("perceiver"))?;
    let shell = Shell { bin, folder };
    let page = root().join("docs/guide.md");
    let text = fs::read_to_string(&page)?;
    let filled = fill(&text, |command, hidden| shell.run(command, hidden))?;
    for name in between(&filled, PICTURE) {
        let pictures = root().join("docs/guide");
        fs::create_dir_all(&pictures)?;
        fs::copy(shell.folder.join(name), pictures.join(name))
            .with_context(|| format!("no command writes {name}, which the guide shows"))?;
    }
    replace(&page, &filled)
}

/// Replaces the lines below each command by its output.
fn fill(page: &str, mut run: impl FnMut(&str, bool) -> Result<String>) -> Result<String> {
    let mut filled = String::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        filled.push_str(line);
        filled.push('\n');
        if let Some(&command) = between(line, HIDDEN).first() {
            run(command, true)?;
        }
        let Some(command) = line.strip_prefix(PROMPT) else { continue };
        // Blank lines belong to the output if more of it follows.
        let mut blank = 0;
        while let Some(next) = lines.peek() {
            if next.is_empty() {
                blank += 1;
            } else if next.starts_with(INDENT) && !next.starts_with(PROMPT) {
                blank = 0;
            } else {
                break;
            }
            lines.next();
        }
        for line in run(command, false)?.lines() {
            filled.push_str(format!("{INDENT}{line}").trim_end());
            filled.push('\n');
        }
        filled.push_str(&"\n".repeat(blank));
    }
    Ok(filled)
}

/// The texts between two marks, line by line.
fn between<'a>(text: &'a str, [start, end]: [&str; 2]) -> Vec<&'a str> {
    let found = text.lines().flat_map(|line| line.split(start).skip(1));
    found.filter_map(|rest| Some(rest.split_once(end)?.0)).collect()
}

struct Shell {
    bin: PathBuf,
    folder: PathBuf,
}

impl Shell {
    /// The output of a command, stdout and stderr interleaved. A hidden one must succeed.
    fn run(&self, command: &str, prepares: bool) -> Result<String> {
        println!("$ {command}");
        let Output { status, stdout, .. } = self.command(command)?.output()?;
        let said = String::from_utf8(stdout)?;
        ensure!(status.success() || !prepares, "{command}: {status}\n{said}");
        // A panic ends with 101.
        ensure!(status.code() != Some(101), "{command}: {said}");
        let lines: Vec<_> = said.lines().filter(|line| !is_of_this_run(line)).collect();
        Ok(lines.join("\n"))
    }

    fn command(&self, command: &str) -> Result<Command> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("{{ {command}\n}} 2>&1")])
            .current_dir(&self.folder)
            .env("PATH", format!("{}:{path}", self.bin.display()))
            .env("DATA", absolute(&data_folder())?)
            .env("ROOT", root())
            .env("HF_HOME", "huggingface");
        Ok(shell)
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("no folder {}", path.display()))
}

/// Returns true for the last line on stderr, which holds device and time.
fn is_of_this_run(line: &str) -> bool {
    line.starts_with("perceiver: flex, ") && line.ends_with(" s")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn filled(page: &str) -> String {
        fill(page, |command, _| Ok(format!("said by {command}\n\nend"))).unwrap()
    }

    #[test]
    fn new_output_replaces_the_old() {
        let page = "Text\n\n    $ one\n    old\n\n    older\n\nMore\n";
        assert_eq!(filled(page), "Text\n\n    $ one\n    said by one\n\n    end\n\nMore\n");
    }

    #[test]
    fn commands_may_follow_each_other() {
        let page = "    $ one\n    $ two\n";
        let expected =
            "    $ one\n    said by one\n\n    end\n    $ two\n    said by two\n\n    end\n";
        assert_eq!(filled(page), expected);
    }

    #[test]
    fn hidden_commands_run_and_stay_hidden() {
        let mut ran = Vec::new();
        let page = "<!-- $ mkdir a -->\nText\n";
        let same = fill(page, |command, hidden| {
            ran.push((command.to_owned(), hidden));
            Ok("said".to_owned())
        });
        assert_eq!(same.unwrap(), page);
        assert_eq!(ran, [("mkdir a".to_owned(), true)]);
    }

    #[test]
    fn a_failing_hidden_command_is_an_error() {
        let failed = fill("<!-- $ false -->\n", |command, _| anyhow::bail!("{command}"));
        assert_eq!(failed.unwrap_err().to_string(), "false");
    }

    #[test]
    fn pictures_of_the_page_are_found() {
        let page = "![A map](guide/map.png) and ![both](guide/two.png)\n![other](../a.png)";
        assert_eq!(between(page, PICTURE), ["map.png", "two.png"]);
    }
}
