//! A view of a call area: the cells of the calls of one worker, and memory for their replies.

#![cfg(not(loom))]

use super::layout::{CallCell, Head, SHORT_REPLY, SLOT, Slot};
use super::view::Owner;
use crate::sync::Ordering;
use std::ptr::NonNull;

/// The cells and the reply memory of one call area. A clone keeps the memory.
///
/// # Invariants
///
/// 1. `head`, `cells` and `blocks` are valid for shared access as long as `owner` lives.
/// 2. `blocks` is aligned to 64.
#[derive(Clone, Debug)]
pub(crate) struct CallMemory {
    head: NonNull<Head>,
    cells: NonNull<[CallCell]>,
    blocks: NonNull<[Slot]>,
    _owner: Owner,
}

// SAFETY: the cells are atomics, and reply bytes that the protocol of `ring::call` hands to one
// writer or to one reader at a time. The owner is `Send` and `Sync`.
unsafe impl Send for CallMemory {}
// SAFETY: as for `Send`.
unsafe impl Sync for CallMemory {}

impl CallMemory {
    /// # Safety
    ///
    /// The parts are valid for shared access as long as `owner` lives.
    pub(super) unsafe fn of_parts(
        owner: Owner,
        head: &Head,
        cells: &[CallCell],
        blocks: &[Slot],
    ) -> Self {
        Self {
            head: NonNull::from(head),
            cells: NonNull::from(cells),
            blocks: NonNull::from(blocks),
            _owner: owner,
        }
    }

    /// All cells, used or not.
    #[inline]
    pub(crate) fn cells(&self) -> &[CallCell] {
        // SAFETY: valid by invariant 1; `self` keeps the owner.
        unsafe { self.cells.as_ref() }
    }

    /// Bytes of memory for replies.
    pub(crate) fn capacity(&self) -> usize {
        self.blocks.len() * SLOT
    }

    /// The generation of the worker that made the area.
    pub(crate) fn generation(&self) -> u64 {
        // SAFETY: valid by invariant 1; `self` keeps the owner.
        unsafe { self.head.as_ref() }.identity.generation.load(Ordering::Acquire)
    }

    /// Stores the generation of the worker that made the area.
    pub(crate) fn set_generation(&self, generation: u64) {
        // SAFETY: valid by invariant 1; `self` keeps the owner.
        unsafe { self.head.as_ref() }.identity.generation.store(generation, Ordering::Release);
    }

    /// The first of [`SHORT_REPLY`] bytes in a cell, aligned to 16. `None` without such a cell.
    #[inline]
    pub(crate) fn short(&self, cell: u16) -> Option<NonNull<u8>> {
        let cell = self.cells().get(usize::from(cell))?;
        const { assert!(SHORT_REPLY.is_multiple_of(16)) };
        Some(NonNull::from(&cell.reply).cast())
    }

    /// The first byte of a block of whole slots, aligned to 64. `None` if the area does not hold
    /// it.
    pub(crate) fn block(&self, first: u32, slots: u32) -> Option<NonNull<u8>> {
        let end = first.checked_add(slots)? as usize;
        if end > self.blocks.len() {
            return None;
        }
        // SAFETY: within the blocks, as checked above; valid by invariant 1.
        Some(unsafe { self.blocks.cast::<Slot>().add(first as usize) }.cast())
    }
}
