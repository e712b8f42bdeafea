//! How anything here is measured: what a scenario is, what its processes know, how they talk.
//!
//! Every run starts its partners anew, so no run inherits caches, pages or luck from the one before
//! it. A run that a partner ends early, or that takes too long, is an error, and nothing of it
//! stays in `/dev/shm`. Not here: what is measured (`scenarios`, `floor`), and what is made of it
//! (`report`).

mod leftovers;
mod partner;
mod run;
mod scenario;
mod watch;

pub(crate) use leftovers::remove_of_the_dead;
pub(crate) use partner::Partner;
pub(crate) use run::{BACK, Run, Scale, Side, THERE};
pub(crate) use scenario::{Curve, Sample, Scenario, Target, Unit};

use hdrhistogram::Histogram;
use std::error::Error;
use std::time::Duration;

/// What comes out of anything here.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// No latency is recorded as more than this, in nanoseconds.
const LONGEST: u64 = 100_000_000_000;

/// An empty record of latencies in nanoseconds, to three digits.
pub(crate) fn latencies() -> Outcome<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LONGEST, 3)?)
}

/// Millions of things a second.
pub(crate) fn millions(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64() / 1e6
}

/// The middle one; of none, nothing at all.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Whether what came is what should have come.
#[inline]
pub(crate) fn check(is_right: bool, expected: u64) -> Result<(), String> {
    if is_right { Ok(()) } else { Err(format!("packet {expected} is not what was sent")) }
}

/// What this process has had of the processors.
#[expect(clippy::disallowed_methods, reason = "processor time is no time of day")]
pub(crate) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
