//! Probes: void packets of one slot that carry a time, by which readers measure latencies.
//!
//! ```text
//!  publisher, in its slow path                       reader, in its slow path
//!  ───────────────────────────                       ────────────────────────
//!  the switch is on, and the claim has a point       the packet at the cursor is void
//!  probe := time, stamp       (release)       ──►    it is a probe: latency := now - time
//!  claims, fills and stamps the packet               goes on behind it, as behind padding
//! ```
//!
//! Guarantees:
//!
//! - **Nothing while it is off.** The limit of a publisher ends at the next sampling point, so that
//!   its fast path leads into the slow path there. Without sampling there is no such point. A
//!   reader meets a probe where it passes over void packets anyway.
//! - **A probe is a void packet as any other** for gates, history, evictions, recovery and
//!   observers.
//! - **A send that has room for its packet alone does not fail**: then the probe is left out,
//!   and tried again later. For a probe alone no packet is evicted.
//! - **Nothing is trusted.** A time of the future, or of another time namespace, is ignored.
//!
//! In a shared ring a probe is a claim of its own, of one slot. In an exclusive ring it is
//! committed as padding is.
//!
//! # Sampling points
//!
//! Each run of `every` slots has one point, at an offset that a hash of the run's number gives. So
//! points do not fall into step with laps, batches or bursts, and all publishers know them without
//! a word in shared memory. The claim that covers a point gets the probe: a publisher with twice
//! the slots has twice the probes.
//!
//! # Limits
//!
//! - Probes take slots, so a ring that is full holds fewer packets.
//! - In a shared ring, another publisher may claim the room behind a probe before its publisher.
//! - A claim that fails its compare-and-swap, and is longer than one slot, may lose its point.
//! - What a reader passes over on the way to the newest packet is not measured, and neither is what
//!   evictors took. Of a batch that is put back, each probe counts once.

use super::Writer;
#[cfg(not(loom))]
use crate::failpoint::Failpoint;
#[cfg(not(loom))]
use crate::ring::slot::{self, Descriptor};
#[cfg(not(loom))]
use crate::segment::latency::ProbeTime;
use crate::segment::layout::NOWHERE;
use crate::segment::settings::Claims;
use crate::segment::view::RingMemory;
use crate::sync::Ordering;
#[cfg(not(loom))]
use std::num::NonZeroU32;

/// Most slots between two probes.
const MOST_SLOTS: u64 = u32::MAX as u64;

/// A probe that was left out is tried again after such a part of the ring.
const TRIES: u64 = 8;

/// What a publisher knows about sampling.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampling {
    /// Slots for one probe, as last seen; 0: sampling is off.
    every: u64,
    /// The next sampling point, where the limit ends at the latest. [`NOWHERE`]: none.
    pub(super) point: u64,
    /// The end of the claim behind the last probe. There is no other probe before it.
    after: u64,
    /// The last probe was left out, so the next claim at the limit has one.
    is_owed: bool,
    /// No probes: the publisher claims slots for other reasons than packets.
    is_quiet: bool,
}

impl Sampling {
    /// Of a publisher that did not look yet. Its limit is 0, so its first claim does.
    pub(super) const UNKNOWN: Self =
        Self { every: 0, point: NOWHERE, after: 0, is_owed: false, is_quiet: false };
}

/// Slots for one probe; 0: sampling is off.
fn interval(memory: &RingMemory) -> u64 {
    memory.head().membership.sampling.load(Ordering::Relaxed).min(MOST_SLOTS)
}

/// The first sampling point at or above a position.
fn next_point(every: u64, position: u64) -> u64 {
    if every == 0 {
        return NOWHERE;
    }
    let point = |run: u64| {
        // The finalizer of SplitMix64.
        let mut hash = run.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        run.saturating_mul(every).saturating_add((hash ^ hash >> 31) % every)
    };
    let run = position / every;
    let found = point(run);
    if found < position { point(run + 1) } else { found }
}

impl Writer {
    /// Returns true if sampling is on, or was when this publisher looked last.
    #[inline(always)]
    pub(super) fn looks_at_sampling(&self) -> bool {
        self.memory.head().membership.sampling.load(Ordering::Relaxed) | self.sampling.every != 0
    }

    /// Looks at the switch before a claim of the slots from `tail` to `end`. Returns true if it
    /// covers a sampling point, or if a probe is owed. The next point is not below `end`.
    fn is_probe_due(&mut self, tail: u64, end: u64) -> bool {
        let Sampling { after, is_owed, is_quiet, .. } = self.sampling;
        let every = if is_quiet { 0 } else { interval(&self.memory) };
        let point = next_point(every, tail.max(after));
        let is_due = point < end || is_owed && every > 0;
        self.sampling.every = every;
        self.sampling.point = if point < end { next_point(every, end) } else { point };
        self.sampling.is_owed &= is_due;
        is_due
    }

    /// The end of a claim of `span` slots behind a probe at `tail`.
    fn end_behind_probe(&self, tail: u64, span: u64) -> u64 {
        let padding = self.geometry.padding(tail, span);
        if padding > 0 {
            // The probe takes a slot of the padding.
            return tail + padding + span;
        }
        let start = tail + 1;
        start + self.geometry.padding(start, span) + span
    }

    /// Makes room for a probe at `tail` and a packet of `span` slots. Returns false if there is
    /// none: the packet must do without the probe.
    fn make_probe_room(&mut self, tail: u64, span: u64) -> bool {
        let packet = tail + self.geometry.padding(tail, span) + span;
        let end = self.end_behind_probe(tail, span);
        if !self.find_room(tail, end, packet) {
            return false;
        }
        self.sampling.point = self.sampling.point.max(next_point(self.sampling.every, end));
        self.sampling.after = end;
        self.raise(tail, end);
        true
    }

