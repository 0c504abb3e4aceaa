//! Ours and theirs in turn: A B A B, each in a process of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use super::case::{CASES, Case, Task, checkpoint};
use super::record::{Comparison, Measured, Records, Setting, Side};
use super::worker::{Pass, Worker};
use super::{CHECKPOINTS, Place, build, machine, page, reference};
use crate::process::{program, python};

/// Between passes: threads of the side that has just ended its pass still wait for more, awake.
const PAUSE: Duration = Duration::from_millis(500);

/// Chunks of a clip when there is little time.
const QUICK_CHUNKS: usize = 2;

/// Results may differ by the rounding of 16 bits, which a wrong weight or input exceeds by far.
const TOLERANCE: f64 = 0.1;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only this, such as `language` or `train-fourier`; may be repeated. All otherwise
    #[arg(long = "head", value_name = "NAME")]
    heads: Vec<String>,
    /// Where both sides compute
    #[arg(long, value_enum, default_value_t = Place::Cpu)]
    device: Place,
    /// In what precision both sides compute
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// Examples in a pass; 1 otherwise, and 2 for training
    #[arg(long)]
    batch: Option<usize>,
    /// Passes after the first; 5 otherwise, 3 for training and 1 for a clip
    #[arg(long)]
    repeats: Option<usize>,
    /// One pass after the first, two chunks of a clip, and nothing is written down
    #[arg(long)]
    quick: bool,
    /// Where checkpoints are kept; those already there are not made again
    #[arg(long, default_value = CHECKPOINTS)]
    dir: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Dtype {
    F32,
    /// Ours converts the whole model, PyTorch's is automatic mixed precision
    Bf16,
}

/// Measures every case that is asked for and writes each down before the next begins.
pub(super) fn compare(arguments: &Arguments) -> Result<()> {
    let cases = arguments.cases()?;
    let ours = build(arguments.device)?;
    let with_theirs = reference::prepare()?;
    for case in cases {
        let folder = checkpoint(&ours, case.checkpoint, &arguments.dir)?;
        let mut contenders = vec![Contender::start("ours", arguments.ours(&ours, case, &folder))];
        if with_theirs {
            for engine in arguments.engines(case) {
                let command = arguments.theirs(engine, case, &folder);
                contenders.push(Contender::start(engine, command));
            }
        }
        let comparison = arguments.measure(case, contenders)?;
        println!("{}", page::compared(std::slice::from_ref(&comparison)));
        if !arguments.quick {
            let mut records = Records::read()?;
            records.compared(comparison);
            records.write()?;
            page::write(&records)?;
        }
    }
    Ok(())
}

