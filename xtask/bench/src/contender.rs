//! One side of a comparison.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::record::{Measured, Side};
use super::worker::{Pass, Worker};

/// A worker, the name of its engine, and its passes. After a failure it makes no more passes.
pub(super) struct Contender {
    pub(super) name: &'static str,
    worker: Result<Worker>,
    passes: Vec<Pass>,
}

impl Contender {
    pub(super) fn start(name: &'static str, command: Result<Command>) -> Self {
        let worker = command.and_then(|mut command| Worker::start(&mut command));
        Self { name, worker, passes: Vec::new() }
    }

    pub(super) fn pass(&mut self) {
        self.take(Worker::pass);
    }

    /// A pass, which fails if it is not done `patience` after the start of the worker.
    pub(super) fn pass_within(&mut self, patience: Duration) {
        self.take(|worker| worker.pass_within(patience));
    }

    fn take(&mut self, pass: impl FnOnce(&mut Worker) -> Result<Pass>) {
        if let Ok(worker) = &mut self.worker {
            match pass(worker) {
                Ok(pass) => self.passes.push(pass),
                Err(error) => self.worker = Err(error),
            }
        }
    }

    /// Stops the side's process until [`Self::resume`].
    pub(super) fn pause(&self) -> Result<()> {
        self.worker.as_ref().map_or(Ok(()), Worker::pause)
    }

    pub(super) fn resume(&self) -> Result<()> {
        self.worker.as_ref().map_or(Ok(()), Worker::resume)
    }

    pub(super) fn versions(&self) -> BTreeMap<String, String> {
        self.worker.as_ref().map_or_else(|_| BTreeMap::new(), |worker| worker.versions.clone())
    }

    pub(super) fn first_results(&self) -> Vec<f64> {
        self.passes.first().map_or_else(Vec::new, |pass| pass.results.clone())
    }

    /// Ends the worker. The side has failed if its results differ from `ours` by more than `tolerance`,
    /// relative to the largest: it did other work.
    pub(super) fn finish(self, ours: &[f64], tolerance: f64) -> Side {
        let results = self.first_results();
        let seconds: Vec<f64> = self.passes.iter().map(|pass| pass.seconds).collect();
        match self.worker.and_then(Worker::finish) {
            Err(error) => Side::Failed { reason: format!("{error:#}") },
            Ok(_) if !ours.is_empty() && !agree(&results, ours, tolerance) => {
                Side::Failed { reason: format!("results are {results:?}, ours {ours:?}") }
            }
            Ok(memory) => Side::Measured(Measured {
                first: seconds[0],
                seconds: seconds[1..].to_vec(),
                peak_mebibytes: memory.peak_mebibytes,
                device_mebibytes: memory.device_mebibytes,
            }),
        }
    }
}

fn agree(results: &[f64], ours: &[f64], tolerance: f64) -> bool {
    let largest = ours.iter().fold(0.0, |largest: f64, result| largest.max(result.abs()));
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= tolerance * largest;
    results.len() == ours.len() && results.iter().zip(ours).all(near)
}
