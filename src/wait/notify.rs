//! The side that ends a wait. A [`Notifier`] wakes the sleepers of an event count, and pays one
//! plain load after each store. A [`Signal`] tells an event loop that an endpoint may have
//! something.

use crate::segment::layout::EventCount;
#[cfg(not(loom))]
use crate::sync::{AtomicU32, AtomicU64};
use crate::sync::{Ordering, fence, light_barrier};
#[cfg(not(loom))]
use crate::sys::{event::EventFd, futex};
#[cfg(not(loom))]
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Mutex, OnceLock, PoisonError},
    task::Waker,
};

/// Wakes the sleepers of an event count that is notified once, after a store that is sequentially
/// consistent or has such a fence behind it. Nobody had registered before the wait began, so the
/// number of waiters tells whether one sleeps. Pairs with [`Waiter::park_once`].
#[cfg(not(loom))]
#[inline]
pub(crate) fn notify_once(event_count: &EventCount) {
    // In one order with the caller's store or fence before it, and with the addition in
    // `count_waiter` and the waiter's look behind it.
    if event_count.waiters.load(Ordering::SeqCst) != 0 {
        wake_once(event_count);
    }
}

#[cfg(not(loom))]
#[cold]
fn wake_once(event_count: &EventCount) {
    // In one order with the load and the addition in `count_waiter`.
    event_count.futex.fetch_add(1, Ordering::SeqCst);
    futex::wake_all(&event_count.futex);
}

/// Wakes one sleeper of an event count whose waiters all wait for the same thing. The caller knows
/// that there is a waiter. Pairs with [`Waiter::park_once`].
#[cfg(not(loom))]
pub(crate) fn notify_one(event_count: &EventCount) {
    // In one order with the load and the addition in `count_waiter`.
    event_count.futex.fetch_add(1, Ordering::SeqCst);
    futex::wake(&event_count.futex, 1);
}

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

    /// Changes the futex word and calls `wake`, which wakes sleepers. If `wake` returns true, no
    /// sleeper was left, and the number of waiters is remembered. Otherwise the next notification
    /// wakes again.
    #[cold]
    pub(crate) fn wake(&mut self, event_count: &EventCount, wake: impl FnOnce() -> bool) {
        // Before the futex word is changed: a later waiter finds the new value and does not sleep,
        // or is seen next time.
        let waiters = event_count.waiters.load(Ordering::Relaxed);
        // In one order with the load and the addition in `count_waiter`.
        event_count.futex.fetch_add(1, Ordering::SeqCst);
        if !wake() {
            return;
        }
        self.seen = waiters;
        if self.compared != NEVER {
            self.compared = waiters.into();
        }
    }
}

/// The state that the reactor and an endpoint share.
#[cfg(not(loom))]
#[derive(Debug, Default)]
pub(crate) struct Signal {
    /// 1: the endpoint found nothing and waits. 0: it was told since, or did not try yet.
    pub(super) armed: AtomicU32,
    /// When the endpoint must check which processes live, if it is armed. Nanoseconds of the
    /// monotonic clock.
    pub(super) check_at: AtomicU64,
    /// When the reactor looks at the endpoint by the clock. Greater than any time if it does not,
    /// and while the reactor decides. 0 before the reactor looked for the first time.
    pub(super) looks_at: AtomicU64,
    /// Readable when the endpoint may have something. Made when it is first asked for.
    pub(super) descriptor: OnceLock<EventFd>,
    waker: Mutex<Option<Waker>>,
}

#[cfg(not(loom))]
impl Signal {
    /// Makes the descriptor, if there is none. It is readable until the next arming.
    pub(crate) fn make_descriptor(&self) -> io::Result<()> {
        if self.descriptor.get().is_none() {
            // Another thread may be faster.
            let _ = self.descriptor.set(EventFd::new()?);
        }
        Ok(())
    }

    /// The descriptor, after [`make_descriptor`](Self::make_descriptor).
    #[expect(clippy::expect_used, reason = "a readiness is made with its descriptor")]
    pub(crate) fn made_descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.get().expect("a readiness without a descriptor").as_fd()
    }

    /// Sets the waker that the next [`fire`](Self::fire) wakes.
    pub(crate) fn set_waker(&self, waker: Option<&Waker>) {
        let lock = || self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(before), Some(waker)) = (&*lock(), waker)
            && before.will_wake(waker)
        {
            return;
        }
        // Cloned and dropped without the lock: both run code of the executor.
        let new = waker.cloned();
        let before = std::mem::replace(&mut *lock(), new);
        drop(before);
    }

    /// Tells the event loop, if the endpoint is armed.
    pub(super) fn fire(&self) {
        // In one order with the store in `arm`.
        if self.armed.swap(0, Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(descriptor) = self.descriptor.get() {
            descriptor.set();
        }
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Without the lock: it runs code of the user.
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
