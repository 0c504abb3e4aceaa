//! The program `perceiver`: Perceiver models on files.
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "comments on arguments are the help, where [MASK] is a token"
)]

mod args;
mod batch;
mod commands;
mod device;
mod files;
mod help;
mod inputs;
mod output;
mod progress;
mod shipped;
mod thumbnail;
mod unfinished;

use std::panic::catch_unwind;
use std::process::ExitCode;

/// Bad input or usage.
const BAD_INPUT: u8 = 2;
/// Anything else that a user can do something about.
const FAILURE: u8 = 1;
/// A bug of ours, as Rust's own exit code of a panic.
const PANIC: u8 = 101;

fn main() -> ExitCode {
    perceiver_core::keep_freed_memory();
    output::tame_panics();
    unfinished::clean_up_when_interrupted();
    let arguments = match help::parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    match catch_unwind(|| commands::run(arguments)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => failure(&error),
        // The hook has told what happened.
        Err(_) => ExitCode::from(PANIC),
    }
}

/// Help and version as clap writes them; its errors as all others, on one line.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == args::HELP_WITHOUT_ARGUMENTS {
        let code = error.exit_code();
        // A closed pipe is no reason to complain.
        let _ = error.print();
        return ExitCode::from(u8::try_from(code).unwrap_or(BAD_INPUT));
    }
    output::error(&args::one_line(error));
    ExitCode::from(BAD_INPUT)
}

fn failure(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<output::StandardOutputError>() {
        Some(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Some(error) => {
            output::error(&error.to_string());
            ExitCode::from(FAILURE)
        }
        None => {
            output::error(&output::chain(error));
            ExitCode::from(match error {
                _ if error.is::<unfinished::Interrupted>() => unfinished::INTERRUPTED,
                _ if error.is::<batch::BatchError>() || ended_early(error) => FAILURE,
                _ => BAD_INPUT,
            })
        }
    }
}

/// Whether a training ended that had begun well.
fn ended_early(error: &anyhow::Error) -> bool {
    use perceiver_train::Error::{Diverged, EmptyMetric, Training};
    matches!(error.downcast_ref(), Some(Diverged { .. } | EmptyMetric { .. } | Training(_)))
}
