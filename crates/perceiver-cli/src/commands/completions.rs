use anyhow::Result;
use clap::Args;
use clap_complete::Shell;
use serde_json::json;

use super::Context;
use crate::help;

const EXAMPLES: &str = "\
Examples:
  perceiver completions bash > ~/.local/share/bash-completion/completions/perceiver
  perceiver completions zsh > ~/.zfunc/_perceiver
  perceiver completions fish > ~/.config/fish/completions/perceiver.fish";

/// Print a script that completes this program's command lines in a shell
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArguments {
    shell: Shell,
}

pub(crate) fn run(arguments: &CompletionsArguments, context: &Context) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut help::command(), "perceiver", &mut script);
    let script = String::from_utf8(script)?;
    let json = json!({ "shell": arguments.shell.to_string(), "script": script });
    context.output.result(json, &script)?;
    Ok(())
}
