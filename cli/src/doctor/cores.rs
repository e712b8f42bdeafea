//! The cores: how many this process may use, and how fast a cache line moves between two of them.
//!
//! The host of a virtual machine can move its cores within seconds: close together, a line is there
//! and back in about 100 ns, apart in 270 to 540 ns. All figures of a ring follow.

use super::Check;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;
use std::hint;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Below this time there and back, the cores share a cache.
const COUPLED: Duration = Duration::from_nanos(200);
/// Above this time, the two do not run at the same time.
const NOT_TOGETHER: Duration = Duration::from_micros(5);
/// Rounds of a sample.
const ROUNDS: u64 = 500;
/// How long the doctor measures.
const SPAN: Duration = Duration::from_millis(250);
/// The word that ends the measurement.
const END: u64 = u64::MAX;

/// The number of cores.
pub(super) fn count() -> Check {
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    judge_count(usable, allowed().len(), online.trim())
}

fn judge_count(usable: usize, allowed: usize, online: &str) -> Check {
    let all = if online.is_empty() { String::new() } else { format!("; online: {online}") };
    match (usable, allowed) {
        (0..=1, 2..) => Check::warning(
            "cores",
            format!("a quota gives this process the time of {usable} of {allowed} cores{all}"),
            "raise the quota of the container, or let readers park and not spin",
        ),
        (0..=1, _) => Check::warning(
            "cores",
            format!("this process may use {usable} core{all}: both sides of a ring take turns"),
            "give the processes two cores (taskset, cpuset), or let readers park and not spin",
        ),
        _ => Check::ok("cores", format!("this process may use {usable} cores{all}")),
    }
}

/// The cores that this process may use.
pub(crate) fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// The time of a line there and back.
pub(super) fn bounce() -> Check {
    match &*allowed() {
        [first, .., last] => judge_bounce(*first, *last, &mut measure(*first, *last, SPAN)),
        _ => Check::warning("bounce", "not measured: it needs two cores", "allow two cores"),
    }
}

/// The times of a line there and back, one of each sample.
pub(crate) fn measure(first: usize, second: usize, span: Duration) -> Vec<Duration> {
    let word = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(second);
            let mut seen = 0;
            loop {
                match word.load(Ordering::Acquire) {
                    END => break,
                    next if next > seen && next % 2 == 1 => {
                        seen = next + 1;
                        word.store(seen, Ordering::Release);
                    }
                    _ => hint::spin_loop(),
                }
            }
        });
        let sampler = scope.spawn(|| {
            pin(first);
            let started = Instant::now();
            let (mut samples, mut next) = (Vec::new(), 1);
            while started.elapsed() < span {
                let start = Instant::now();
                for _ in 0..ROUNDS {
                    word.store(next, Ordering::Release);
                    while word.load(Ordering::Acquire) != next + 1 {
                        hint::spin_loop();
                    }
                    next += 2;
                }
                samples.push(start.elapsed() / ROUNDS as u32);
            }
            word.store(END, Ordering::Release);
            samples
        });
        sampler.join().unwrap_or_default()
    })
}

/// Binds this thread to a core. Without permission it runs anywhere, and the figure is rougher.
pub(crate) fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    let _ = sched_setaffinity(None, &set);
}

/// The time of a line there and back, without the extremes, which interrupts cause.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounce {
    low: Duration,
    pub(crate) median: Duration,
    high: Duration,
}

/// How two cores stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// They share a cache.
    Coupled,
    /// They do not.
    Apart,
    /// The machine changes between both.
    Changing,
    /// The two do not run at the same time.
    NotTogether,
}

impl Bounce {
    /// The figures of these samples.
    pub(crate) fn of(samples: &mut [Duration]) -> Self {
        samples.sort_unstable();
        let at = |part: usize| samples.get(samples.len() * part / 20).copied().unwrap_or_default();
        Self { low: at(1), median: at(10), high: at(18) }
    }

    /// How the cores stood to each other.
    pub(crate) fn phase(&self) -> Phase {
        match (self.low < COUPLED, self.high < COUPLED) {
            _ if self.median >= NOT_TOGETHER => Phase::NotTogether,
            (_, true) => Phase::Coupled,
            (false, false) => Phase::Apart,
            (true, false) => Phase::Changing,
        }
    }
}

impl Phase {
    /// The phase as the end of a sentence.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Coupled => "the cores are coupled",
            Self::Apart => "the cores are apart",
            Self::Changing => "the machine changes between coupled and apart",
            Self::NotTogether => "the two cores do not run at the same time",
        }
    }

    /// What to change, if something could be.
    pub(crate) fn remedy(self) -> Option<&'static str> {
        Some(match self {
            Self::Coupled => return None,
            Self::Apart => {
                "bind both sides of a busy ring to cores that share a cache (lscpu -e), if there are \
                 such"
            }
            Self::Changing => {
                "compare figures of one phase only; on a virtual machine, ask for cores of its own"
            }
            Self::NotTogether => "end other programs that spin, or let readers park",
        })
    }
}

fn judge_bounce(first: usize, second: usize, samples: &mut [Duration]) -> Check {
    let bounce = Bounce::of(samples);
    let (Bounce { low, median, high }, phase) = (bounce, bounce.phase());
    let text = format!(
        "a line between cores {first} and {second} is there and back in {} ns (of 9 in 10 samples: {} to {} ns): {}",
        median.as_nanos(),
        low.as_nanos(),
        high.as_nanos(),
        phase.sentence()
    );
    match phase.remedy() {
        None => Check::ok("bounce", text),
        Some(remedy) => Check::warning("bounce", text, remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn phases_are_told_apart() {
        let judge = |times: &[u64]| {
            let mut samples: Vec<_> =
                times.iter().cycle().take(40).map(|&time| Duration::from_nanos(time)).collect();
            judge_bounce(0, 1, &mut samples)
        };
        assert_eq!(judge(&[100]).level, Level::Ok);
        assert!(judge(&[300]).message.ends_with("are apart"));
        assert!(judge(&[100, 300]).message.ends_with("coupled and apart"));
        assert!(judge(&[50_000]).message.contains("do not run at the same time"));
    }

    #[test]
    fn a_single_core_is_a_warning() {
        assert_eq!(judge_count(1, 1, "0-1").level, Level::Warning);
        assert!(judge_count(1, 4, "0-3").message.contains("quota"));
        assert_eq!(judge_count(2, 2, "").level, Level::Ok);
    }
}
