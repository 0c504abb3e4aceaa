//! Our side and the others in turn: A B A B, each in a process of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, ScopedJoinHandle, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use super::case::{CASES, Case, Task, checkpoint, folder};
use super::contender::Contender;
use super::record::{Comparison, Records, Setting};
use super::{CHECKPOINTS, Place, build, machine, page, reference};
use perceiver_workspace::{program, python};

/// The pause between passes on a CPU: after a pass, the threads of a side spin for a while before
/// they sleep.
const PAUSE: Duration = Duration::from_millis(500);

/// Chunks of a clip under `--quick`.
const QUICK_CHUNKS: usize = 2;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only this row, such as `language`, or `language:8` for 8 examples per pass; may be repeated.
    /// By default all rows, with the batch sizes of the page
    #[arg(long = "head", value_name = "NAME[:BATCH]")]
    heads: Vec<String>,
    /// Where both sides compute
    #[arg(long, value_enum, default_value_t = Place::Cpu)]
    device: Place,
    /// The precision of both sides; may be repeated
    #[arg(long = "dtype", value_enum, default_value = "f32")]
    dtypes: Vec<Dtype>,
    /// Passes after the first; 5 otherwise, 3 for training and 1 for a clip
    #[arg(long)]
    repeats: Option<usize>,
    /// One pass after the first, two chunks of a clip, and no record
    #[arg(long)]
    quick: bool,
    /// Load all rows and make their first passes at once, on a machine that is available for minutes
    /// and has the memory; measured passes still run alone, with the other rows' processes stopped
    #[arg(long)]
    together: bool,
    /// Seconds for a side to load and make its first pass, before it is killed and counts as failed
    #[arg(long, value_name = "SECONDS")]
    patience: Option<u64>,
    /// Our worker, built elsewhere, on a machine without cargo
    #[arg(long, value_name = "PROGRAM")]
    worker: Option<PathBuf>,
    /// Folder of the checkpoints; existing ones are used again
    #[arg(long, default_value = CHECKPOINTS)]
    dir: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Dtype {
    F32,
    /// Our side converts the whole model, PyTorch uses automatic mixed precision
    Bf16,
}

impl Dtype {
    const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// The allowed difference of results, relative to the largest: tens of layers round to 8 bits, and
    /// the sides round at different places. A wrong weight or input exceeds it by far.
    const fn tolerance(self) -> f64 {
        match self {
            Self::F32 => 0.05,
            Self::Bf16 => 0.3,
        }
    }
}

/// A line of the table.
#[derive(Debug, Clone, Copy)]
struct Row {
    case: &'static Case,
    dtype: Dtype,
    batch: usize,
}

/// Measures every requested row and records each before the next begins.
pub(super) fn compare(arguments: &Arguments) -> Result<()> {
    let rows = arguments.rows()?;
    let worker = match &arguments.worker {
        Some(worker) => worker.canonicalize().with_context(|| worker.display().to_string())?,
        None => build(arguments.device)?,
    };
    let with_theirs = reference::prepare()?;
    let prepare = |row: &Row| checkpoint(&worker, row.case.checkpoint, &arguments.dir).map(drop);
    let start = |row: &Row| arguments.start(&worker, *row, with_theirs);
    if !arguments.together {
        return rows.iter().try_for_each(|row| {
            prepare(row)?;
            arguments.finish(*row, start(row))
        });
    }
    rows.iter().try_for_each(prepare)?;
    let started: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = rows.iter().map(|row| scope.spawn(|| start(row))).collect();
        threads.into_iter().map(join).collect()
    });
    started.iter().flatten().try_for_each(Contender::pause)?;
    rows.iter().zip(started).try_for_each(|(row, sides)| {
        sides.iter().try_for_each(Contender::resume)?;
        arguments.finish(*row, sides)
    })
}

impl Arguments {
    fn rows(&self) -> Result<Vec<Row>> {
        let cases = if self.heads.is_empty() {
            CASES.iter().map(|case| (case, case.batch)).collect()
        } else {
            self.heads.iter().map(|head| find(head)).collect::<Result<Vec<_>>>()?
        };
        let mut rows = Vec::new();
        for (case, batch) in cases {
            // Training is single precision on both sides.
            let possible = |dtype: &Dtype| *dtype == Dtype::F32 || case.task != Task::Train;
            let dtypes = self.dtypes.iter().copied().filter(possible);
            rows.extend(dtypes.map(|dtype| Row { case, dtype, batch }));
        }
        Ok(rows)
    }

    fn repeats(&self, case: &Case) -> usize {
        if self.quick { 1 } else { self.repeats.unwrap_or(case.repeats) }
    }

    /// Loads every side and lets each make its first pass; all at once under `--together`.
    fn start(&self, worker: &Path, row: Row, with_theirs: bool) -> Vec<Contender> {
        let folder = folder(row.case.checkpoint, &self.dir);
        let mut commands = vec![("ours", Ok(self.ours(worker, row, &folder)))];
        if with_theirs {
            let theirs = |engine| (engine, self.theirs(engine, row, &folder));
            commands.extend(self.engines(row).into_iter().map(theirs));
        }
        if !self.together {
            let mut sides: Vec<_> = commands
                .into_iter()
                .map(|(name, command)| Contender::start(name, command))
                .collect();
            for side in &mut sides {
                rest(self.device);
                self.first_pass(side);
            }
            return sides;
        }
        thread::scope(|scope| {
            let start = |(name, command)| {
                scope.spawn(move || {
                    let mut side = Contender::start(name, command);
                    self.first_pass(&mut side);
                    side
                })
            };
            let threads: Vec<_> = commands.into_iter().map(start).collect();
            threads.into_iter().map(join).collect()
        })
    }

