//! The waker's side of a bell: one plain load after each store.

use crate::segment::layout::Bell;
use crate::sync::{Ordering, fence, light_barrier};

/// What one endpoint knows of the announcements on a bell.
#[derive(Debug)]
pub(crate) struct Ringer {
    seen: u32,
    /// This process could not register for `membarrier`, so it fences itself.
    fences: bool,
}

impl Ringer {
    /// A ringer that has seen all announcements so far. `fences`: whether a sleeper's heavy
    /// barrier does not reach this process.
    pub(crate) fn new(bell: &Bell, fences: bool) -> Self {
        Self { seen: bell.announce.load(Ordering::Relaxed), fences }
    }

    /// After a store that sleepers may wait for: whether [`must_wake`](Self::must_wake) is to be
    /// asked. All that a publish pays where membarrier works.
    #[inline]
    pub(crate) fn must_look(&self, bell: &Bell) -> bool {
        // Pairs with the heavy barrier in `Waiter::pause`: the store before the load.
        light_barrier();
        self.fences || bell.announce.load(Ordering::Relaxed) != self.seen
    }

    /// Whether somebody announced that it sleeps since the last time, and must be woken by
    /// [`wake`](Self::wake).
    pub(crate) fn must_wake(&self, bell: &Bell) -> bool {
        if self.fences {
            // Pairs with the heavy barrier in `Waiter::pause`, which does not reach this process.
            fence(Ordering::SeqCst);
        }
        bell.announce.load(Ordering::Relaxed) != self.seen
    }

    /// Changes the word slept on, remembers the announcements, and calls `wake_all`.
    #[cold]
    #[inline(never)]
    pub(crate) fn wake(&mut self, bell: &Bell, wake_all: impl FnOnce()) {
        // Before the word is changed: an announcement that comes later finds the old word gone,
        // or is seen next time.
        let announced = bell.announce.load(Ordering::Relaxed);
        bell.futex.fetch_add(1, Ordering::SeqCst);
        wake_all();
        self.seen = announced;
    }
}
