//! Shared claims: many publishers, one total order.
//!
//! ```text
//!  tail t ──► room? ──► record.len ──► record.position = t ──► CAS tail t → t + len
//!                 │                                               │ failed: clear record, retry
//!                 └► Full: the record is clear                    ▼
//!                                  fill ──► stamp each packet, ascending ──► clear the record
//! ```
//!
//! The packets of a [`batch`](super::batch) are stamped in another order.
//!
//! - **Compare-and-swap, never fetch-add**: an addition cannot be undone when the ring is full.
//! - **No publisher waits for another's claim**: a preempted publisher delays readers at its
//!   position, and publishers only once they are a lap ahead.
//! - **The record is a range**: a claim can be padding and a packet, or a batch. With only its
//!   start, the second packet of a publisher that died after its first stamp would be stranded.
//! - **The record is cleared** after the last stamp, after every failed compare-and-swap, and
//!   before `Full` is returned. A record that stays gates all publishers.

use super::{Full, Writer};
use crate::failpoint::{Failpoint, failpoint};
use crate::ring::gate::Gate;
use crate::segment::layout::{FARTHEST, NOWHERE};
use crate::sync::{Ordering, spin_loop};

/// The size of a burst: a claim that is filled packet by packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BurstSize {
    /// Slots of the packet that comes first: at least 1, and at most `geometry.max_span`.
    first: u64,
    /// Slots of each packet, if all have the same length. Otherwise 1.
    unit: u64,
    /// Slots that are wanted.
    slots: u64,
}

impl BurstSize {
    /// A burst of up to `slots` slots, that begins with a packet of `first` slots. `is_flat`: all
    /// its packets are of this size.
    pub(crate) fn new(first: u64, is_flat: bool, slots: u64) -> Self {
        Self { first, unit: if is_flat { first } else { 1 }, slots }
    }

    /// Slots of the claim if `room` slots are free, which is enough for the first packet: whole
    /// packets only, so that none of the claim is left over.
    fn within(self, room: u64) -> u64 {
        let slots = self.slots.min(room);
        (slots - slots % self.unit).max(self.first)
    }
}

impl Writer {
    /// Claims `span` slots in a shared ring.
    #[inline(always)]
    pub(crate) fn claim_shared(&mut self, span: u64) -> Result<u64, Full> {
        self.claim_shared_with(span, |_, _| span, |_, _| span)
    }

    /// Claims slots for packets whose number and sizes are not known yet: as many as `size` wants,
    /// as far as there is room, and at least those of the first packet. The packets are committed
    /// one by one, and [`abandon`](Self::abandon) ends the claim with its rest void.
    #[inline(never)]
    pub(crate) fn claim_burst(&mut self, size: BurstSize) -> Result<u64, Full> {
        debug_assert!(size.first >= 1 && size.first <= self.geometry.max_span);
        let wanted = |writer: &Self, start: u64| {
            let geometry = &writer.geometry;
            size.within((geometry.piece_end(start) - start).min(geometry.max_span))
        };
        let extent = |writer: &mut Self, start: u64| {
            size.within(wanted(writer, start).min(writer.limit - start))
        };
        self.claim_shared_with(size.first, wanted, extent)
    }

    pub(super) fn claim_shared_many(&mut self, spans: &[u64]) -> Result<(u64, usize), Full> {
        let [first, ..] = spans else { return Ok((self.at.position, 0)) };
        let mut count = 0;
        let extent = |writer: &mut Self, start: u64| {
            let (mut fitting, mut sum) = writer.geometry.fit(spans, start, writer.limit);
            if fitting < spans.len() {
                writer.raise_for(spans, start);
                (fitting, sum) = writer.geometry.fit(spans, start, writer.limit);
            }
            count = fitting;
            sum
        };
        let start = self.claim_shared_with(*first, |_, _| *first, extent)?;
        Ok((start, count))
    }

