//! The counters of endpoints: as JSON, as sums over a side of a ring, and what was added to them
//! between two snapshots.

use packetring::inspect::{Counters, EndpointInfo};
use rustix::time::{ClockId, clock_gettime};
use serde::{Serialize, Serializer};
use std::iter::Sum;
use std::time::Duration;

/// Figures of one endpoint, or their sum over several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) full: u64,
    pub(crate) evicted: u64,
    pub(crate) missed: u64,
    pub(crate) skipped: u64,
    pub(crate) redelivered: u64,
    pub(crate) parks: u64,
    pub(crate) wakes: u64,
    pub(crate) recoveries: u64,
    #[serde(rename = "blocked_seconds", serialize_with = "seconds")]
    pub(crate) blocked: Duration,
}

fn seconds<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(span.as_secs_f64())
}

impl Counts {
    /// The figures of an endpoint, since it joined.
    pub(crate) fn of(endpoint: &EndpointInfo) -> Self {
        let Counters { packets, bytes, full, evicted, missed, skipped, .. } = endpoint.counters;
        let Counters { redelivered, parks, wakes, recoveries, blocked, .. } = endpoint.counters;
        Self {
            packets,
            bytes,
            full,
            evicted,
            missed,
            skipped,
            redelivered,
            parks,
            wakes,
            recoveries,
            blocked,
        }
    }

    /// Applies a function to each pair of figures.
    fn zip(
        self,
        other: Self,
        number: fn(u64, u64) -> u64,
        time: fn(Duration, Duration) -> Duration,
    ) -> Self {
        Self {
            packets: number(self.packets, other.packets),
            bytes: number(self.bytes, other.bytes),
            full: number(self.full, other.full),
            evicted: number(self.evicted, other.evicted),
            missed: number(self.missed, other.missed),
            skipped: number(self.skipped, other.skipped),
            redelivered: number(self.redelivered, other.redelivered),
            parks: number(self.parks, other.parks),
            wakes: number(self.wakes, other.wakes),
            recoveries: number(self.recoveries, other.recoveries),
            blocked: time(self.blocked, other.blocked),
        }
    }

    /// What was added since `before`, which the same endpoint had.
    pub(crate) fn since(self, before: Self) -> Self {
        self.zip(before, u64::saturating_sub, Duration::saturating_sub)
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        let add = |one: Self, other| one.zip(other, u64::saturating_add, Duration::saturating_add);
        all.fold(Self::default(), add)
    }
}

/// Time since an endpoint joined, which is when its counters began at 0.
#[expect(clippy::disallowed_methods, reason = "the library tells the time of that clock")]
pub(crate) fn since_join(endpoint: &EndpointInfo) -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32);
    now.saturating_sub(endpoint.counters.since)
}
