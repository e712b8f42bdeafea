//! `DropOldest` rings: moving a slow subscriber's cursor, and counting its losses.
//!
//! ```text
//!  subscriber                              evictor
//!  ──────────                              ───────
//!  sees the stamp at its cursor c          reads c; not pinned
//!  CAS c → c|PIN, then takes the packet    scans committed packets from c to x
//!  …                                       begun += packets
//!  stores c', which unpins                 CAS c → x; then counted += packets
//! ```
//!
//! Guarantee: a packet in flight is never evicted, and an evicted packet is never taken, because
//! one of the two compare-and-swaps wins. The scan may read slots that another publisher is
//! rewriting. Then the cursor has moved, and the compare-and-swap fails.
//!
//! `begun` and `counted` differ only while an evictor is between its two additions, or if it died
//! there. So the subscriber knows whether the number that it reports is exact. A [`LossCounter`]
//! belongs to one stay at an entry. It leaves out what evictors of an earlier stay count late,
//! unless it is that of a durable subscriber's successor.
//!
//! The pin of a dead subscriber is cleared by [`reap`](super::reap) under the control lock, and
//! never here: a successor that pins the same word could be overrun.

use super::gate::PIN;
use super::geometry::Geometry;
use super::slot;
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::layout::{NOWHERE, SubscriberDetails, SubscriberEntry};
use crate::segment::view::RingMemory;
use crate::sync::Ordering;

/// Moves every cursor below `target` up to the first packet boundary at or above it, as far as pins
/// and open claims allow. The caller's next scan finds out how far that was. Returns the number of
/// evicted packets, counted once for each subscriber that loses one.
pub(crate) fn make_room(memory: &RingMemory, geometry: &Geometry, target: u64) -> u64 {
    let used = memory.head().membership.subscribers.load(Ordering::Relaxed) as usize;
    let entries = memory.subscribers().iter().take(used);
    entries.fold(0, |evicted, entry| {
        loop {
            if let Eviction::Settled { packets } = evict(memory, geometry, entry, target) {
                return evicted + packets;
            }
        }
    })
}

enum Eviction {
    /// The cursor moved over this number of packets, or cannot be moved.
    Settled { packets: u64 },
    /// Another process moved or pinned the cursor meanwhile.
    Raced,
}

fn evict(
    memory: &RingMemory,
    geometry: &Geometry,
    entry: &SubscriberEntry,
    target: u64,
) -> Eviction {
    // Pairs with the releases of the cursor in `reader` and here.
    let cursor = entry.cursor.load(Ordering::Acquire);
    // `NOWHERE` has the bit of the pin.
    if cursor == NOWHERE || cursor & PIN != 0 || cursor >= target {
        return Eviction::Settled { packets: 0 };
    }
    failpoint(Failpoint::EvictScan);
    let (boundary, packets) = slot::scan_committed(memory, geometry, cursor, target);
    if boundary == cursor {
        return Eviction::Settled { packets: 0 };
    }
    let details = &entry.details;
    details.evictions_begun.fetch_add(packets, Ordering::Relaxed);
    failpoint(Failpoint::EvictMove);
    // Release: if the cursor is seen moved, the eviction is seen begun. Acquire: the subscriber
    // read the slots before the publisher writes to them.
    let moved =
        entry.cursor.compare_exchange(cursor, boundary, Ordering::AcqRel, Ordering::Relaxed);
    failpoint(Failpoint::EvictCount);
    if moved.is_err() {
        details.evictions_begun.fetch_sub(packets, Ordering::Relaxed);
        return Eviction::Raced;
    }
    // Pairs with the acquire in `evictions`.
    details.evictions_counted.fetch_add(packets, Ordering::Release);
    Eviction::Settled { packets }
}

/// How many packets a subscriber lost.
///
/// A publisher that is preempted while it evicts counts late, so a later report has what an earlier
/// one lacked. Summed over all reports, the number is exact, or too small by what a publisher could
/// not count because it died while it evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Missed {
    /// The number of packets. Never 0 if it is exact.
    pub packets: u64,
    /// True if exactly so many were lost. Otherwise at least so many were lost, perhaps none: a
    /// publisher died, or was stopped, while it was evicting.
    pub exact: bool,
}

impl std::fmt::Display for Missed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.packets == 0 {
            return f.write_str("packets that are not counted yet, if any");
        }
        let least = if self.exact { "" } else { "at least " };
        let plural = if self.packets == 1 { "" } else { "s" };
        write!(f, "{least}{} packet{plural}", self.packets)
    }
}

/// The losses that were reported to a subscriber.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LossCounter {
    /// Evicted packets that were reported.
    reported: u64,
    /// Packets whose eviction was begun and abandoned: they may never be counted.
    orphaned: u64,
    /// Orphaned packets of an earlier owner of the entry, which this owner does not report.
    ahead: u64,
}

impl LossCounter {
    /// The counter of a subscriber that just took its entry, while no publisher can evict it. All
    /// evictions begun before belong to an earlier owner of the entry.
    pub(crate) fn open(details: &SubscriberDetails) -> Self {
        let (reported, open) = evictions(details);
        Self { reported, orphaned: open, ahead: open }
    }

    /// The counter of a durable subscriber's successor, which reports what its predecessor did not.
    pub(crate) fn succeed(details: &SubscriberDetails) -> Self {
        let (_, orphaned) = evictions(details);
        let reported = details.durable.evictions_reported();
        Self { reported, orphaned, ahead: 0 }
    }

    /// Stores the reported number, for a successor.
    pub(crate) fn record_reported(&self, details: &SubscriberDetails) {
        details.durable.set_evictions_reported(self.reported);
    }

    /// Packets that were counted after their eviction had been reported, or while a durable
    /// subscriber was away.
    pub(crate) fn late(&mut self, details: &SubscriberDetails) -> Option<Missed> {
        let (counted, open) = evictions(details);
        let late = self.unreported(counted, open);
        self.reported = counted;
        (late > 0).then_some(Missed { packets: late, exact: true })
    }

    /// Packets that were evicted since the last report. The caller found the cursor moved.
    pub(crate) fn missed(&mut self, details: &SubscriberDetails) -> Missed {
        let backoff = crossbeam_utils::Backoff::new();
        loop {
            let (counted, open) = evictions(details);
            let exact = open == self.orphaned;
            // A living evictor adds the rest within nanoseconds, unless it was preempted between
            // its two additions.
            if !exact && !backoff.is_completed() && !cfg!(loom) {
                backoff.snooze();
                continue;
            }
            // Never more than the count: once another evictor has begun, the subscriber could
            // not tell whether the next count was reported already. The cursor may have moved over
            // void packets only.
            let packets = self.unreported(counted, open);
            self.orphaned = open;
            self.reported = counted;
            return Missed { packets, exact };
        }
    }

    /// Counted packets that are to be reported, without those of an earlier stay.
    fn unreported(&mut self, counted: u64, open: u64) -> u64 {
        let mut new = counted.wrapping_sub(self.reported);
        if (new as i64) < 0 {
            new = 0;
        }
        if open < self.orphaned {
            new -= self.ahead.min(new);
            self.orphaned = open;
            self.ahead = self.ahead.min(open);
        }
        new
    }
}

/// Packets whose eviction is counted, and packets whose eviction is begun and not counted.
fn evictions(details: &SubscriberDetails) -> (u64, u64) {
    // Pairs with the release in `evict`: a counted eviction is seen begun.
    let counted = details.evictions_counted.load(Ordering::Acquire);
    let begun = details.evictions_begun.load(Ordering::Relaxed);
    (counted, begun.wrapping_sub(counted))
}
