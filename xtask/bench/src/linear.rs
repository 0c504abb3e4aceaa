//! The cost of 1, 2 and 4 times the amount, on our side.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::case::checkpoint;
use super::record::{Growth, Measured, Records, Setting, Step};
use super::worker::Worker;
use super::{CHECKPOINTS, Place, build, machine, page};
use perceiver_workspace::program;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to compute
    #[arg(long, value_enum, default_value_t = Place::Cpu)]
    device: Place,
    /// Passes after the first
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// One pass after the first, and no record
    #[arg(long)]
    quick: bool,
    /// Folder of the checkpoints; existing ones are used again
    #[arg(long, default_value = CHECKPOINTS)]
    dir: PathBuf,
}

/// An amount that is doubled twice.
struct Amount {
    what: &'static str,
    checkpoint: &'static str,
    task: &'static str,
    /// The worker's option, and its value for the smallest amount.
    option: (&'static str, usize),
    /// The smallest amount.
    count: usize,
}

const AMOUNTS: [Amount; 2] = [
    Amount {
        what: "pixels that the Fourier head reads, whole pass",
        checkpoint: "vision-fourier",
        task: "forward",
        option: ("--height", 1),
        count: 224 * 224,
    },
    Amount {
        what: "pixels that the autoencoder decodes from latents",
        checkpoint: "multimodal",
        task: "points",
        option: ("--chunks", 4),
        count: 16 * 224 * 224 / 128 * 4,
    },
];

const TIMES: [usize; 3] = [1, 2, 4];

/// Measures every amount in a process of its own, so that each has its own peak of memory.
pub(super) fn linear(arguments: &Arguments) -> Result<()> {
    let worker = build(arguments.device)?;
    for amount in AMOUNTS {
        let growth = Growth {
            what: amount.what.to_owned(),
            setting: arguments.setting()?,
            steps: arguments.steps(&worker, &amount)?,
        };
        println!("{}", page::grown(std::slice::from_ref(&growth)));
        if !arguments.quick {
            let mut records = Records::read()?;
            records.grew(growth);
            records.write()?;
            page::write(&records)?;
        }
    }
    Ok(())
}

impl Arguments {
    fn steps(&self, worker: &PathBuf, amount: &Amount) -> Result<Vec<Step>> {
        let folder = checkpoint(worker, amount.checkpoint, &self.dir)?;
        let (option, smallest) = amount.option;
        let measure = |times: usize| {
            let value = (smallest * times).to_string();
            let mut command = program(worker);
            command.arg(amount.task).arg(&folder).args([option, &value]);
            let mut worker = Worker::start(command.args(["--device", self.device.ours()]))?;
            let first = worker.pass()?.seconds;
            let repeats = if self.quick { 1 } else { self.repeats };
            let seconds = (0..repeats).map(|_| Ok(worker.pass()?.seconds));
            let seconds = seconds.collect::<Result<_>>()?;
            let memory = worker.finish()?;
            let measured = Measured {
                first,
                seconds,
                peak_mebibytes: memory.peak_mebibytes,
                device_mebibytes: memory.device_mebibytes,
            };
            Ok(Step { count: amount.count * times, measured })
        };
        TIMES.into_iter().map(measure).collect()
    }

    fn setting(&self) -> Result<Setting> {
        let mut command = "cargo xtask bench linear".to_owned();
        if self.device != Place::Cpu {
            command += &format!(" --device {}", self.device.name());
        }
        Ok(Setting {
            machine: machine::name(self.device)?,
            device: self.device.name().to_owned(),
            dtype: "f32".to_owned(),
            date: machine::date()?,
            command,
            versions: machine::versions()?,
        })
    }
}
