//! What a subscriber counts (`segment::counters`): packets that it releases, puts back or passes
//! over, and those that evictors took from it.
//!
//! In a ring that blocks the cursor counts slots, so the release of one packet of one slot has
//! nothing to do. A subscriber that evictors move counts each packet.

use super::Reader;
use crate::ring::claim::pass_probe;
use crate::ring::cursor::{Fault, Next, Taken};
use crate::ring::overflow::Missed;
use crate::ring::slot::Descriptor;
use crate::segment::layout::{FARTHEST, NOWHERE};
use crate::sync::Ordering;

/// The slots in flight whose release counts nothing.
pub(super) fn plain_held(pins: bool, has_redelivery: bool) -> u64 {
    if pins || has_redelivery { NOWHERE } else { 1 }
}

impl Reader {
    /// Returns true if the next packet was handed out before.
    pub(crate) fn has_redelivery(&self) -> bool {
        self.at.position < self.redelivered_below
    }

    /// Releases one packet that was not handed out before: of several slots, or of a ring that
    /// drops the oldest. Returns false if anything else is in flight.
    fn release_single(&mut self) -> bool {
        // A reader that had redeliveries ahead finds out in the slow path that it has none left.
        let counts_more = self.has_redelivery() || self.plain_held == NOWHERE && !self.pins;
        if self.more > 0 || self.void > 0 || counts_more {
            return false;
        }
        let (words, inner) = (&self.own().received, self.held - 1);
        if self.pins {
            words.add(1, inner);
        } else {
            words.add_inner(inner);
        }
        self.advance();
        true
    }

    /// Slow path of [`release`](crate::ring::cursor::Cursor::release): anything but one packet of
    /// one slot, or nothing.
    #[inline(never)]
    pub(super) fn release_counted(&mut self) -> bool {
        if !self.release_single() {
            self.count_received();
            self.advance();
        }
        true
    }

    /// Releases a void packet. If it is a probe, records the latency.
    pub(super) fn release_void(&mut self) {
        if self.first == Descriptor::PROBE {
            pass_probe(&self.memory, self.entry, self.at.position, &mut self.sampled_below);
        }
        if !self.pins {
            self.own().received.pass(self.held);
        }
        self.advance();
    }

    /// Counts the packets in flight as received, before the cursor moves.
    fn count_received(&mut self) {
        let (packets, void) = (1 + self.more, self.void);
        let inner = self.held.saturating_sub(void + packets);
        let words = &self.own().received;
        if self.pins {
            words.add(packets, inner);
        } else {
            words.add_inner(inner);
            if void > 0 {
                words.pass(void);
            }
        }
        if self.plain_held == NOWHERE {
            self.count_redelivered();
            let has_more = self.range().end < self.redelivered_below;
            self.plain_held = plain_held(self.pins, has_more);
        }
        (self.more, self.void) = (0, 0);
    }

    /// Counts the packets in flight that were handed out before, at the end of their delivery.
    pub(super) fn count_redelivered(&self) {
        let is_redelivered = |taken: &Taken| taken.position < self.redelivered_below;
        let packets = match (self.more, self.run()) {
            (0, _) => u64::from(self.has_redelivery()),
            (_, Some((_, run))) => {
                let slots = self.redelivered_below.saturating_sub(self.at.position);
                slots.div_ceil(self.first.span()).min(run)
            }
            _ => self.list.iter().filter(|taken| is_redelivered(taken)).count() as u64,
        };
        if packets > 0 {
            self.own().counts.add_redelivered(packets);
        }
    }

    /// After the batch in flight changed: finds out how many packets and void slots it has.
    pub(super) fn measure_batch(&mut self) {
        let end = self.range().end;
        let kept = || self.list.iter().take_while(|taken| taken.position < end);
        let (packets, slots) = kept()
            .fold((0, 0), |(packets, slots), taken| (packets + 1, slots + taken.descriptor.span()));
        self.more = u64::saturating_sub(packets, 1);
        self.void = self.held.saturating_sub(slots);
    }

    /// Counts packets that the cursor is about to pass over, with all `slots` up to the newest.
    pub(super) fn count_skipped(&self, packets: u64, slots: u64) {
        if !self.pins {
            self.own().received.pass(slots);
        }
        self.own().counts.add_skipped(packets);
    }

    /// The packets whose eviction was not reported yet, although the cursor did not move.
    pub(crate) fn unreported_loss(&mut self) -> Option<Missed> {
        let entry = &self.memory.subscribers()[self.entry];
        let missed = self.loss.late(&entry.details);
        if let Some(missed) = missed {
            entry.counts.add_missed(missed.packets);
        }
        missed
    }

    /// Follows the cursor if an evictor moved it. `None`: it was moved over void packets only.
    #[cold]
    pub(super) fn follow_eviction(&mut self) -> Option<Next> {
        // Pairs with the release half of the eviction.
        let cursor = self.own().cursor.load(Ordering::Acquire);
        // Only this subscriber pins and unpins it, and evictors move it forward.
        if cursor > FARTHEST || cursor < self.at.position {
            return Some(Next::Corrupt(Fault::Cursor));
        }
        if cursor == self.at.position {
            return Some(self.unreported_loss().map_or(Next::Nothing, Next::Missed));
        }
        self.at.go(&self.memory, cursor);
        let entry = &self.memory.subscribers()[self.entry];
        let missed = self.loss.missed(&entry.details);
        entry.counts.add_missed(missed.packets);
        (missed.packets > 0 || !missed.exact).then_some(Next::Missed(missed))
    }
}
