use anyhow::{Context as _, Result};
use clap::Args;
use clap_mangen::Man;
use serde_json::json;

use super::Context;
use crate::help;

const EXAMPLES: &str = "\
Examples:
  perceiver man > ~/.local/share/man/man1/perceiver.1
  perceiver man attend | man -l -";

/// Print the manual page of this program or of one of its commands
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ManArguments {
    /// Command to document, such as classify
    command: Option<String>,
}

pub(crate) fn run(arguments: &ManArguments, context: &Context) -> Result<()> {
    let program = help::command();
    let command = match &arguments.command {
        None => program,
        Some(name) => {
            let found = program.find_subcommand(name).cloned();
            found.with_context(|| format!("there is no command {name}"))?
        }
    };
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    let page = String::from_utf8(page)?;
    context.output.result(json!({ "page": page }), &page)?;
    Ok(())
}
