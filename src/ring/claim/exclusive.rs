//! Exclusive claims: one publisher, no locked instruction.
//!
//! ```text
//!  fill ──► stamp (release) ──► tail (release) ──► check for sleepers
//! ```
//!
//! A claim needs no record in shared memory. It may only commit padding. An abort does nothing.
//! Every commit stores the tail before the next claim. So a successor that scans committed packets
//! from that tail (`membership::join_publisher`) finds at most the packets of the last claim.

use super::{Full, Writer};
use crate::sync::Ordering;

impl Writer {
    #[inline]
    pub(super) fn claim_exclusive(&mut self, span: u64) -> Result<u64, Full> {
        if !self.owns(span) {
            self.make_way(span)?;
        }
        Ok(self.at.position)
    }

    pub(super) fn claim_exclusive_many(&mut self, spans: &[u64]) -> Result<(u64, usize), Full> {
        let [first, ..] = spans else { return Ok((self.at.position, 0)) };
        let position = self.claim_exclusive(*first)?;
        // Up to `end` and not up to the limit: a claim without room may have raised the limit only.
        let (mut count, mut sum) = self.geometry.fit(spans, position, self.end);
        if count < spans.len() {
            let needed = position + sum + spans[count];
            if needed > self.limit {
                // Readers may have moved on since the last scan. An error changes nothing.
                let _ = self.refresh(position, needed);
            }
            self.widen();
            (count, sum) = self.geometry.fit(spans, position, self.end);
        }
        debug_assert!(count >= 1 && sum >= *first);
        Ok((position, count))
    }

    /// Pads to the end of the memory if the packet would cross it, and raises the limit.
    #[cold]
    #[inline(never)]
    fn make_way(&mut self, span: u64) -> Result<(), Full> {
        let position = self.at.position;
        let padding = self.geometry.padding(position, span);
        let end = position + padding + span;
        if end > self.limit {
            self.refresh(position, end)?;
        }
        if padding > 0 {
            self.stamp_void(padding);
            self.publish_tail();
        }
        self.widen();
        Ok(())
    }

    /// Moves `end` up to the limit, or to the end of the memory (invariants 1 and 2).
    fn widen(&mut self) {
        self.end = self.limit.min(self.geometry.piece_end(self.at.position));
    }

    #[inline]
    pub(super) fn publish_tail(&mut self) {
        // Pairs with the acquire loads of the tail: a newcomer that starts there.
        self.memory.head().tail.store(self.at.position, Ordering::Release);
    }
}
