//! A segment on the heap, for threads and tests: the same layout and the same protocol, without
//! a name, a file or a kernel that watches.
//!
//! An endpoint that is dropped leaves; one that is forgotten lives for ever.

use super::layout::Places;
use super::settings::Settings;
use super::view::SegmentParts;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::HashSet;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Aligned as a mapping is.
const PAGE: usize = 4096;

/// A block of memory laid out as a segment.
#[derive(Debug)]
pub(crate) struct Heap {
    base: NonNull<u8>,
    layout: Layout,
    pub(crate) places: Places,
    pub(crate) settings: Settings,
    pub(crate) salt: u64,
    /// What the control lock is in a shared object.
    pub(crate) control: Mutex<()>,
    /// What the liveness locks are: the bytes that are sat at.
    seats: Mutex<HashSet<u64>>,
}

// SAFETY: the block is atomics and payload bytes, which the protocol shares between threads.
unsafe impl Send for Heap {}
// SAFETY: as above.
unsafe impl Sync for Heap {}

impl Heap {
    /// A block for these settings, which were checked; `None` if there is not that much memory.
    pub(crate) fn new(settings: Settings, salt: u64) -> Option<Self> {
        let places = Places::of_settings(&settings)?;
        let layout = Layout::from_size_align(places.end, PAGE).ok()?;
        // SAFETY: the layout's size is not zero: it has a head.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let (control, seats) = Default::default();
        Some(Self { base, layout, places, settings, salt, control, seats })
    }

    /// The typed parts.
    pub(crate) fn parts(&self) -> SegmentParts {
        // SAFETY: the block is page-aligned, zeroed and `places.end` long, and lives as long as
        // `self`, to which every user of the parts is tied.
        unsafe { SegmentParts::new(self.base, self.places, self.settings) }
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

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and given up here alone.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}
