//! The server's side: the right to write the outcome of one request.

use super::Outcome;
use crate::failpoint::{Failpoint, failpoint};
use crate::ring::buffer::WriteBuf;
use crate::segment::CallMemory;
use crate::segment::layout::{CallCell, SHORT_REPLY, SLOT};
use crate::sync::{Ordering, fence};

/// The right to write the outcome of the request at one position. It is used once.
///
/// The server that has taken a request makes one. It keeps the right until the request leaves its
/// hand, or hands it to the deferred reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReplyRight {
    position: u64,
    cell: u16,
}

/// The addresses of the cells of a caller, to fetch the line of a reply before it is written.
///
/// The value keeps no memory, and the area may be unmapped meanwhile: it only serves hints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CellLines {
    first: usize,
}

impl CellLines {
    /// The cells of no area.
    pub(crate) const NONE: Self = Self { first: 0 };

    /// The cells of this area.
    pub(crate) fn of(memory: &CallMemory) -> Self {
        Self { first: memory.cells().as_ptr().addr() }
    }

    /// Has the processor fetch the line of a cell in order to write to it. A hint: it changes no
    /// memory, and other processors than x86-64 ignore it.
    #[inline(always)]
    pub(crate) fn prefetch(self, cell: u16) {
        let address = self.address(cell);
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: `prefetchw` neither reads nor writes memory as far as a program can tell, and
        // never faults, whatever the address. Processors without it execute it as no operation.
        // In assembly: the intrinsic makes a fetch for reading where the target has no `prfchw`.
        unsafe {
            std::arch::asm!("prefetchw [{}]", in(reg) address, options(nomem, nostack, preserves_flags));
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        let _ = address;
    }

    #[inline(always)]
    fn address(self, cell: u16) -> usize {
        self.first.wrapping_add(usize::from(cell) * size_of::<CallCell>())
    }
}

/// Why there is no room for a reply.
#[derive(Debug)]
pub(crate) enum ReplyRoomError {
    /// The caller reserved fewer bytes.
    TooLarge {
        /// The bytes that it reserved.
        limit: usize,
    },
    /// The caller's area has no such cell or block.
    NoCell,
}

impl ReplyRight {
    /// The right of the server that has just taken the request at this position, or takes it again
    /// after a search. The request named this cell.
    #[inline]
    pub(crate) fn of_request(position: u64, cell: u16) -> Self {
        Self { position, cell }
    }

    /// Returns true if the caller gave the call up.
    pub(crate) fn is_given_up(&self, memory: &CallMemory) -> bool {
        // In one order with the store in `SentCell::give_up`.
        let cell = memory.cells().get(usize::from(self.cell));
        cell.is_none_or(|cell| cell.given_up.load(Ordering::SeqCst) == self.position + 1)
    }

    /// Room for a reply of `len` bytes.
    #[inline]
    pub(crate) fn room<'r>(
        &'r mut self,
        memory: &'r CallMemory,
        len: usize,
    ) -> Result<WriteBuf<'r>, ReplyRoomError> {
        let start = if len <= SHORT_REPLY {
            memory.short(self.cell)
        } else {
            let cell = self.cell(memory).ok_or(ReplyRoomError::NoCell)?;
            // The copy is checked and used.
            let word = cell.block.load(Ordering::Relaxed);
            let (first, slots) = (word as u32, (word >> 32) as u32);
            let limit = (slots as usize * SLOT).max(SHORT_REPLY);
            if len > limit {
                return Err(ReplyRoomError::TooLarge { limit });
            }
            memory.block(first, slots)
        };
        failpoint(Failpoint::ReplyFill);
        // SAFETY: the bytes lie in `memory`, as checked above, and are aligned to 16. Only the
        // server with this right writes to the cell and the block, through one room at a time, as
        // `self` is borrowed. The caller reads them after the store of the state (`ring::call`).
        start.map(|start| unsafe { WriteBuf::new(start, len) }).ok_or(ReplyRoomError::NoCell)
    }

    /// Ends the call with the reply of `len` bytes that was written into its room. Returns the
    /// cell, whose sleeper the caller of this function wakes.
    #[inline]
    pub(crate) fn reply(self, memory: &CallMemory, len: usize) -> Option<&CallCell> {
        let cell = self.cell(memory)?;
        let outcome = if len <= SHORT_REPLY {
            Outcome::Short(len)
        } else {
            cell.len.store(len as u64, Ordering::Relaxed);
            Outcome::Long
        };
        self.end(cell, outcome);
        Some(cell)
    }

    /// Ends the call without a reply. `needed` and `limit` are the bytes that the reply needed and
    /// might have had, or 0. Returns the cell, whose sleeper the caller wakes.
    pub(crate) fn refuse(
        self,
        memory: &CallMemory,
        (needed, limit): (usize, usize),
    ) -> Option<&CallCell> {
        let cell = self.cell(memory)?;
        cell.len.store(needed as u64, Ordering::Relaxed);
        cell.limit.store(limit as u64, Ordering::Relaxed);
        self.end(cell, Outcome::Refused);
        Some(cell)
    }

    #[inline]
    fn cell<'m>(&self, memory: &'m CallMemory) -> Option<&'m CallCell> {
        memory.cells().get(usize::from(self.cell))
    }

    /// Records that the server with this entry and incarnation replies later. Before the request
    /// leaves its hand.
    pub(crate) fn defer(&self, memory: &CallMemory, entry: usize, incarnation: u64) {
        let Some(cell) = memory.cells().get(usize::from(self.cell)) else { return };
        // Pairs with the acquire in `SentCell::deferred`.
        cell.deferred.store(incarnation << 16 | (entry as u64 + 1), Ordering::Release);
    }

    fn end(&self, cell: &CallCell, outcome: Outcome) {
        failpoint(Failpoint::ReplyState);
        // Pairs with the load in `SentCell::outcome`: the reply and its length are seen. A plain
        // store, which goes to memory right behind the reply on the same line. A locked one would
        // come later, and the caller, which polls the line, may fetch it twice.
        cell.state.store(outcome.state(self.position), Ordering::Release);
        // Before the later load of the number of waiters. The waiter adds to it and then looks at
        // the state, both in one order with this fence. So one of the two sees the other, no
        // wake-up is lost, and the waiter needs no `membarrier`.
        fence(Ordering::SeqCst);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::segment::Segment;
    use crate::segment::name::Name;
    use crate::segment::settings::Settings;
    use crate::sys::lock::LockLimit;

    #[test]
    fn the_line_of_each_cell_is_found_by_its_number() {
        let name = Name::new(&format!("cell-lines-{}", std::process::id())).unwrap();
        let settings = Settings { call_cells: 3, capacity: 4096, ..Settings::default() };
        let segment = Segment::open(&name, &settings, &LockLimit::default()).unwrap();
        let memory = segment.call_memory();
        assert_eq!(memory.cells().len(), 3);
        let lines = CellLines::of(&memory);
        for (number, cell) in (0..).zip(memory.cells()) {
            assert_eq!(lines.address(number), std::ptr::from_ref(cell).addr());
            lines.prefetch(number);
        }
        // No address faults.
        drop((memory, segment));
        (0..=u16::MAX).for_each(|number| lines.prefetch(number));
        CellLines::NONE.prefetch(u16::MAX);
    }
}
