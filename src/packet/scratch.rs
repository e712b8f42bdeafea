//! Scratch memory for serialization: rkyv keeps the resolvers of nested values there.
//!
//! The memory is reused, so serialization allocates nothing once it has grown enough. It holds no
//! values between calls.

use rkyv::ser::allocator::{Arena, ArenaHandle};

/// Reusable scratch memory for serialization.
#[doc(hidden)]
#[derive(Default)]
pub struct Scratch(Option<Arena>);

// SAFETY: The arena is private to this module, and every method takes `&mut self`: a shared
// reference gives no access to it.
unsafe impl Sync for Scratch {}

impl Scratch {
    /// Creates scratch memory without allocating. Types without pointers never need any.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Returns empty scratch memory, at least as large as the previous use needed.
    #[inline]
    pub(super) fn acquire(&mut self) -> ArenaHandle<'_> {
        self.0.get_or_insert_default().acquire()
    }

    #[cfg(test)]
    pub(super) fn capacity(&mut self) -> usize {
        self.0.as_ref().map_or(0, Arena::capacity)
    }
}
