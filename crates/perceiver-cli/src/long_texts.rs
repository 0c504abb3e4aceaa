//! Options for texts that are longer than the model's input.

use anyhow::anyhow;
use clap::Args;
use perceiver_pipelines::{Error, LongTexts};

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct LongTextArguments {
    /// Read only the beginning of a text that is longer than the model's input, as in training
    #[arg(long, conflicts_with_all = ["window", "photos"])]
    truncate: bool,
    /// Read a text that is longer than the model's input in windows, and average over them
    #[arg(long, conflicts_with = "photos")]
    window: bool,
}

impl LongTextArguments {
    pub(crate) const fn choice(self) -> LongTexts {
        match (self.truncate, self.window) {
            (true, _) => LongTexts::Truncate,
            (_, true) => LongTexts::Windows,
            _ => LongTexts::Refuse,
        }
    }
}

/// The error of a pipeline, with the options that avoid it if a text is too long.
pub(crate) fn with_options(error: Error, options: &str) -> anyhow::Error {
    match error {
        Error::TextTooLong { .. } => anyhow!("{error}; {options}"),
        error => error.into(),
    }
}
