//! Words of a segment that keep its memory: an event count to sleep on, the counters of an
//! endpoint.

use super::layout::EventCount;
use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;

/// Keeps the memory behind a view valid and in place: a mapping, a heap block, or a test's boxes.
pub(crate) type Owner = Arc<dyn Any + Send + Sync>;

/// Words that keep their memory.
///
/// # Invariant
///
/// `words` is valid for shared access as long as `_owner` lives.
#[derive(Debug)]
pub(crate) struct KeptWords<T> {
    words: NonNull<T>,
    _owner: Owner,
}

/// An event count that keeps its memory.
pub(crate) type KeptEventCount = KeptWords<EventCount>;

impl<T> KeptWords<T> {
    /// # Safety
    ///
    /// `words` is valid for shared access as long as `owner` lives.
    pub(super) unsafe fn of_parts(words: &T, owner: Owner) -> Self {
        Self { words: NonNull::from(words), _owner: owner }
    }
}

impl<T> Clone for KeptWords<T> {
    fn clone(&self) -> Self {
        Self { words: self.words, _owner: Owner::clone(&self._owner) }
    }
}

// SAFETY: only shared references to the words are given out, and `T` may be shared. The owner is
// `Send` and `Sync`.
unsafe impl<T: Sync> Send for KeptWords<T> {}
// SAFETY: as for `Send`.
unsafe impl<T: Sync> Sync for KeptWords<T> {}

impl<T> std::ops::Deref for KeptWords<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: valid by the invariant; `self` keeps the owner.
        unsafe { self.words.as_ref() }
    }
}