    fn first_pass(&self, side: &mut Contender) {
        match self.patience {
            Some(seconds) => side.pass_within(Duration::from_secs(seconds)),
            None => side.pass(),
        }
    }

    /// Measures a row and records it.
    fn finish(&self, row: Row, sides: Vec<Contender>) -> Result<()> {
        let comparison = self.measure(row, sides)?;
        println!("{}", page::row(&comparison));
        if !self.quick {
            let mut records = Records::read()?;
            records.compared(comparison);
            records.write()?;
            page::write(&records)?;
        }
        Ok(())
    }

    /// The arguments that both workers understand.
    fn task(&self, row: Row, folder: &Path) -> Vec<OsString> {
        let task = row.case.task;
        let batch = row.batch.to_string();
        let mut words: Vec<OsString> =
            vec![task.name().into(), folder.into(), "--batch".into(), batch.into()];
        if row.dtype == Dtype::Bf16 {
            words.push("--bf16".into());
        }
        if self.quick && task == Task::Clip {
            words.extend(["--chunks".into(), QUICK_CHUNKS.to_string().into()]);
        }
        words
    }

    fn ours(&self, worker: &Path, row: Row, folder: &Path) -> Command {
        let mut command = program(worker);
        command.args(self.task(row, folder)).args(["--device", self.device.ours()]);
        command
    }

    /// ONNX Runtime has no half precision on the CPU and does not train.
    fn engines(&self, row: Row) -> Vec<&'static str> {
        match self.device {
            Place::Cpu if row.case.task == Task::Forward && row.dtype == Dtype::F32 => {
                vec!["eager", "onnxruntime"]
            }
            Place::Cpu => vec!["eager"],
            Place::Cuda | Place::Vulkan => vec!["eager", "compile"],
        }
    }

    fn theirs(&self, engine: &str, row: Row, folder: &Path) -> Result<Command> {
        let mut command = python()?;
        command.arg("tests/benches/reference/worker.py").args(self.task(row, folder));
        command.args(["--device", self.device.theirs(), "--engine", engine]);
        if engine == "onnxruntime" {
            let file = reference::export(folder, row.case.checkpoint, row.batch)?;
            command.arg("--onnx").arg(file);
        }
        Ok(command)
    }

    fn measure(&self, row: Row, mut contenders: Vec<Contender>) -> Result<Comparison> {
        for _ in 0..self.repeats(row.case) {
            pass(&mut contenders, self.device);
        }
        let mut versions = machine::versions()?;
        let mut sides = BTreeMap::new();
        let ours = contenders[0].first_results();
        for contender in contenders {
            versions.extend(contender.versions());
            sides.insert(contender.name.to_owned(), contender.finish(&ours, row.dtype.tolerance()));
        }
        let setting = Setting {
            machine: machine::name(self.device)?,
            device: self.device.name().to_owned(),
            dtype: row.dtype.name().to_owned(),
            date: machine::date()?,
            command: self.command(row),
            versions,
        };
        Ok(Comparison { case: row.case.name.to_owned(), batch: row.batch, setting, sides })
    }

    /// The command that repeats this row alone.
    fn command(&self, row: Row) -> String {
        let mut command = format!("cargo xtask bench compare --head {}", row.case.name);
        if row.batch != row.case.batch {
            command += &format!(":{}", row.batch);
        }
        if self.device != Place::Cpu {
            command += &format!(" --device {}", self.device.name());
        }
        if row.dtype == Dtype::Bf16 {
            command += " --dtype bf16";
        }
        if let Some(repeats) = self.repeats {
            command += &format!(" --repeats {repeats}");
        }
        if self.together {
            command += " --together";
        }
        if let Some(seconds) = self.patience {
            command += &format!(" --patience {seconds}");
        }
        command
    }
}

/// Finds a case by name, with its number of examples.
fn find(head: &str) -> Result<(&'static Case, usize)> {
    let (name, batch) = match head.split_once(':') {
        Some((name, batch)) => (name, Some(batch)),
        None => (head, None),
    };
    let Some(case) = CASES.iter().find(|case| case.name == name) else {
        let known = CASES.each_ref().map(|case| case.name).join(", ");
        bail!("no head {name}: the known ones are {known}");
    };
    let count = |batch: &str| batch.parse::<NonZeroUsize>().map(NonZeroUsize::get);
    let batch =
        batch.map(|batch| count(batch).with_context(|| format!("{head}: expected a count")));
    Ok((case, batch.transpose()?.unwrap_or(case.batch)))
}

/// A pass of every side, one after the other.
fn pass(sides: &mut [Contender], place: Place) {
    for side in sides {
        rest(place);
        side.pass();
    }
}

/// Lets the threads of an earlier pass go to sleep.
fn rest(place: Place) {
    if place == Place::Cpu {
        sleep(PAUSE);
    }
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().expect("nothing panics in it")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_head_may_name_its_number_of_examples() {
        let found = |head: &str| find(head).map(|(case, batch)| (case.name, batch));
        assert_eq!(found("language").unwrap(), ("language", 1));
        assert_eq!(found("train-fourier").unwrap(), ("train-fourier", 2));
        assert_eq!(found("language:8").unwrap(), ("language", 8));
    }

    #[test]
    fn unknown_heads_and_invalid_counts_are_refused() {
        let refused = |head: &str| find(head).unwrap_err().to_string();
        assert!(refused("speech:8").contains("no head speech"), "{}", refused("speech:8"));
        assert!(refused("speech").contains("vision-conv"), "{}", refused("speech"));
        for head in ["language:many", "language:0"] {
            assert_eq!(refused(head), format!("{head}: expected a count"));
        }
    }
}
