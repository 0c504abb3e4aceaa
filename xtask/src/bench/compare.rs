//! Ours and theirs in turn: A B A B, each in a process of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, ScopedJoinHandle, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use super::case::{CASES, Case, Task, checkpoint};
use super::contender::Contender;
use super::record::{Comparison, Records, Setting};
use super::{CHECKPOINTS, Place, build, machine, page, reference};
use crate::process::{program, python, root};

/// Between passes: threads of the side that has just ended its pass still wait for more, awake.
const PAUSE: Duration = Duration::from_millis(500);

/// Chunks of a clip when there is little time.
const QUICK_CHUNKS: usize = 2;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only this, such as `language` or `train-fourier`; may be repeated. All otherwise
    #[arg(long = "head", value_name = "NAME")]
    heads: Vec<String>,
    /// Where both sides compute
    #[arg(long, value_enum, default_value_t = Place::Cpu)]
    device: Place,
    /// In what precision both sides compute; may be repeated
    #[arg(long = "dtype", value_enum, default_value = "f32")]
    dtypes: Vec<Dtype>,
    /// Examples in a pass, may be repeated; 1 otherwise, and 2 for training
    #[arg(long = "batch", value_name = "COUNT")]
    batches: Vec<usize>,
    /// Passes after the first; 5 otherwise, 3 for training and 1 for a clip
    #[arg(long)]
    repeats: Option<usize>,
    /// One pass after the first, two chunks of a clip, and nothing is written down
    #[arg(long)]
    quick: bool,
    /// Load all rows at once, with their first passes, where a machine is lent by the minute and
    /// has the memory; later passes are alone as ever
    #[arg(long)]
    together: bool,
    /// Our worker, built before, where there is no cargo
    #[arg(long, value_name = "PROGRAM")]
    worker: Option<PathBuf>,
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

impl Dtype {
    const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
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

/// Measures every row that is asked for and writes each down before the next begins.
pub(super) fn compare(arguments: &Arguments) -> Result<()> {
    let rows = arguments.rows()?;
    let worker = match &arguments.worker {
        Some(worker) => worker.canonicalize().with_context(|| worker.display().to_string())?,
        None => build(arguments.device)?,
    };
    let with_theirs = reference::prepare()?;
    for row in &rows {
        checkpoint(&worker, row.case.checkpoint, &arguments.dir)?;
    }
    let theirs = |row: &Row| if with_theirs { arguments.start_theirs(*row) } else { vec![] };
    if !arguments.together {
        return rows.iter().try_for_each(|row| arguments.row(&worker, *row, theirs(row)));
    }
    let begun: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = rows.iter().map(|row| scope.spawn(|| theirs(row))).collect();
        threads.into_iter().map(join).collect()
    });
    rows.iter().zip(begun).try_for_each(|(row, theirs)| arguments.row(&worker, *row, theirs))
}

impl Arguments {
    fn rows(&self) -> Result<Vec<Row>> {
        let known = CASES.each_ref().map(|case| case.name).join(", ");
        if let Some(name) = self.heads.iter().find(|name| CASES.iter().all(|c| c.name != **name)) {
            bail!("no head {name}: the known ones are {known}");
        }
        let asked =
            |case: &&Case| self.heads.is_empty() || self.heads.iter().any(|n| n == case.name);
        let mut rows = Vec::new();
        for case in CASES.iter().filter(asked) {
            let batches = if self.batches.is_empty() { &[case.batch][..] } else { &self.batches };
            for &dtype in &self.dtypes {
                // Training is single precision on both sides.
                if dtype == Dtype::F32 || case.task != Task::Train {
                    rows.extend(batches.iter().map(|&batch| Row { case, dtype, batch }));
                }
            }
        }
        Ok(rows)
    }

    fn repeats(&self, case: &Case) -> usize {
        if self.quick { 1 } else { self.repeats.unwrap_or(case.repeats) }
    }

    /// Loads their sides, one after the other, or at once and with their first passes.
    fn start_theirs(&self, row: Row) -> Vec<Contender> {
        let folder = self.folder(row);
        let start = |engine| Contender::start(engine, self.theirs(engine, row, &folder));
        let engines = self.engines(row);
        if !self.together {
            return engines.into_iter().map(start).collect();
        }
        let start = |engine| {
            let mut contender = start(engine);
            contender.pass();
            contender
        };
        thread::scope(|scope| {
            let threads: Vec<_> =
                engines.into_iter().map(|engine| scope.spawn(move || start(engine))).collect();
            threads.into_iter().map(join).collect()
        })
    }

    /// Measures a row and writes it down. Ours tunes by time, so that its first pass is alone, too.
    fn row(&self, worker: &Path, row: Row, theirs: Vec<Contender>) -> Result<()> {
        let mut contenders = vec![Contender::start("ours", Ok(self.ours(worker, row)))];
        contenders.extend(theirs);
        let comparison = self.measure(row, contenders)?;
        println!("{}", page::compared(std::slice::from_ref(&comparison)));
        if !self.quick {
            let mut records = Records::read()?;
            records.compared(comparison);
            records.write()?;
            page::write(&records)?;
        }
        Ok(())
    }

    fn folder(&self, row: Row) -> PathBuf {
        root().join(&self.dir).join(row.case.checkpoint)
    }

    /// What both workers understand alike.
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

    fn ours(&self, worker: &Path, row: Row) -> Command {
        let mut command = program(worker);
        command.args(self.task(row, &self.folder(row))).args(["--device", self.device.ours()]);
        command
    }

    /// ONNX Runtime has no 16 bits on the CPU and does not train.
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
        for _ in 0..=self.repeats(row.case) {
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
            dtype: row.dtype.name().to_owned(),
            date: machine::date()?,
            command: self.command(row),
            versions,
        };
        Ok(Comparison { case: row.case.name.to_owned(), batch: row.batch, setting, sides })
    }

    /// What repeats this row alone.
    fn command(&self, row: Row) -> String {
        let mut command = format!("cargo xtask bench compare --head {}", row.case.name);
        if self.device != Place::Cpu {
            command += &format!(" --device {}", self.device.name());
        }
        if row.dtype == Dtype::Bf16 {
            command += " --dtype bf16";
        }
        if !self.batches.is_empty() {
            command += &format!(" --batch {}", row.batch);
        }
        if let Some(repeats) = self.repeats {
            command += &format!(" --repeats {repeats}");
        }
        command
    }
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().expect("nothing panics in it")
}
