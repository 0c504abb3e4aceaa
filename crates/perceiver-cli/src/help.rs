//! The program's help, with commands grouped by purpose.

use std::fmt::Write as _;

use clap::builder::StyledStr;
use clap::{Command, CommandFactory as _, FromArgMatches as _};

use crate::args::Arguments;

/// Commands by purpose, the most common first.
const GROUPS: [(&str, &[&str]); 5] = [
    (
        "From a text, photo, video or table to an answer",
        &["fill-mask", "classify", "features", "attend", "flow", "autoencode", "predict"],
    ),
    ("Training", &["train", "evaluate"]),
    ("Models", &["init", "inspect", "convert"]),
    ("Tensors", &["tokenize", "preprocess", "forward"]),
    ("This program", &["doctor", "completions", "man", "help"]),
];

/// Parses the command line.
pub(crate) fn parse() -> Result<Arguments, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// The command line and its help.
pub(crate) fn command() -> Command {
    let mut command = Arguments::command();
    command.build();
    let (commands, options) = (commands(&command), heading(&command, "Options"));
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}{{after-help}}\n\n{commands}\
         {options}\n{{options}}"
    ))
}

fn commands(command: &Command) -> String {
    let literal = command.get_styles().get_literal();
    let mut text = String::new();
    for (title, names) in GROUPS {
        let _ = writeln!(text, "{}", heading(command, title));
        for subcommand in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let name = subcommand.get_name();
            let about = subcommand.get_about().map(StyledStr::to_string).unwrap_or_default();
            let _ = writeln!(text, "  {literal}{name:<12}{literal:#} {about}");
        }
        text.push('\n');
    }
    text
}

fn heading(command: &Command, title: &str) -> String {
    let header = command.get_styles().get_header();
    format!("{header}{title}:{header:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let mut grouped: Vec<_> = GROUPS.iter().flat_map(|(_, names)| names.iter()).collect();
        let command = command();
        let mut known: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
        grouped.sort();
        known.sort_unstable();
        assert_eq!(grouped.into_iter().copied().collect::<Vec<_>>(), known);
    }
}
