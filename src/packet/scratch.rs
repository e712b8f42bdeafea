//! Room for what rkyv must remember while it writes nested values.
//!
//! Kept from call to call, so that writing allocates nothing once the room has grown. It holds nothing
//! between calls.

use rkyv::ser::allocator::{Arena, ArenaHandle};

/// Reusable room for writing packets.
#[doc(hidden)]
#[derive(Default)]
pub struct Scratch(Option<Arena>);

// SAFETY: An arena is only ever used through `&mut Scratch`; a shared reference gives no access to it.
unsafe impl Sync for Scratch {}

impl Scratch {
    /// No room yet; types without pointers need none.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Empty room, at least as much as the last use needed.
    #[inline]
    pub(super) fn acquire(&mut self) -> ArenaHandle<'_> {
        self.0.get_or_insert_default().acquire()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.0.as_ref().map_or(0, Arena::capacity)
    }
}
