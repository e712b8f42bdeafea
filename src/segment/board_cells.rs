//! The typed view of a board's cells. A [`CellMemory`] owns its memory as every view does.

#[cfg(not(loom))]
use super::kept::KeptEventCount;
#[cfg(not(loom))]
use super::layout::HEADER;
use super::layout::{CellHead, Slot};
use super::view::{Owner, RingMemory};
#[cfg(not(loom))]
use crate::sync::Ordering;
use std::ptr::NonNull;

/// The cells of one board.
///
/// # Invariants
///
/// 1. `heads` and `slots` are valid for shared access as long as `owner` lives.
/// 2. There are `heads.len() * buffers * span` slots, and `span` is at least 1.
#[derive(Clone, Debug)]
pub(crate) struct CellMemory {
    heads: NonNull<[CellHead]>,
    slots: NonNull<[Slot]>,
    buffers: usize,
    span: usize,
    owner: Owner,
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
        Self { heads, slots, buffers, span, owner }
    }

    /// Returns true if the cells are those of this memory.
    pub(crate) fn is_in(&self, memory: &RingMemory) -> bool {
        std::sync::Arc::ptr_eq(&self.owner, &memory.owner())
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
        unsafe { KeptEventCount::of_parts(&self.heads()[cell].changed, Owner::clone(&self.owner)) }
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
