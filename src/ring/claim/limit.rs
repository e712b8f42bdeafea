//! The limit of a publisher: how far it may claim, as far as the gate allows.
//!
//! A scan of the [gate](crate::ring::gate) tells which slots are free. The limit follows in steps,
//! and each step is published before a slot below it is written: an
//! [observer](crate::ring::observer) compares it with what it copied.
//!
//! If latencies are sampled, the publisher's own limit ends at the next [sampling
//! point](super::probe).

use super::{Full, Writer};
use crate::failpoint::{Failpoint, failpoint};
use crate::ring::gate;
use crate::ring::overflow;
use crate::segment::settings::Overflow;
use crate::sync::{Ordering, fence_copies};

/// A publisher raises its limit this number of times in a lap.
const STEPS: u64 = 4;

impl Writer {
    /// Raises the limit to at least `needed` (the end of a claim at `tail`), if the gate allows.
    #[cold]
    #[inline(never)]
    pub(in crate::ring) fn refresh(&mut self, tail: u64, needed: u64) -> Result<(), Full> {
        self.refresh_now(tail, needed)
    }

    /// As [`refresh`](Self::refresh), before a shared claim that begins at `tail` with a packet of
    /// `span` slots. If a [probe](super::probe) is due there, it is committed first: then the tail
    /// has moved.
    #[cold]
    #[inline(never)]
    pub(super) fn refresh_or_probe(
        &mut self,
        tail: u64,
        span: u64,
        needed: u64,
    ) -> Result<(), Full> {
        if self.looks_at_sampling() {
            self.probe_if_due(tail, span, needed);
        }
        self.refresh_now(tail, needed)
    }

    // Always: another call costs a small ring two instructions per packet.
    #[inline(always)]
    fn refresh_now(&mut self, tail: u64, needed: u64) -> Result<(), Full> {
        let outcome = if needed > self.free { self.scan(tail, needed, needed) } else { Ok(()) };
        self.raise(tail, needed);
        outcome
    }

    /// Returns true if the slots up to `needed` are free, or can be made free. Packets are evicted
    /// only if the slots up to `packet` are not free.
    pub(super) fn find_room(&mut self, tail: u64, needed: u64, packet: u64) -> bool {
        needed <= self.free || self.scan(tail, needed, packet).is_ok()
    }

    /// Scans the gate, and raises `free`. Evicts up to `needed` if `packet` is not free without.
    // Always: another call costs a small ring two instructions per packet.
    #[inline(always)]
    fn scan(&mut self, tail: u64, needed: u64, packet: u64) -> Result<(), Full> {
        let oldest = gate::make_history_room(&self.memory, &self.geometry, tail, needed);
        let mut gate = gate::scan(&self.memory, tail, oldest);
        let capacity = self.geometry.capacity;
        if packet > gate.lowest + capacity && self.overflow == Overflow::DropOldest {
            let evicted = overflow::make_room(&self.memory, &self.geometry, needed - capacity);
            self.own().details.counts.add_evicted(evicted);
            // The fence in this scan also orders the evictions before it against a subscriber that
            // joins beside another one (`membership::join_subscriber`).
            gate = gate::scan(&self.memory, tail, oldest);
        }
        // Never lowered: a position that was free once stays free. The first cursor of a newcomer
        // can be lower than the gate.
        self.free = self.free.max(gate.lowest + capacity);
        if needed > self.free { Err(Full { gate }) } else { Ok(()) }
    }

    /// Raises the limit, and publishes it for observers before a slot below it is written.
    ///
    /// By a quarter of the ring at a time, or as far as `needed`, which is more for large packets,
    /// batches and bursts. An observer cannot read what lies a capacity below the limit. So it
    /// always has the newest three quarters of a ring whose claims are small.
    pub(super) fn raise(&mut self, tail: u64, needed: u64) {
        let limit = self.free.min(needed.max(tail + self.geometry.capacity / STEPS));
        if limit > self.raised {
            self.publish_limit(limit);
        }
        self.limit = self.raised.min(self.sampling.point);
    }

    #[inline(always)]
    fn publish_limit(&mut self, limit: u64) {
        self.raised = limit;
        failpoint(Failpoint::LimitStore);
        let published = &self.own().details.limit;
        // Never lowered: a dead predecessor may have written up to its own limit. Release: an
        // observer that sees the limit sees a tail of at most one capacity below it, or a later
        // one.
        published.store(limit.max(published.load(Ordering::Relaxed)), Ordering::Release);
        // Pairs with the fence in `PassiveReader::copy`: an observer that copied a word that is
        // written from here on sees the limit.
        fence_copies();
    }

    /// Raises the limit for packets of these spans at `position`, as far as slots are free.
    pub(super) fn raise_for(&mut self, spans: &[u64], position: u64) {
        let (_, most) = self.geometry.fit(spans, position, self.free);
        if position + most > self.limit {
            self.raise(position, position + most);
        }
    }
}
