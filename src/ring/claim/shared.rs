//! Shared claims: many publishers, one total order.
//!
//! ```text
//!  tail t ──► room? ──► record.len ──► record.position = t ──► CAS tail t → t + len
//!                 │                                               │ failed: clear the record, again
//!                 └► Full: the record is clear                    ▼
//!                                  fill ──► stamp each packet, ascending ──► clear the record
//! ```
//!
//! Compare-and-swap, never fetch-add: an addition cannot be undone when the ring turns out full.
//! Nobody waits for another's claim in order to publish: a publisher that is preempted delays
//! readers at its position, and no publisher before one lap is over.
//!
//! The record is a range, not a start: a claim can be padding and a packet, or a batch, and with
//! the start alone the second packet of a publisher that died after its first stamp is stranded.
//! It is cleared after the last stamp, after every failed compare-and-swap, and before `Full` is
//! said: a record that stays holds everybody back.

use super::{Full, Writer};
use crate::failpoint::{Failpoint, failpoint};
use crate::ring::gate::Gate;
use crate::segment::layout::{FARTHEST, NOWHERE};
use crate::sync::{Ordering, spin_loop};

impl Writer {
    /// Claims `span` slots.
    #[inline(always)]
    pub(crate) fn claim_one_here(&mut self, span: u64) -> Result<u64, Full> {
        loop {
            let (tail, start) = self.room_for(span)?;
            if self.take(tail, start, start + span) {
                return Ok(start);
            }
            spin_loop();
        }
    }

    /// Claims as many of the spans as fit in one piece.
    pub(crate) fn claim_shared(&mut self, spans: &[u64]) -> Result<(u64, usize), Full> {
        let [first, ..] = spans else { return Ok((self.at.position, 0)) };
        loop {
            let (tail, start) = self.room_for(*first)?;
            let (count, sum) = self.geometry.fit(spans, start, self.limit);
            if self.take(tail, start, start + sum) {
                return Ok((start, count));
            }
            spin_loop();
        }
    }

    /// The tail, and where behind it `span` slots lie in one piece, which are free.
    #[inline(always)]
    fn room_for(&mut self, span: u64) -> Result<(u64, u64), Full> {
        let tail = self.tail();
        if tail > FARTHEST {
            // Nobody claimed so far. There is no room there, and never will be.
            return Err(Full { gate: Gate { lowest: tail, endpoint: None } });
        }
        let start = tail + self.geometry.padding(tail, span);
        if start + span > self.limit {
            self.refresh(tail, start + span)?;
        }
        Ok((tail, start))
    }

    /// Tries to make `[tail, end)` this publisher's, and what is before `start` void.
    #[inline(always)]
    fn take(&mut self, tail: u64, start: u64, end: u64) -> bool {
        let len = end - tail;
        let record = &self.own().record;
        failpoint(Failpoint::ClaimLen);
        // Release: who loads this length with the position of an earlier claim sees that claim's
        // stamps (`recover`).
        record.len.store(len, Ordering::Release);
        failpoint(Failpoint::ClaimPosition);
        // Release: who loads the position loads this `len` or a later one.
        record.position.store(tail, Ordering::Release);
        failpoint(Failpoint::ClaimTail);
        // Release: who sees the tail moved sees the record (`gate::scan`, `recover`). Acquire:
        // the records of the claims below.
        let moved = self.memory.head().tail.compare_exchange(
            tail,
            tail + len,
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
    pub(crate) fn close_if_complete(&mut self) {
        debug_assert!(self.at.position <= self.end);
        if self.at.position == self.end {
            self.clear_record();
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn abandon_shared(&mut self) {
        self.stamp_void(self.end - self.at.position);
        self.clear_record();
    }

    #[inline]
    fn clear_record(&self) {
        // Pairs with the acquires in `gate::scan` and `recover`: who sees it clear sees the
        // stamps.
        self.own().record.position.store(NOWHERE, Ordering::Release);
    }
}
