//! The notifying side of an event count: one plain load after each store.

use crate::segment::layout::EventCount;
use crate::sync::{Ordering, fence, light_barrier};

/// Differs from every number of waiters.
const NEVER: u64 = u64::MAX;

/// An endpoint's view of an event count.
#[derive(Debug)]
pub(crate) struct Notifier {
    /// The number of waiters when it woke them last.
    seen: u32,
    /// `seen`. [`NEVER`] if this process could not register for `membarrier`: it executes a fence
    /// of its own before it loads the number of waiters.
    compared: u64,
}

impl Notifier {
    /// A notifier that has seen all waiters so far. `fences`: a waiter's heavy barrier does not
    /// reach this process.
    pub(crate) fn new(event_count: &EventCount, fences: bool) -> Self {
        let seen = event_count.waiters.load(Ordering::Relaxed);
        Self { seen, compared: if fences { NEVER } else { seen.into() } }
    }

    /// Fast path, after a store that others may wait for. Returns false if no waiter has registered
    /// since the last wake-up. Where `membarrier` works, this is the whole cost for a publisher.
    #[inline]
    pub(crate) fn may_have_waiters(&self, event_count: &EventCount) -> bool {
        // Pairs with the heavy barrier of `register_waiter`: the store comes before the load.
        light_barrier();
        u64::from(event_count.waiters.load(Ordering::Relaxed)) != self.compared
    }

    /// Slow path. Returns true if a waiter has registered since the last [`wake`](Self::wake), and
    /// must be woken.
    pub(crate) fn has_new_waiters(&self, event_count: &EventCount) -> bool {
        if self.compared == NEVER {
            // Pairs with the heavy barrier of `register_waiter`, which does not reach this process.
            fence(Ordering::SeqCst);
        }
        event_count.waiters.load(Ordering::Relaxed) != self.seen
    }

    /// Changes the futex word, calls `wake_all`, and remembers the number of waiters.
    #[cold]
    pub(crate) fn wake(&mut self, event_count: &EventCount, wake_all: impl FnOnce()) {
        // Before the futex word is changed: a later waiter finds the new value and does not sleep,
        // or is seen next time.
        let waiters = event_count.waiters.load(Ordering::Relaxed);
        // In one order with the load and the addition in `count_waiter`.
        event_count.futex.fetch_add(1, Ordering::SeqCst);
        wake_all();
        self.seen = waiters;
        if self.compared != NEVER {
            self.compared = waiters.into();
        }
    }
}