impl Arguments {
    fn cases(&self) -> Result<Vec<&'static Case>> {
        let known = CASES.each_ref().map(|case| case.name).join(", ");
        if let Some(name) = self.heads.iter().find(|name| CASES.iter().all(|c| c.name != **name)) {
            bail!("no head {name}: the known ones are {known}");
        }
        let asked =
            |case: &&Case| self.heads.is_empty() || self.heads.iter().any(|n| n == case.name);
        // Training is single precision on both sides.
        let possible = |case: &&Case| self.dtype == Dtype::F32 || case.task != Task::Train;
        Ok(CASES.iter().filter(asked).filter(possible).collect())
    }

    fn batch(&self, case: &Case) -> usize {
        self.batch.unwrap_or(case.batch)
    }

    fn repeats(&self, case: &Case) -> usize {
        if self.quick { 1 } else { self.repeats.unwrap_or(case.repeats) }
    }

    /// What both workers understand alike.
    fn task(&self, case: &Case, folder: &Path) -> Vec<OsString> {
        let batch = self.batch(case).to_string();
        let mut words: Vec<OsString> =
            vec![case.task.name().into(), folder.into(), "--batch".into(), batch.into()];
        if self.dtype == Dtype::Bf16 {
            words.push("--bf16".into());
        }
        if self.quick && case.task == Task::Clip {
            words.extend(["--chunks".into(), QUICK_CHUNKS.to_string().into()]);
        }
        words
    }

    fn ours(&self, worker: &Path, case: &Case, folder: &Path) -> Result<Command> {
        let mut command = program(worker);
        command.args(self.task(case, folder)).args(["--device", self.device.ours()]);
        Ok(command)
    }

    /// ONNX Runtime has no 16 bits on the CPU and does not train.
    fn engines(&self, case: &Case) -> Vec<&'static str> {
        match self.device {
            Place::Cpu if case.task == Task::Forward && self.dtype == Dtype::F32 => {
                vec!["eager", "onnxruntime"]
            }
            Place::Cpu => vec!["eager"],
            Place::Cuda | Place::Vulkan => vec!["eager", "compile"],
        }
    }

    fn theirs(&self, engine: &str, case: &Case, folder: &Path) -> Result<Command> {
        let mut command = python()?;
        command.arg("tests/benches/reference/worker.py").args(self.task(case, folder));
        command.args(["--device", self.device.theirs(), "--engine", engine]);
        if engine == "onnxruntime" {
            let file = reference::export(folder, case.checkpoint, self.batch(case))?;
            command.arg("--onnx").arg(file);
        }
        Ok(command)
    }

    fn measure(&self, case: &Case, mut contenders: Vec<Contender>) -> Result<Comparison> {
        for _ in 0..=self.repeats(case) {
            for contender in &mut contenders {
                sleep(PAUSE);
                contender.pass();
            }
        }
        let mut versions = machine::versions()?;
        let mut sides = BTreeMap::new();
        let ours = contenders[0].first_results();
        for contender in contenders {
            versions.extend(contender.versions());
            sides.insert(contender.name.to_owned(), contender.finish(&ours));
        }
        let setting = Setting {
            machine: machine::name(self.device)?,
            device: self.device.name().to_owned(),
            dtype: if self.dtype == Dtype::Bf16 { "bf16" } else { "f32" }.to_owned(),
            date: machine::date()?,
            command: self.command(case),
            versions,
        };
        Ok(Comparison { case: case.name.to_owned(), batch: self.batch(case), setting, sides })
    }

    /// What repeats this case alone.
    fn command(&self, case: &Case) -> String {
        let mut command = format!("cargo xtask bench compare --head {}", case.name);
        if self.device != Place::Cpu {
            command += &format!(" --device {}", self.device.name());
        }
        if self.dtype == Dtype::Bf16 {
            command += " --dtype bf16";
        }
        if let Some(batch) = self.batch {
            command += &format!(" --batch {batch}");
        }
        if let Some(repeats) = self.repeats {
            command += &format!(" --repeats {repeats}");
        }
        command
    }
}

/// One side: a worker until it fails.
struct Contender {
    name: &'static str,
    worker: Result<Worker>,
    passes: Vec<Pass>,
}

impl Contender {
    fn start(name: &'static str, command: Result<Command>) -> Self {
        let worker = command.and_then(|mut command| Worker::start(&mut command));
        Self { name, worker, passes: Vec::new() }
    }

    fn pass(&mut self) {
        if let Ok(worker) = &mut self.worker {
            match worker.pass() {
                Ok(pass) => self.passes.push(pass),
                Err(error) => self.worker = Err(error),
            }
        }
    }

    fn versions(&self) -> BTreeMap<String, String> {
        self.worker.as_ref().map_or_else(|_| BTreeMap::new(), |worker| worker.versions.clone())
    }

    fn first_results(&self) -> Vec<f64> {
        self.passes.first().map_or_else(Vec::new, |pass| pass.results.clone())
    }

    /// Who did other work than ours, where that did any, has failed.
    fn finish(self, ours: &[f64]) -> Side {
        let results = self.first_results();
        let seconds: Vec<f64> = self.passes.iter().map(|pass| pass.seconds).collect();
        match self.worker.and_then(Worker::finish) {
            Err(error) => Side::Failed { reason: format!("{error:#}") },
            Ok(_) if !ours.is_empty() && !agree(&results, ours) => {
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

fn agree(results: &[f64], ours: &[f64]) -> bool {
    let largest = ours.iter().fold(0.0, |largest: f64, result| largest.max(result.abs()));
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= TOLERANCE * largest;
    results.len() == ours.len() && results.iter().zip(ours).all(near)
}
