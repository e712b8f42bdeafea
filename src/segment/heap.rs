//! A segment on the heap, for threads and tests. It has the layout and the protocol of a shared
//! one, but no name, no file and no kernel locks.
//!
//! An endpoint that is dropped leaves. An endpoint that is forgotten counts as alive forever.

#![cfg(not(loom))]

use super::entry::EntryId;
use super::entry::Liveness;
use super::parts::{Block, SegmentParts};
use super::places::Places;
use super::settings::Settings;
use crate::error::OpenError;
use crate::sync::AtomicU64;
use crate::sys::page_size;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::HashSet;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A segment on the heap, which its attachments share.
#[derive(Debug)]
pub(super) struct Heap {
    parts: SegmentParts,
    /// The entries whose liveness lock is held.
    locked: Mutex<HashSet<EntryId>>,
    /// The time of the last check of all entries; 0 if there is none.
    pub(super) checked: AtomicU64,
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
// Only the parts give references to the bytes.
unsafe impl Block for Allocation {
    fn bytes(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.base, self.layout.size())
    }
}

impl Heap {
    /// A segment with these settings; `None` if there is not that much memory.
    pub(super) fn new(settings: Settings, salt: u64) -> Option<Self> {
        let places = Places::of_settings(&settings)?;
        let layout = Layout::from_size_align(places.end, page_size()).ok()?;
        // SAFETY: the layout's size is not zero: it has a head.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let parts = SegmentParts::new(Arc::new(Allocation { base, layout }), settings, salt)?;
        Some(Self { parts, locked: Mutex::default(), checked: AtomicU64::new(0) })
    }

    /// The typed parts.
    pub(super) fn parts(&self) -> &SegmentParts {
        &self.parts
    }

    fn locked(&self) -> MutexGuard<'_, HashSet<EntryId>> {
        // No line between lock and unlock can leave the set half-changed.
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: an entry is in the set from `acquire_liveness` to `release_liveness`.
unsafe impl Liveness for Heap {
    fn acquire_liveness(&self, entry: EntryId) -> Result<bool, OpenError> {
        Ok(self.locked().insert(entry))
    }

    fn release_liveness(&self, entry: EntryId) {
        self.locked().remove(&entry);
    }

    fn is_alive(&self, entry: EntryId) -> bool {
        self.locked().contains(&entry)
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: invariant 1.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}
