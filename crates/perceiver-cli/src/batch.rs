//! Many inputs, some of which may fail.

use anyhow::Result;
use perceiver_models::Error::NotFinite;

use crate::atomic_output::WriteError;
use crate::output::{self, StandardOutputError, chain};

/// Work on inputs one after another; a failure does not stop the following ones.
#[derive(Debug)]
pub(crate) struct Batch {
    inputs: usize,
    failed: usize,
}

/// Some inputs of a batch failed; the error of each was printed.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {inputs} inputs failed")]
pub(crate) struct BatchError {
    failed: usize,
    inputs: usize,
}

/// Examples of a data set were left out because they could not be read: so many, or so many of all.
/// The result was printed.
#[derive(Debug, thiserror::Error)]
#[error("{0} examples could not be read")]
pub(crate) struct Unreadable(pub(crate) String);

impl Batch {
    pub(crate) fn new(inputs: usize) -> Self {
        Self { inputs, failed: 0 }
    }

    /// Works on one input, `name`. Prints its error at once, or returns it if it is the only input.
    pub(crate) fn run(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let Err(error) = work() else { return Ok(()) };
        // The other results would be lost too.
        if error.is::<StandardOutputError>() || error.is::<WriteError>() {
            return Err(error);
        }
        // The weights are the same for the other inputs.
        let of_pipeline = error.downcast_ref().is_some_and(|error| {
            use perceiver_pipelines::Error::Model;
            matches!(error, Model(NotFinite { tensor: Some(_), .. }))
        });
        let of_predictor = error.downcast_ref().is_some_and(|error| {
            use perceiver_train::Error::Model;
            matches!(error, Model(NotFinite { tensor: Some(_), .. }))
        });
        if of_pipeline || of_predictor {
            return Err(error);
        }
        let error =
            if chain(&error).contains(name) { error } else { error.context(name.to_owned()) };
        if self.inputs == 1 {
            return Err(error);
        }
        output::error(&chain(&error));
        self.failed += 1;
        Ok(())
    }

    /// Returns an error with the number of failed inputs, if any.
    pub(crate) fn finish(self) -> Result<()> {
        match self.failed {
            0 => Ok(()),
            failed => Err(BatchError { failed, inputs: self.inputs }.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_bad_input_does_not_stop_the_next() {
        let mut batch = Batch::new(3);
        let mut done = Vec::new();
        for name in ["a", "b", "c"] {
            let work = || {
                if name == "b" {
                    return Err(anyhow!("bad"));
                }
                done.push(name);
                Ok(())
            };
            assert!(batch.run(name, work).is_ok());
        }
        assert_eq!(done, ["a", "c"]);
        let error = batch.finish().map_err(|error| error.to_string());
        assert_eq!(error, Err("1 of 3 inputs failed".to_owned()));
    }

    #[test]
    fn the_error_of_an_only_input_is_the_batch_s() {
        let error = Batch::new(1).run("a.png", || Err(anyhow!("no pixels")));
        assert_eq!(error.map_err(|error| chain(&error)), Err("a.png: no pixels".to_owned()));
        let error = Batch::new(1).run("a.png", || Err(anyhow!("a.png: no pixels")));
        assert_eq!(error.map_err(|error| chain(&error)), Err("a.png: no pixels".to_owned()));
    }
}
