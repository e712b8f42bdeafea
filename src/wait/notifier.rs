//! The waker's side of a bell: one plain load after each store.

use crate::segment::layout::EventCount;
use crate::sync::{Ordering, fence, light_barrier};

/// What one endpoint knows of the announcements on a bell.
#[derive(Debug)]
pub(crate) struct Notifier {
    seen: u32,
    /// What the announcements are compared with: `seen`; nothing there is, if this process could
    /// not register for `membarrier`, and so fences itself before it looks.
    compared: u64,
}

/// Equal to no count of announcements.
const NEVER: u64 = u64::MAX;

impl Notifier {
    /// A ringer that has seen all announcements so far. `fences`: whether a sleeper's heavy
    /// barrier does not reach this process.
    pub(crate) fn new(event_count: &EventCount, fences: bool) -> Self {
        let seen = event_count.waiters.load(Ordering::Relaxed);
        Self { seen, compared: if fences { NEVER } else { seen.into() } }
    }

    /// After a store that sleepers may wait for: whether [`has_new_waiters`](Self::has_new_waiters) is to be
    /// asked. All that a publish pays where membarrier works.
    #[inline]
    pub(crate) fn may_have_waiters(&self, event_count: &EventCount) -> bool {
        // Pairs with the heavy barrier in `Waiter::park`: the store before the load.
        light_barrier();
        u64::from(event_count.waiters.load(Ordering::Relaxed)) != self.compared
    }

    /// Whether somebody announced that it sleeps since the last time, and must be woken by
    /// [`wake`](Self::wake).
    pub(crate) fn has_new_waiters(&self, event_count: &EventCount) -> bool {
        if self.compared == NEVER {
            // Pairs with the heavy barrier in `Waiter::park`, which does not reach this process.
            fence(Ordering::SeqCst);
        }
        event_count.waiters.load(Ordering::Relaxed) != self.seen
    }

    /// Changes the word slept on, remembers the announcements, and calls `wake_all`.
    #[cold]
    #[inline(never)]
    pub(crate) fn wake(&mut self, event_count: &EventCount, wake_all: impl FnOnce()) {
        // Before the word is changed: an announcement that comes later finds the old word gone,
        // or is seen next time.
        let announced = event_count.waiters.load(Ordering::Relaxed);
        event_count.futex.fetch_add(1, Ordering::SeqCst);
        wake_all();
        self.seen = announced;
        if self.compared != NEVER {
            self.compared = announced.into();
        }
    }
}
