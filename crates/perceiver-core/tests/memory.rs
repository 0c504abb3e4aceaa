//! Memory that the process keeps after freeing it. The only test of its binary, as it measures the
//! whole process.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::fs::read_to_string;

use perceiver_core::keep_freed_memory;

/// Size in KiB.
const BLOCK: usize = 16 << 10;

/// Resident memory of the process in KiB.
fn resident() -> usize {
    let status = read_to_string("/proc/self/status").expect("Linux has a status of the process");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a line with the resident memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// KiB of a [`BLOCK`] that stay with the process after it is freed.
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