    /// Claims at least `first` slots. For the start of the claim, `wanted` returns how many slots
    /// the limit should allow, and then `extent` how many are claimed.
    #[inline(always)]
    fn claim_shared_with(
        &mut self,
        first: u64,
        wanted: impl Fn(&Self, u64) -> u64,
        mut extent: impl FnMut(&mut Self, u64) -> u64,
    ) -> Result<u64, Full> {
        loop {
            let (tail, start) = self.room_for(first, &wanted)?;
            let end = start + extent(self, start);
            if self.try_claim(tail, start, end) {
                return Ok(start);
            }
            spin_loop();
        }
    }

    /// Claims a whole lap of a shared ring from `start` on, and makes it void. Returns false if
    /// another publisher has claimed a slot at or behind `start`, or if a cursor stands below.
    ///
    /// If it returns true, every slot that the cursor at `start` leaves is claimed. A publisher
    /// compares with a limit of at most one capacity above that cursor, so none can claim a slot
    /// as long as the cursor stays.
    #[cfg(not(loom))]
    #[cold]
    #[inline(never)]
    pub(crate) fn fill_with_void(&mut self, start: u64) -> bool {
        self.without_probes(|writer| start <= FARTHEST && writer.fill_lap(start))
    }

    #[cfg(not(loom))]
    fn fill_lap(&mut self, start: u64) -> bool {
        let (mut next, end) = (start, start + self.geometry.capacity);
        while next < end {
            let piece = self.geometry.piece_end(next) - next;
            let span = (end - next).min(piece).min(self.geometry.max_span);
            let is_own = self.claim_shared(span) == Ok(next);
            self.abandon();
            if !is_own {
                return false;
            }
            next += span;
        }
        true
    }

    /// The tail, and the next position from which `first` free slots lie in one piece. Raises the
    /// limit if fewer than `wanted` slots are free there.
    #[inline(always)]
    fn room_for(
        &mut self,
        first: u64,
        wanted: impl Fn(&Self, u64) -> u64,
    ) -> Result<(u64, u64), Full> {
        let tail = self.tail();
        if tail > FARTHEST {
            // No publisher claims so far. There is no room there, and never will be.
            return Err(Full { gate: Gate { lowest: tail, holder: None } });
        }
        let start = tail + self.geometry.padding(tail, first);
        let needed = start + wanted(self, start);
        if needed > self.limit
            && let Err(full) = self.refresh_or_probe(tail, first, needed)
            && start + first > self.limit
        {
            return Err(full);
        }
        Ok((tail, start))
    }

    /// Tries to claim `[tail, end)`, and makes the slots before `start` void.
    #[inline(always)]
    pub(super) fn try_claim(&mut self, tail: u64, start: u64, end: u64) -> bool {
        let len = end - tail;
        let record = &self.own().record;
        failpoint(Failpoint::ClaimLen);
        // Release: `recover` may load this length with the position of an earlier claim. Then it
        // sees that claim's stamps.
        record.len.store(len, Ordering::Release);
        failpoint(Failpoint::ClaimPosition);
        // Release: a load that sees this position sees this length or a later one (`recover`).
        record.position.store(tail, Ordering::Release);
        failpoint(Failpoint::ClaimTail);
        // Release: `gate::scan` and `recover` see the record if they see the tail moved. Acquire:
        // the records of the claims below.
        let moved = self.memory.head().tail.compare_exchange(
            tail,
            end,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if moved.is_err() {
            self.clear_record();
            return false;
        }
        self.open(tail, start, end);
        true
    }

    #[inline(always)]
    fn open(&mut self, tail: u64, start: u64, end: u64) {
        (self.at, self.end) = (self.at.to(&self.memory, tail), end);
        if tail != start {
            self.stamp_void(start - tail);
        }
        failpoint(Failpoint::ClaimFill);
    }

    #[inline(always)]
    pub(super) fn close_if_complete(&mut self) {
        debug_assert!(self.at.position <= self.end);
        if self.at.position == self.end {
            self.clear_record();
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn abandon_shared(&mut self) {
        self.stamp_void(self.end - self.at.position);
        self.clear_record();
    }

    #[inline]
    fn clear_record(&self) {
        // Pairs with the acquires in `gate::scan` and `recover`: they see the stamps if they see
        // the record clear.
        self.own().record.position.store(NOWHERE, Ordering::Release);
    }
}
