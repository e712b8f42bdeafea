//! Detection of sends from within serialization.

use std::cell::Cell;

thread_local! {
    /// Messages that this thread is serializing, nested.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// This thread serializes a message while the value lives.
pub(super) struct SerializeDepth(());

impl SerializeDepth {
    #[inline]
    pub(super) fn begin() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self(())
    }

    /// Returns true if this thread is serializing a message.
    pub(super) fn is_under_way() -> bool {
        DEPTH.get() > 0
    }
}

impl Drop for SerializeDepth {
    #[inline]
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}
