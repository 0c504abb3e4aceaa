//! What a process keeps of the memory that it freed; alone here, as it is of the whole process.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::fs::read_to_string;

use perceiver_core::keep_freed_memory;

/// KiB.
const BLOCK: usize = 16 << 10;

/// KiB of memory that the process has.
fn resident() -> usize {
    let status = read_to_string("/proc/self/status").expect("Linux says what a process has");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// KiB of [`BLOCK`] that remain after it was freed.
fn kept() -> usize {
    let before = resident();
    drop(std::hint::black_box(vec![1u8; BLOCK * 1024]));
    resident().saturating_sub(before)
}

#[test]
fn freed_blocks_stay_with_the_process_when_asked_to() {
    assert!(kept() < BLOCK / 4);
    keep_freed_memory();
    assert!(kept() > BLOCK / 4 * 3);
}
