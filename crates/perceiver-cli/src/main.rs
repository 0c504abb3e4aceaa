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
mod destination;
mod device;
mod exit_code;
mod files;
mod help;
mod inputs;
mod interrupt;
mod long_texts;
mod output;
mod paths;
mod pattern;
mod progress;
mod thumbnail;
mod video_file;

use std::io::{self, Write as _};
use std::panic::catch_unwind;
use std::process::ExitCode;

fn main() -> ExitCode {
    perceiver_core::keep_freed_memory();
    output::tame_panics();
    interrupt::handle_interruptions();
    #[cfg(unix)]
    interrupt::outlive_file_size_limits();
    let arguments = match help::parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    match catch_unwind(|| commands::run(arguments)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => failure(&error),
        // The panic hook has printed the error.
        Err(_) => ExitCode::from(output::code_after_panic()),
    }
}

/// Prints help and version as clap does, but its errors on one line like all others.
fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && error.kind() != args::HELP_WITHOUT_ARGUMENTS {
        output::error(&args::one_line(error));
        return ExitCode::from(exit_code::REFUSED);
    }
    match error.print().and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit_code::REFUSED)),
        Err(error) => failure(&output::StandardOutputError::from(error).into()),
    }
}

fn failure(error: &anyhow::Error) -> ExitCode {
    let output = error.downcast_ref::<output::StandardOutputError>();
    if output.is_some_and(output::StandardOutputError::is_closed_pipe) {
        return ExitCode::SUCCESS;
    }
    let hint = if exit_code::lacks_head(error) {
        "; or name the head by --head, such as --head sequence-classification"
    } else {
        ""
    };
    output::error(&format!("{}{hint}", output::chain(error)));
    ExitCode::from(exit_code::after(error))
}
