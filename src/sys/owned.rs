//! Two containers without a lock: [`Owned`] for a value that exactly one thread uses, and
//! [`PerProcess`] for one that each process makes anew.
//!
//! The first thread that calls [`Owned::get`] becomes the owner for good. After that thread has
//! ended, no thread can use the value.

use super::fork;
use crate::sync::{AtomicU64, Ordering};
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::with_exposed_provenance;

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

/// One value for each process, made when it is first needed. A forked child makes its own, because
/// a thread that it does not have may be inside the value of its parent. No value is ever freed.
///
/// # Invariant
///
/// `address` is 0, or that of a leaked [`OfProcess`] whose provenance is exposed.
pub(crate) struct PerProcess<T: 'static> {
    address: AtomicU64,
    value: PhantomData<fn() -> T>,
}

/// A value, and the process that it is for: its id, and its generation, as an id is used again.
struct OfProcess<T> {
    process: (u32, u32),
    value: T,
}

impl<T: Default + Sync> PerProcess<T> {
    /// No value yet.
    pub(crate) const fn new() -> Self {
        Self { address: AtomicU64::new(0), value: PhantomData }
    }

    /// The value of this process.
    pub(crate) fn get(&self) -> &'static T {
        let process = (std::process::id(), fork::generation());
        loop {
            // Pairs with the release below: the value is seen.
            let address = self.address.load(Ordering::Acquire);
            // SAFETY: by the invariant the pointer is null, or valid for ever and shared.
            let made =
                unsafe { with_exposed_provenance::<OfProcess<T>>(address as usize).as_ref() };
            if let Some(made) = made.filter(|made| made.process == process) {
                return &made.value;
            }
            let new = Box::into_raw(Box::new(OfProcess { process, value: T::default() }));
            let exchanged = self.address.compare_exchange(
                address,
                new.expose_provenance() as u64,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if exchanged.is_err() {
                // SAFETY: the pointer comes from `Box::into_raw`, and nobody else has it.
                drop(unsafe { Box::from_raw(new) });
            }
        }
    }
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
