//! Runs scenarios: starts their processes, pins them, passes messages between them.
//!
//! - Every run starts new partners, so no run inherits caches or pages from the run before it.
//! - A run fails if a partner ends early or the run takes too long. A failed run leaves nothing in
//!   `/dev/shm`.
//!
//! Scenarios are in `scenarios` and `floor`; tables and plots are in `report`.

mod leftovers;
mod partner;
mod phase;
mod probe;
mod run;
mod scenario;
mod watch;

pub(crate) use leftovers::remove_of_the_dead;
pub(crate) use partner::Partner;
pub(crate) use phase::{ATTEMPTS, Phase, Runs, Spread, State, method as phase_method, two_states};
pub(crate) use probe::Probe;
pub(crate) use run::{BACK, Run, Scale, Side, THERE};
pub(crate) use scenario::{Curve, Sample, Scenario, Target, Unit};

use hdrhistogram::Histogram;
use std::error::Error;
use std::time::Duration;

/// Result of every fallible function of this bench.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Longest latency that is recorded, in nanoseconds.
const LONGEST: u64 = 100_000_000_000;

/// Returns an empty histogram of latencies in nanoseconds, with three significant digits.
pub(crate) fn latencies() -> Outcome<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LONGEST, 3)?)
}

/// Millions of items per second.
pub(crate) fn millions(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64() / 1e6
}

/// The upper median; NaN if there are no values.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Returns an error for packet `expected` unless it `is_right`.
#[inline]
pub(crate) fn check(is_right: bool, expected: u64) -> Result<(), String> {
    if is_right { Ok(()) } else { Err(format!("wrong content in packet {expected}")) }
}

/// Processor time that this process has used.
#[expect(clippy::disallowed_methods, reason = "processor time is not the time of day")]
pub(crate) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
