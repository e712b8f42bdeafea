//! A segment on the heap, for threads and tests: the same layout and the same protocol, without
//! a name, a file or a kernel that watches.
//!
//! An endpoint that is dropped leaves; one that is forgotten lives for ever.

use super::layout::Places;
use super::settings::Settings;
use super::view::{Block, SegmentParts};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::HashSet;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Alignment of the memory, as for a mapping.
const PAGE: usize = 4096;

/// A segment on the heap, which its attachments share.
#[derive(Debug)]
pub(crate) struct Heap {
    parts: SegmentParts,
    /// The control lock.
    pub(crate) control: Mutex<()>,
    /// The liveness locks: the bytes that are locked.
    seats: Mutex<HashSet<u64>>,
}

/// Zeroed memory, aligned to a page.
///
/// # Invariants
///
/// 1. `base` was allocated with `layout`, and is freed when the value is dropped.
struct Allocation {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the value owns plain memory, which is not tied to a thread.
unsafe impl Send for Allocation {}
// SAFETY: nothing but the pointer is read through a shared reference.
unsafe impl Sync for Allocation {}

// SAFETY: allocated with `layout` by invariant 1: zeroed, so initialized, and aligned to a page.
// Nobody has a reference to the bytes but through the parts.
unsafe impl Block for Allocation {
    fn bytes(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.base, self.layout.size())
    }
}

impl Heap {
    /// A segment with these settings; `None` if there is not that much memory.
    pub(crate) fn new(settings: Settings, salt: u64) -> Option<Self> {
        let places = Places::of_settings(&settings)?;
        let layout = Layout::from_size_align(places.end, PAGE).ok()?;
        // SAFETY: the layout's size is not zero: it has a head.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let parts = SegmentParts::new(Arc::new(Allocation { base, layout }), settings, salt)?;
        let (control, seats) = Default::default();
        Some(Self { parts, control, seats })
    }

    /// The typed parts.
    pub(crate) fn parts(&self) -> &SegmentParts {
        &self.parts
    }

    /// Sits at a byte; `false`: somebody does.
    pub(crate) fn acquire_liveness(&self, byte: u64) -> bool {
        self.seats().insert(byte)
    }

    /// Leaves a byte.
    pub(crate) fn release_liveness(&self, byte: u64) {
        self.seats().remove(&byte);
    }

    /// Whether somebody sits there.
    pub(crate) fn is_alive(&self, byte: u64) -> bool {
        self.seats().contains(&byte)
    }

    fn seats(&self) -> MutexGuard<'_, HashSet<u64>> {
        // No line between lock and unlock can leave the set half-changed.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: invariant 1.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}
