//! Milliseconds, on one thread, to read each photo and to bring it to a model's input.
//!
//! `cargo xtask bench images` runs this beside `pillow.py`, which does the same with Pillow.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use perceiver_data::{Backend, PerceiverImageProcessor, Result, read_image};

/// How long every measurement is repeated.
const PATIENCE: Duration = Duration::from_millis(500);

fn main() -> Result<()> {
    let processor = PerceiverImageProcessor::default().with_backend(Backend::Pil);
    // Cargo adds an argument of its own.
    for path in std::env::args().skip(1).filter(|argument| !argument.starts_with("--")) {
        let image = [read_image(&path)?];
        let read = median(|| read_image(&path));
        let preprocess = median(|| processor.preprocess(&image));
        println!("{read:.3} {preprocess:.3} {path}");
    }
    Ok(())
}

fn median<T>(work: impl Fn() -> T) -> f64 {
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 5 || start.elapsed() < PATIENCE {
        let start = Instant::now();
        black_box(work());
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
