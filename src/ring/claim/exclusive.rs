//! Exclusive claims: one publisher, no locked instruction.
//!
//! ```text
//!  fill ──► stamp (release) ──► tail (release) ──► look for sleepers
//! ```
//!
//! Nothing is published by a claim, so a claim is plain arithmetic, and an abort is nothing at
//! all. The tail is stored at every commit, before the next claim: a successor walks the
//! committed stamps from that tail (`membership::join_publisher`), and finds at most the packets of
//! the last claim there.

use super::{Full, Writer};
use crate::sync::Ordering;

impl Writer {
    #[inline]
    pub(crate) fn claim_exclusive(&mut self, span: u64) -> Result<u64, Full> {
        if !self.owns(span) {
            self.make_way(span)?;
        }
        Ok(self.at.position)
    }

    pub(crate) fn claim_exclusive_many(&mut self, spans: &[u64]) -> Result<(u64, usize), Full> {
        let [first, ..] = spans else { return Ok((self.at.position, 0)) };
        let position = self.claim_exclusive(*first)?;
        // What is this publisher's, and not the limit: a claim for which there was no room may have
        // raised that.
        let (mut count, mut sum) = self.geometry.fit(spans, position, self.end);
        if count < spans.len() {
            let needed = position + sum + spans[count];
            if needed > self.limit {
                // Perhaps readers have moved on since it was computed. If not, what fits fits.
                let _ = self.refresh(position, needed);
            }
            self.widen();
            (count, sum) = self.geometry.fit(spans, position, self.end);
        }
        debug_assert!(count >= 1 && sum >= *first);
        Ok((position, count))
    }

    /// Pads to the start of the ring if the packet would wrap, and raises the limit.
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

    /// All slots up to the limit are this publisher's; it writes to those before the ring's memory
    /// ends.
    fn widen(&mut self) {
        self.end = self.limit.min(self.geometry.piece_end(self.at.position));
    }

    #[inline]
    pub(crate) fn publish_tail(&mut self) {
        // Pairs with the acquire loads of the tail: a newcomer that starts there.
        self.memory.head().tail.store(self.at.position, Ordering::Release);
    }
}
