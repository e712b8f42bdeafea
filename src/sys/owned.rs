//! A value that exactly one thread uses, without a lock.
//!
//! The first thread that calls `get` becomes its owner for good. After that thread has ended, no
//! thread can use the value.

use crate::sync::{AtomicU64, Ordering};
use std::cell::Cell;

/// A value that belongs to one thread.
///
/// # Invariants
///
/// 1. `owner` is 0, or the number of the owning thread. It changes once, from 0.
/// 2. Only the owning thread gets a reference to `value`. (`Drop` runs with exclusive access.)
pub(crate) struct Owned<T> {
    owner: AtomicU64,
    value: T,
}

// SAFETY: By invariants 1 and 2, sharing an `Owned` gives one single thread access to the value.
// Another thread may drop it. Both are moves of the value between threads, for which `T: Send` is
// enough.
unsafe impl<T: Send> Sync for Owned<T> {}

impl<T> Owned<T> {
    /// Creates a value without an owner.
    pub(crate) fn new(value: T) -> Self {
        Self { owner: AtomicU64::new(0), value }
    }

    /// Returns the value if this thread owns it. If it has no owner yet, this thread becomes the
    /// owner.
    ///
    /// `None` if another thread owns it.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        let this = this_thread();
        // Relaxed: only this thread ever stores `this`, and a thread always sees its own stores.
        // `value` was initialized before `self` was shared.
        let owner = self.owner.load(Ordering::Relaxed);
        let is_own = owner == this || owner == 0 && self.claim(this);
        is_own.then_some(&self.value)
    }

    #[cold]
    fn claim(&self, this: u64) -> bool {
        self.owner.compare_exchange(0, this, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl<T: Default> Default for Owned<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

// Not derived: formatting must not access the value, which belongs to one thread.
impl<T> std::fmt::Debug for Owned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owned").finish_non_exhaustive()
    }
}

/// Returns the number of this thread: never 0, and unique among all threads that this process ever
/// has.
#[inline]
fn this_thread() -> u64 {
    thread_local!(static NUMBER: Cell<u64> = const { Cell::new(0) });
    NUMBER.with(|number| match number.get() {
        0 => {
            static LAST: AtomicU64 = AtomicU64::new(0);
            number.set(LAST.fetch_add(1, Ordering::Relaxed) + 1);
            number.get()
        }
        known => known,
    })
}

#[cfg(test)]
mod tests {
    use super::Owned;
    use std::cell::Cell;
    use std::thread;

    #[test]
    fn a_value_belongs_to_the_first_thread_for_good() {
        let owned = Owned::new(Cell::new(1));
        let asked = |owned: &Owned<Cell<i32>>| owned.get().map(Cell::get);
        thread::scope(|scope| {
            let first = scope.spawn(|| owned.get().map(|value| value.replace(2)));
            assert_eq!(first.join().unwrap(), Some(1));
            assert_eq!(asked(&owned), None);
            // The system may reuse the resources of the first thread for this one.
            assert_eq!(scope.spawn(|| asked(&owned)).join().unwrap(), None);
        });
    }
}
