//! Pins of a subscriber whose ring drops the oldest: an evictor does not move a pinned cursor.

use super::Reader;
use crate::failpoint::{Failpoint, failpoint};
use crate::ring::cursor::Next;
use crate::ring::gate::PIN;
use crate::ring::slot;
use crate::sync::Ordering;

impl Reader {
    /// Slow path of a `DropOldest` ring. Out of line, so that `.ci/hot-path` finds no locked
    /// instruction in the receive path of a `Block` ring.
    #[inline(never)]
    pub(super) fn next_pinned(&mut self) -> Next {
        loop {
            failpoint(Failpoint::ReceiveLook);
            let is_pinned = slot::is_stamped(&self.memory, self.at) && self.pin();
            let next = if is_pinned { self.take() } else { self.follow_eviction() };
            if let Some(next) = next {
                return next;
            }
        }
    }

    /// Keeps evictors from moving the cursor during `work`, which joins another subscriber at it.
    pub(crate) fn stand_still<R>(&self, work: impl FnOnce() -> R) -> R {
        if !self.pins || self.held > 0 {
            return work();
        }
        let cursor = &self.own().cursor;
        let mut at = cursor.load(Ordering::Acquire);
        // Acquire and release: as in `pin`.
        while let Err(now) =
            cursor.compare_exchange(at, at | PIN, Ordering::AcqRel, Ordering::Acquire)
        {
            at = now;
        }
        let done = work();
        // Pairs with the acquires in `gate::scan` and `overflow::evict`.
        cursor.store(at, Ordering::Release);
        done
    }

    /// Clears the pin where the cursor stands. The cursor is pinned, or no other process moves it.
    pub(super) fn unpin(&self) {
        if self.pins {
            // As in `release`.
            self.own().cursor.store(self.at.position, Ordering::Release);
        }
    }

    #[inline]
    fn pin(&self) -> bool {
        // Release pairs with an evictor's acquire. Acquire pairs with an evictor's release: a
        // cursor that still stands here means that the slots from here on were not given away.
        let pinned = self.own().cursor.compare_exchange(
            self.at.position,
            self.at.position | PIN,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        pinned.is_ok()
    }
}
