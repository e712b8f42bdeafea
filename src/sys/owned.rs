//! A value that one thread alone uses, without a lock.
//!
//! It belongs to the first thread that asks for it, for good: when that thread ends, it is nobody's.

use crate::sync::{AtomicU64, Ordering};
use std::cell::Cell;

/// A value that belongs to one thread.
pub(crate) struct Owned<T> {
    /// The number of its thread; 0: nobody asked yet.
    owner: AtomicU64,
    value: T,
}

// SAFETY: of all threads that share it, one alone gets at the value, and whoever drops it may be
// another: that it can be sent is enough.
unsafe impl<T: Send> Sync for Owned<T> {}

impl<T> Owned<T> {
    /// A value that is nobody's yet.
    pub(crate) fn new(value: T) -> Self {
        Self { owner: AtomicU64::new(0), value }
    }

    /// The value, if it is this thread's, or nobody's: then it is this thread's from now on.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        let this = this_thread();
        // Relaxed: the number of another thread is never this one's, whenever it is seen.
        let owner = self.owner.load(Ordering::Relaxed);
        let is_own = owner == this || owner == 0 && self.take(this);
        is_own.then_some(&self.value)
    }

    #[cold]
    fn take(&self, this: u64) -> bool {
        self.owner.compare_exchange(0, this, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl<T: Default> Default for Owned<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

// Not derived: the value is one thread's.
impl<T> std::fmt::Debug for Owned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owned").finish_non_exhaustive()
    }
}

/// The number of this thread, which no other thread of this process has or will have. Not 0.
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
    fn it_is_the_first_threads_for_good() {
        let owned = Owned::new(Cell::new(1));
        let asked = |owned: &Owned<Cell<i32>>| owned.get().map(Cell::get);
        thread::scope(|scope| {
            let first = scope.spawn(|| owned.get().map(|value| value.replace(2)));
            assert_eq!(first.join().unwrap(), Some(1));
            assert_eq!(asked(&owned), None);
            // Not of a thread either that has the place of the first.
            assert_eq!(scope.spawn(|| asked(&owned)).join().unwrap(), None);
        });
    }
}
