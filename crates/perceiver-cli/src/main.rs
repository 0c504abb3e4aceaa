//! The program `perceiver`: runs Perceiver models on files.
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "comments on arguments are help texts, where [MASK] is a token"
)]

mod args;
mod atomic_output;
mod batch;
mod bundled;
mod commands;
mod device;
mod files;
mod help;
mod inputs;
mod interrupt;
mod output;
mod paths;
mod pattern;
mod progress;

mod thumbnail;

use std::panic::catch_unwind;
use std::process::ExitCode;

/// Exit code of bad input or usage.
const BAD_INPUT: u8 = 2;
/// Exit code of every other failure that the user can do something about.
const FAILURE: u8 = 1;
/// Exit code of a bug in this program, as Rust's own of a panic.
const PANIC: u8 = 101;

fn main() -> ExitCode {
    perceiver_core::keep_freed_memory();
    output::tame_panics();
    interrupt::handle_interruptions();
    let arguments = match help::parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    match catch_unwind(|| commands::run(arguments)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => failure(&error),
        // The panic hook has printed the error.
        Err(_) => ExitCode::from(PANIC),
    }
}

/// Prints help and version as clap does, but its errors on one line like all others.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == args::HELP_WITHOUT_ARGUMENTS {
        let code = error.exit_code();
        // A closed pipe is not an error.
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
                _ if error.is::<interrupt::Interrupted>() => interrupt::INTERRUPTED,
                _ if error.is::<batch::BatchError>() || ended_early(error) => FAILURE,
                _ if error.is::<batch::Unreadable>() => FAILURE,
                _ => BAD_INPUT,
            })
        }
    }
}

/// Returns true if training or an evaluation failed after it had started.
fn ended_early(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(perceiver_train::Error::had_begun)
}
