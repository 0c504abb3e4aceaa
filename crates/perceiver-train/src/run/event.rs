use crate::Skipped;
use crate::report::Record;

/// An event during a training run.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrainingEvent<'a> {
    /// A checkpoint was loaded to start from. It lacks these parameters, which are fresh.
    Fresh(&'a [String]),
    /// Something that the user should know, in one line.
    Warning(&'a str),
    /// The training is about to begin, with this number of parameters.
    Parameters(usize),
    /// A line was written to the log.
    Logged(&'a Record),
    /// The weights so far are the best, and were saved.
    Saved,
}

/// The result of a training run that completed or was stopped.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Complete or interrupted.
    pub ending: Ending,
    /// The validation of the weights in the folder; absent before the first validation.
    pub best: Option<Record>,
    /// Examples that could not be read.
    pub skipped: Skipped,
    /// Number of parameters.
    pub parameters: usize,
}

/// How a successful run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All steps were made, and the last of them validated.
    Complete,
    /// The run was stopped, and can resume at this step.
    Interrupted {
        /// Steps made so far.
        step: usize,
    },
}
