//! Benchmarks and experiments of the peak crates; see `benches/` and `src/bin/` beside this file.
//!
//! What the programs share: how they measure themselves, and numbers that look random.

pub mod matrix;
pub mod streaming;

use rustix::time::{ClockId, clock_gettime};

/// The time that all threads of this process have spent on a processor, in seconds. A busy machine
/// lengthens the time on the wall, but hardly this one.
#[must_use]
pub fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The memory of this process in bytes, where the system tells: `VmRSS` is what it has, `VmHWM` the
/// most that it had.
#[must_use]
pub fn memory_bytes(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(1_024 * line.split_whitespace().next()?.parse::<u64>().ok()?)
}

/// The middle one of these numbers, of which there must be one.
#[must_use]
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// A number that looks random (SplitMix64).
#[must_use]
pub fn mix(i: u64) -> u64 {
    let i = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let i = (i ^ (i >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let i = (i ^ (i >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    i ^ (i >> 31)
}
