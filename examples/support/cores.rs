//! Two cores to measure between, and pinning a process to one of them.
//!
//! Not here: which cores share a cache or are two threads of one. The numbers mean what the pair
//! that was chosen makes of them, so whoever measures prints the pair.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fmt;
use std::io;
use std::str::FromStr;

/// The cores of the two sides; one core twice if there is only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cores(pub(crate) usize, pub(crate) usize);

impl Cores {
    /// The first two that this process may use.
    pub(crate) fn first_allowed() -> io::Result<Self> {
        let allowed = allowed()?;
        let first = allowed.first().copied().unwrap_or(0);
        Ok(Self(first, allowed.get(1).copied().unwrap_or(first)))
    }

    /// These, if this process may use them.
    pub(crate) fn checked(self) -> Result<Self, String> {
        let allowed = allowed().map_err(|error| format!("could not ask for the cores: {error}"))?;
        match [self.0, self.1].into_iter().find(|core| !allowed.contains(core)) {
            Some(core) => Err(format!("core {core} may not be used here, only {allowed:?}")),
            None => Ok(self),
        }
    }

    /// Whether both sides share one core, so that one only runs while the other does not.
    pub(crate) fn are_one(self) -> bool {
        self.0 == self.1
    }
}

/// As in `--pin 0,1`.
impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pair = text.split_once(',').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let (first, second) = pair.ok_or("expected two core numbers, such as 0,1")?;
        Ok(Self(first, second))
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.0, self.1)
    }
}

/// Keeps the calling thread on one core for as long as it lives.
pub(crate) struct Pinned {
    before: CpuSet,
}

impl Pinned {
    fn to(core: usize) -> Result<Self, String> {
        let pin = || {
            let before = sched_getaffinity(None)?;
            let mut set = CpuSet::new();
            set.set(core);
            sched_setaffinity(None, &set)?;
            Ok(Self { before })
        };
        pin().map_err(|error: io::Error| format!("could not pin to core {core}: {error}"))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It could before, so it can again, unless someone takes cores away right now.
        let _ = sched_setaffinity(None, &self.before);
    }
}

/// An endpoint judges when it joins whether another core could be at work for it, by the cores
/// that its thread may use. So a process that shares its core is pinned before it joins, and one
/// that has its core to itself afterwards.
impl Cores {
    /// Pins this thread to one of these, if now is the time.
    pub(crate) fn pin_before_joining(self, core: usize) -> Result<Option<Pinned>, String> {
        if self.are_one() { Pinned::to(core).map(Some) } else { Ok(None) }
    }

    /// Pins this thread to one of these, if now is the time.
    pub(crate) fn pin_after_joining(self, core: usize) -> Result<Option<Pinned>, String> {
        if self.are_one() { Ok(None) } else { Pinned::to(core).map(Some) }
    }
}

fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}
