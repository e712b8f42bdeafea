//! The waker's side of a bell: one plain load after each store.

use crate::segment::layout::Bell;
use crate::sync::{Ordering, fence, light_barrier};

/// What one endpoint knows of the announcements on a bell.
#[derive(Debug)]
pub(crate) struct Ringer {
    seen: u32,
    /// What the announcements are compared with: `seen`; nothing there is, if this process could
    /// not register for `membarrier`, and so fences itself before it looks.
    compared: u64,
}

/// Equal to no count of announcements.
const NEVER: u64 = u64::MAX;

impl Ringer {
    /// A ringer that has seen all announcements so far. `fences`: whether a sleeper's heavy
    /// barrier does not reach this process.
    pub(crate) fn new(bell: &Bell, fences: bool) -> Self {
        let seen = bell.announce.load(Ordering::Relaxed);
        Self { seen, compared: if fences { NEVER } else { seen.into() } }
    }

    /// After a store that sleepers may wait for: whether [`must_wake`](Self::must_wake) is to be
    /// asked. All that a publish pays where membarrier works.
    #[inline]
    pub(crate) fn must_look(&self, bell: &Bell) -> bool {
        // Pairs with the heavy barrier in `Waiter::pause`: the store before the load.
        light_barrier();
        u64::from(bell.announce.load(Ordering::Relaxed)) != self.compared
    }

    /// Whether somebody announced that it sleeps since the last time, and must be woken by
    /// [`wake`](Self::wake).
    pub(crate) fn must_wake(&self, bell: &Bell) -> bool {
        if self.compared == NEVER {
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
        if self.compared != NEVER {
            self.compared = announced.into();
        }
    }
}
