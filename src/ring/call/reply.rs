//! The server's side: the right to write the outcome of one request.

use super::Outcome;
use crate::failpoint::{Failpoint, failpoint};
use crate::ring::buffer::WriteBuf;
use crate::segment::CallMemory;
use crate::segment::layout::{CallCell, SHORT_REPLY, SLOT};
use crate::sync::Ordering;

/// The right to write the outcome of the request at one position. It is used once.
///
/// The server that has taken a request makes one. It keeps the right until the request leaves its
/// hand, or hands it to the deferred reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReplyRight {
    position: u64,
    cell: u16,
}

/// Why a reply was not written. The caller is told.
#[derive(Debug)]
pub(crate) enum ReplyRoomError<E> {
    /// The caller reserved fewer bytes.
    TooLarge {
        /// The bytes that it reserved.
        limit: usize,
    },
    /// The reply was not written.
    Fill(E),
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

    /// Writes a reply of `len` bytes by `fill`, and ends the call. Returns the cell, whose sleeper
    /// the caller of this function wakes. If `fill` fails, the call ends without a reply.
    #[inline]
    pub(crate) fn reply<E>(
        self,
        memory: &CallMemory,
        len: usize,
        fill: impl FnOnce(WriteBuf<'_>) -> Result<(), E>,
    ) -> (Option<&CallCell>, Result<(), ReplyRoomError<E>>) {
        let Some(cell) = memory.cells().get(usize::from(self.cell)) else {
            return (None, Err(ReplyRoomError::NoCell));
        };
        let (start, outcome) = if len <= SHORT_REPLY {
            (memory.short(self.cell), Outcome::Short(len))
        } else {
            // The copy is checked and used.
            let word = cell.block.load(Ordering::Relaxed);
            let (first, slots) = (word as u32, (word >> 32) as u32);
            let limit = (slots as usize * SLOT).max(SHORT_REPLY);
            if len > limit {
                self.refuse(cell, len as u64, limit as u64);
                return (Some(cell), Err(ReplyRoomError::TooLarge { limit }));
            }
            cell.len.store(len as u64, Ordering::Relaxed);
            (memory.block(first, slots), Outcome::Long)
        };
        let Some(start) = start else { return (None, Err(ReplyRoomError::NoCell)) };
        // SAFETY: the bytes lie in `memory`, as checked above, and are aligned to 16. Only the
        // server with this right writes to the cell and the block, and the caller reads them after
        // the store of the state below (`ring::call`).
        let room = unsafe { WriteBuf::new(start, len) };
        failpoint(Failpoint::ReplyFill);
        if let Err(error) = fill(room) {
            self.refuse(cell, 0, 0);
            return (Some(cell), Err(ReplyRoomError::Fill(error)));
        }
        self.end(cell, outcome);
        (Some(cell), Ok(()))
    }

    /// Ends the call without a reply. Returns the cell, whose sleeper the caller wakes.
    pub(crate) fn drop_request(self, memory: &CallMemory) -> Option<&CallCell> {
        let cell = memory.cells().get(usize::from(self.cell))?;
        self.refuse(cell, 0, 0);
        Some(cell)
    }

    /// Records that the server with this entry and incarnation replies later. Before the request
    /// leaves its hand.
    pub(crate) fn defer(&self, memory: &CallMemory, entry: usize, incarnation: u64) {
        let Some(cell) = memory.cells().get(usize::from(self.cell)) else { return };
        // Pairs with the acquire in `SentCell::deferred`.
        cell.deferred.store(incarnation << 16 | (entry as u64 + 1), Ordering::Release);
    }

    fn refuse(&self, cell: &CallCell, needed: u64, limit: u64) {
        cell.len.store(needed, Ordering::Relaxed);
        cell.limit.store(limit, Ordering::Relaxed);
        self.end(cell, Outcome::Refused);
    }

    fn end(&self, cell: &CallCell, outcome: Outcome) {
        failpoint(Failpoint::ReplyState);
        // Pairs with the load in `SentCell::outcome`: the reply and its length are seen. In one
        // order with the later load of the number of waiters, and with the waiter's addition to it
        // and its next look at the state: so no wake-up is lost, and the waiter needs no
        // `membarrier`.
        cell.state.store(outcome.state(self.position), Ordering::SeqCst);
    }
}
