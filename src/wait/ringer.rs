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

    /// After a store that sleepers may wait for: whether somebody announced that it sleeps since
    /// the last time, and must be woken by [`wake`](Self::wake).
    #[inline]
    pub(crate) fn must_wake(&self, bell: &Bell) -> bool {
        // Pairs with the heavy barrier in `Waiter::pause`: the store before the load.
        if self.fences {
            fence_locally();
        }
        light_barrier();
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

/// Apart, so that a publish can be seen to have no fence where membarrier works.
#[cold]
#[inline(never)]
fn fence_locally() {
    fence(Ordering::SeqCst);
}
