//! The typed view of a board's cells, and one attachment that several endpoints share.
//!
//! A [`CellMemory`] owns its memory as every view does. A [`SharedSegment`] lets the endpoints of
//! one process live in one attachment: a board costs two descriptors, however many cells and
//! endpoints it has.

#[cfg(not(loom))]
use super::layout::HEADER;
use super::layout::{CellHead, Slot};
#[cfg(not(loom))]
use super::view::KeptEventCount;
use super::view::Owner;
#[cfg(not(loom))]
use crate::sync::Ordering;
use std::ptr::NonNull;

/// The cells of one board.
///
/// # Invariants
///
/// 1. `heads` and `slots` are valid for shared access as long as `_owner` lives.
/// 2. There are `heads.len() * buffers * span` slots, and `span` is at least 1.
#[derive(Clone, Debug)]
pub(crate) struct CellMemory {
    heads: NonNull<[CellHead]>,
    slots: NonNull<[Slot]>,
    buffers: usize,
    span: usize,
    _owner: Owner,
}

// SAFETY: the parts are atomics, and payload bytes that the protocol hands to one writer or to
// readers at a time. The owner is `Send` and `Sync`. Nothing is tied to a thread.
unsafe impl Send for CellMemory {}
// SAFETY: as for `Send`.
unsafe impl Sync for CellMemory {}

impl CellMemory {
    /// # Safety
    ///
    /// All parts are valid for shared access as long as `owner` lives. There are
    /// `heads.len() * buffers * span` slots, and `span` is at least 1.
    pub(crate) unsafe fn of_parts(
        owner: Owner,
        heads: &[CellHead],
        slots: &[Slot],
        buffers: usize,
        span: usize,
    ) -> Self {
        debug_assert!(span > 0 && slots.len() == heads.len() * buffers * span);
        let (heads, slots) = (NonNull::from(heads), NonNull::from(slots));
        Self { heads, slots, buffers, span, _owner: owner }
    }

    /// The heads of all cells, with or without a key.
    #[inline]
    pub(crate) fn heads(&self) -> &[CellHead] {
        // SAFETY: valid by invariant 1; `self` keeps the owner.
        unsafe { self.heads.as_ref() }
    }

    /// The event count that is notified after each write of a cell.
    ///
    /// # Panics
    ///
    /// If there is no such cell.
    #[cfg(not(loom))]
    pub(crate) fn changed(&self, cell: usize) -> KeptEventCount {
        // SAFETY: a part of `heads`, valid as long as the owner lives by invariant 1.
        unsafe { KeptEventCount::of_parts(&self.heads()[cell].changed, Owner::clone(&self._owner)) }
    }

    /// Buffers of each cell.
    #[inline]
    pub(crate) fn buffers(&self) -> usize {
        self.buffers
    }

    /// The first slot of a buffer: its descriptor is the length of the value.
    ///
    /// # Panics
    ///
    /// If there is no such cell or buffer.
    #[inline]
    pub(crate) fn slot(&self, cell: usize, buffer: usize) -> &Slot {
        assert!(buffer < self.buffers, "no buffer {buffer}");
        // SAFETY: valid by invariant 1; `self` keeps the owner.
        let slots = unsafe { self.slots.as_ref() };
        &slots[(cell * self.buffers + buffer) * self.span]
    }

    /// Slots of a buffer.
    #[cfg(not(loom))]
    pub(crate) fn span(&self) -> usize {
        self.span
    }

    /// Most bytes that a buffer can hold.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.span * super::layout::SLOT - HEADER
    }

    /// The first slot of a buffer, and the first byte of its value: aligned to 16, with
    /// [`room`](Self::room) bytes behind it that no other buffer has.
    ///
    /// # Panics
    ///
    /// If there is no such cell or buffer.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn buffer(&self, cell: usize, buffer: usize) -> (&Slot, NonNull<u8>) {
        let slot = self.slot(cell, buffer);
        let index = (cell * self.buffers + buffer) * self.span;
        // SAFETY: `slot` checked the index, so by invariant 2 the slot and the rest of its buffer
        // lie within `slots`, and `HEADER` within a slot.
        (slot, unsafe { self.slots.cast::<Slot>().add(index).cast::<u8>().add(HEADER) })
    }
}

#[cfg(not(loom))]
impl CellHead {
    /// Longest key in bytes.
    pub(crate) const LONGEST_KEY: usize = super::layout::CELL_KEY_WORDS * 8;

    /// The key; `None` if the cell has none yet.
    pub(crate) fn key(&self) -> Option<String> {
        // Pairs with the release in `set_key`: the key is seen.
        let len = self.key_len.load(Ordering::Acquire).checked_sub(1)?;
        let len = len.min(Self::LONGEST_KEY as u64) as usize;
        Some(super::types::load_text(&self.key, len))
    }

    /// Gives the cell its key, for good. Under the control lock.
    pub(crate) fn set_key(&self, key: &str) {
        super::types::store_text(&self.key, key);
        // Pairs with the acquire in `key`.
        self.key_len.store(key.len() as u64 + 1, Ordering::Release);
    }
}

#[cfg(not(loom))]
mod shared {
    use crate::error::OpenError;
    use crate::segment::Segment;
    use crate::segment::entry::{EntryId, Liveness};
    use std::collections::HashSet;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// One attachment whose entries belong to several endpoints of this process.
    #[derive(Debug)]
    pub(crate) struct SharedSegment {
        segment: Segment,
        /// The entries whose liveness lock this attachment holds. The kernel reports the locks of
        /// the own descriptor as free.
        held: Mutex<HashSet<EntryId>>,
    }

    impl SharedSegment {
        /// An attachment for several endpoints. No endpoint has an entry through it yet.
        pub(crate) fn new(segment: Segment) -> Self {
            Self { segment, held: Mutex::default() }
        }

        /// The attachment.
        #[inline]
        pub(crate) fn segment(&self) -> &Segment {
            &self.segment
        }

        fn held(&self) -> MutexGuard<'_, HashSet<EntryId>> {
            // No line between lock and unlock can leave the set half-changed.
            self.held.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    // SAFETY: an entry is in the set from `acquire_liveness` to `release_liveness`, and its kernel
    // lock is held meanwhile: so it is alive for endpoints of this and of other attachments.
    unsafe impl Liveness for SharedSegment {
        fn acquire_liveness(&self, entry: EntryId) -> Result<bool, OpenError> {
            let mut held = self.held();
            if held.contains(&entry) || !self.segment.acquire_liveness(entry)? {
                return Ok(false);
            }
            Ok(held.insert(entry))
        }

        fn release_liveness(&self, entry: EntryId) {
            let mut held = self.held();
            self.segment.release_liveness(entry);
            held.remove(&entry);
        }

        fn is_alive(&self, entry: EntryId) -> bool {
            self.held().contains(&entry) || self.segment.is_alive(entry)
        }
    }
}

#[cfg(not(loom))]
pub(crate) use shared::SharedSegment;
