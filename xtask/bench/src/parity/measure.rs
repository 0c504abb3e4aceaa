//! Time and peak memory of a program.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The cost of one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// Wall clock, from start to exit.
    pub(super) seconds: f64,
    /// The kernel's high-water mark of resident memory, 0 where it keeps none (not Linux).
    pub(super) peak_mebibytes: u64,
}

/// Runs a program to its end and reads its peak every 10 ms. The mark only grows, so it can only miss a
/// new peak in the last 10 ms.
pub(super) fn run(command: &mut Command) -> Result<Usage> {
    let start = Instant::now();
    let mut child = command.spawn()?;
    let mut peak_kibibytes = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            let seconds = start.elapsed().as_secs_f64();
            if !status.success() {
                bail!("{}: {status}", command.get_program().to_string_lossy());
            }
            return Ok(Usage { seconds, peak_mebibytes: peak_kibibytes / 1024 });
        }
        peak_kibibytes = resident_peak(child.id()).unwrap_or(peak_kibibytes);
        sleep(Duration::from_millis(10));
    }
}

fn resident_peak(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
