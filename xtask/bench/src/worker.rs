//! A program that runs a head once for every line it is sent.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A worker that has loaded its model.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    began: Instant,
    /// Versions of its libraries, by name.
    pub(super) versions: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Ready {
    #[serde(default)]
    versions: BTreeMap<String, String>,
}

/// The cost of a pass, and a few of its results.
#[derive(Debug, Deserialize)]
pub(super) struct Pass {
    pub(super) seconds: f64,
    pub(super) results: Vec<f64>,
}

/// The most memory that a worker ever had.
#[derive(Debug, Deserialize)]
pub(super) struct Memory {
    pub(super) peak_mebibytes: Option<u64>,
    pub(super) device_mebibytes: Option<u64>,
}

impl Worker {
    /// Starts a worker and waits until it has loaded.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let input = child.stdin.take().context("its input is piped")?;
        let output = BufReader::new(child.stdout.take().context("its output is piped")?);
        let began = Instant::now();
        let mut worker = Self { child, input, output, began, versions: BTreeMap::new() };
        let ready: Ready = worker.line()?;
        worker.versions = ready.versions;
        Ok(worker)
    }

    pub(super) fn pass(&mut self) -> Result<Pass> {
        // Where it has ended, its answer is missing and says more than the broken pipe.
        let _ = writeln!(self.input);
        self.line()
    }

    /// Makes a pass; ends the worker if it is not done `patience` after its start.
    pub(super) fn pass_within(&mut self, patience: Duration) -> Result<Pass> {
        let left = patience.saturating_sub(self.began.elapsed());
        let (answered, waited) = channel::<()>();
        let process = self.child.id();
        let watch = thread::spawn(move || {
            let late = waited.recv_timeout(left) == Err(RecvTimeoutError::Timeout);
            if late { signal("KILL", process).map(|()| true) } else { Ok(false) }
        });
        let pass = self.pass();
        drop(answered);
        let late = watch.join().expect("nothing panics in it")?;
        if late {
            bail!("no answer within {} s, when it was ended", patience.as_secs())
        }
        pass
    }

    /// Stops the process until [`Self::resume`]: a waiting process may still poll.
    pub(super) fn pause(&self) -> Result<()> {
        signal("STOP", self.child.id())
    }

    pub(super) fn resume(&self) -> Result<()> {
        signal("CONT", self.child.id())
    }

    /// Ends the worker and returns its peak of memory.
    pub(super) fn finish(self) -> Result<Memory> {
        let Self { mut child, input, mut output, .. } = self;
        drop(input);
        let memory = answer(&mut output, &mut child)?;
        let status = child.wait()?;
        ensure!(status.success(), "ended with {status}");
        Ok(memory)
    }

    fn line<T: DeserializeOwned>(&mut self) -> Result<T> {
        answer(&mut self.output, &mut self.child)
    }
}

fn answer<T: DeserializeOwned>(
    output: &mut BufReader<ChildStdout>,
    child: &mut Child,
) -> Result<T> {
    let mut line = String::new();
    if output.read_line(&mut line)? == 0 {
        bail!("ended with {}", child.wait()?);
    }
    serde_json::from_str(&line).with_context(|| format!("answered {}", line.trim_end()))
}

/// Builds a benchmark and returns its path.
pub(super) fn executable(build: &mut Command, name: &str) -> Result<PathBuf> {
    println!("$ cargo bench --bench {name} --no-run");
    let built = build.stderr(Stdio::inherit()).output()?;
    ensure!(built.status.success(), "cargo bench: {}", built.status);
    let messages = built.stdout.split(|&byte| byte == b'\n');
    let found = messages.filter_map(|line| serde_json::from_slice::<Value>(line).ok()).find_map(
        |message| {
            let is_it = message["target"]["name"] == name;
            message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
        },
    );
    found.with_context(|| format!("cargo named no executable for {name}"))
}

/// Sends a signal, such as `STOP`, to a worker.
fn signal(name: &str, process: u32) -> Result<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status()?;
    ensure!(status.success(), "kill -{name}: {status}");
    Ok(())
}