    /// Before a claim of the slots from `tail` to `needed`, which begins with a packet of `span`
    /// slots: commits a probe at `tail`, if one is due and has room. Then the tail has moved, and
    /// the caller claims behind it.
    #[cold]
    #[inline(never)]
    pub(super) fn probe_if_due(&mut self, tail: u64, span: u64, needed: u64) {
        let is_due = self.is_probe_due(tail, needed);
        let has_room = is_due && self.make_probe_room(tail, span);
        if is_due && !has_room {
            let again = needed + self.geometry.capacity / TRIES;
            self.sampling.point = self.sampling.point.min(again);
        }
        self.sampling.is_owed = is_due && !has_room;
        self.limit = self.limit.min(self.sampling.point);
        if has_room {
            self.publish_probe(tail);
        }
    }

    fn publish_probe(&mut self, tail: u64) {
        match self.claims {
            Claims::Exclusive => {
                self.stamp_probe();
                self.own().record.sent.pass(1);
                self.publish_tail();
            }
            Claims::Shared => {
                if self.try_claim(tail, tail, tail + 1) {
                    self.stamp_probe();
                    self.close_if_complete();
                }
            }
        }
    }

    /// Commits the next slot of the claim as a probe.
    #[cfg(not(loom))]
    fn stamp_probe(&mut self) {
        let [nanoseconds, namespace] = self.memory.probe_words(self.at.position);
        let time = ProbeTime::now();
        nanoseconds.store(time.nanoseconds, Ordering::Relaxed);
        namespace.store(time.namespace, Ordering::Relaxed);
        slot::commit(&self.memory, self.at, Descriptor::PROBE, Failpoint::ProbeStamp);
        self.at.go(&self.memory, self.at.position + 1);
    }

    /// Model checks have no clock.
    #[cfg(loom)]
    fn stamp_probe(&mut self) {
        self.stamp_void(1);
    }

    /// Does `work`, whose claims begin with no probes.
    #[cfg(not(loom))]
    pub(super) fn without_probes<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        self.sampling.is_quiet = true;
        let done = work(self);
        self.sampling.is_quiet = false;
        done
    }

    /// Looks at the switch, after a notification of readers. If it was changed, the next claim
    /// takes the slow path. In a shared ring a claim may be open, which stays.
    pub(crate) fn notice_sampling(&mut self) {
        if interval(&self.memory) != self.sampling.every {
            self.limit = 0;
            if self.is_exclusive() {
                self.end = self.at.position;
            }
        }
    }
}

/// Switches sampling: one probe for so many slots, or none. Every publisher of the ring finds out
/// at its next notification of readers. Returns the setting before.
#[cfg(not(loom))]
pub(crate) fn switch(memory: &RingMemory, every: Option<NonZeroU32>) -> Option<NonZeroU32> {
    let head = memory.head();
    let every = every.map_or(0, |every| u64::from(every.get()));
    let before = head.membership.sampling.swap(every, Ordering::Relaxed);
    // As a reader that is about to sleep: the next notification takes its slow path, and wakes
    // nobody who waits for less. Release: a publisher that sees it sees the switch.
    head.readers.event_count.waiters.fetch_add(1, Ordering::Release);
    setting(before)
}

/// The slots for one probe. `None`: sampling is off.
#[cfg(not(loom))]
pub(crate) fn switched(memory: &RingMemory) -> Option<NonZeroU32> {
    setting(memory.head().membership.sampling.load(Ordering::Relaxed))
}

#[cfg(not(loom))]
fn setting(word: u64) -> Option<NonZeroU32> {
    u32::try_from(word.min(MOST_SLOTS)).ok().and_then(NonZeroU32::new)
}

/// The words of the probe at a position, loaded before the reader moves on.
#[cfg(not(loom))]
pub(in crate::ring) fn time_of(memory: &RingMemory, position: u64) -> ProbeTime {
    let [nanoseconds, namespace] =
        memory.probe_words(position).map(|word| word.load(Ordering::Relaxed));
    ProbeTime { nanoseconds, namespace }
}

/// Records the latency of a probe for the reader of an entry.
#[cfg(not(loom))]
#[cold]
#[inline(never)]
pub(in crate::ring) fn record(memory: &RingMemory, entry: usize, time: ProbeTime) {
    match ProbeTime::now().since(time) {
        Some(latency) => memory.latency().record(entry, latency),
        None => memory.latency().ignore(),
    }
}

/// Records the latency of the probe at a position, unless the reader passed it before. `seen` is
/// the end of the probes that it passed.
#[cfg(not(loom))]
#[cold]
#[inline(never)]
pub(in crate::ring) fn pass(memory: &RingMemory, entry: usize, position: u64, seen: &mut u64) {
    if position >= *seen {
        *seen = position + 1;
        record(memory, entry, time_of(memory, position));
    }
}

#[cfg(loom)]
pub(in crate::ring) fn pass(_: &RingMemory, _: usize, _: u64, _: &mut u64) {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_run_has_one_point(every in 1u64..300, run in 0u64..1 << 40) {
            let start = run * every;
            let point = next_point(every, start);
            prop_assert!(start <= point && point < start + every);
            for position in start..=point {
                prop_assert_eq!(next_point(every, position), point);
            }
            prop_assert_eq!(next_point(every, point + 1), next_point(every, start + every));
        }
    }

    #[test]
    fn points_of_any_number_do_not_overflow() {
        assert_eq!(next_point(0, 7), NOWHERE);
        for every in [1, 2, MOST_SLOTS] {
            for position in [0, 1 << 62, u64::MAX - 1] {
                assert!(next_point(every, position) >= position);
            }
        }
        assert!(next_point(1 << 32, 0) < 1 << 32);
    }
}
