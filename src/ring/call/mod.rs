//! Calls: the cell in which the outcome of a request is returned to its caller.
//!
//! A caller has a **call area**: cells, and memory for replies. It chooses a free cell for each
//! call, and a block if the reply may be longer than a cell holds. The request carries the number
//! of the cell. The server that takes the request writes the outcome into the cell.
//!
//! ```text
//!  caller                                            server
//!  ──────                                            ──────
//!  FreshCell: block; state is of another position
//!  publish the request at p ───────────────────────► take: own := p
//!  SentCell                                          ReplyRight of p
//!     waits                                          reply, len, then state := (p, kind)
//!  state is of p            ◄────────────────────────┘
//!  EndedCell: reads the reply                        own := NOWHERE release
//!  free again
//! ```
//!
//! Guarantees:
//!
//! - **A reply belongs to its request.** A position is never used twice, and the state has the
//!   position of the request.
//! - **One writer.** The server that has the request in hand, or has deferred it, writes the cell
//!   and the block. It takes each position once, and a [`ReplyRight`] is used once.
//! - **No late writer.** A cell is free again only after the outcome was seen, or after
//!   [`status_of_call`] showed that no living server has the request. A server that leaves gives
//!   its deferred replies up before it frees its entry.
//! - **A reply never waits for room**: the caller has reserved it.
//!
//! The status of a request, as its caller sees it in the request ring and in its cell:
//!
//! ```text
//!  waiting ──take──► in hand ──outcome written──► over
//!                       └──mark written──► deferred ──outcome written──► over
//! ```
//!
//! A server has a request in hand until it has written the outcome. So a caller that sees neither
//! looks at the cell once more, and then knows that the request is lost.
//!
//! Only the process of the caller chooses cells and blocks ([`CellPool`]), so a killed process
//! leaves nothing half done that another one must repair. `docs/internals/services.md` has the
//! whole protocol.

mod blocks;
mod cells;
mod reply;

pub(crate) use cells::{CellPool, Ended, EndedCell, FreshCell, RequestRingId, SentCell};
pub(crate) use reply::{CellLines, ReplyRight, ReplyRoomError};

use crate::ring::consumer_group::{consumers, shared};
use crate::ring::gate::{PIN, position};
use crate::segment::entry::EntryId;
use crate::segment::layout::{NOWHERE, SHORT_REPLY, SubscriberEntry};
use crate::segment::view::RingMemory;
use crate::sync::Ordering;

/// The proof that no living server has the request at a position, nor will have it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Over(u64);

/// Why a call gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// Each cell has a call in flight.
    Cells,
    /// No block of this many bytes is free.
    Memory {
        /// Bytes of the largest free block.
        free: usize,
    },
}

/// The outcome of a call, as its server stored it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A reply of this many bytes within the cell.
    Short(usize),
    /// A reply in the block of the call.
    Long,
    /// There is no reply.
    Refused,
}

/// Bits of a position in a state. A position of the same low bits comes after years.
const POSITION_BITS: u32 = 48;

impl Outcome {
    /// The state of a cell with this outcome of the request at a position.
    ///
    /// ```text
    ///  63              16 15        8 7      0
    ///  │ position, low   │ length    │ kind   │
    /// ```
    fn state(self, position: u64) -> u64 {
        let (kind, len) = match self {
            Self::Short(len) => (1, len as u64),
            Self::Long => (2, 0),
            Self::Refused => (3, 0),
        };
        position << (64 - POSITION_BITS) | len << 8 | kind
    }

    /// Decodes a state. `None` if it is not an outcome of the request at this position.
    #[inline]
    fn of(state: u64, position: u64) -> Option<Self> {
        let shift = 64 - POSITION_BITS;
        if state >> shift != position << shift >> shift {
            return None;
        }
        match (state as u8, usize::from((state >> 8) as u8)) {
            (1, len) if len <= SHORT_REPLY => Some(Self::Short(len)),
            (2, _) => Some(Self::Long),
            (3, _) => Some(Self::Refused),
            _ => None,
        }
    }
}

/// The status of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RequestStatus {
    /// No server has taken it.
    Waiting,
    /// This living server has it in hand, or has deferred it.
    Held(EntryId),
    /// No living server has it any more. Its outcome may be in the cell.
    Over(Over),
}

/// The status of the request of a cell.
pub(crate) fn status_of_call(
    memory: &RingMemory,
    cell: &SentCell,
    is_alive: &dyn Fn(EntryId) -> bool,
) -> RequestStatus {
    let at = cell.position();
    // Pairs with the release that moves it: if it is seen moved, the in-flight word is seen.
    if position(shared(memory).load(Ordering::Acquire)) <= at {
        return RequestStatus::Waiting;
    }
    // Pairs with the release in `ConsumerGroup::release`: if the word is seen cleared, what the
    // server wrote before is seen: the outcome or the mark.
    let has = |entry: &SubscriberEntry| entry.cursor.load(Ordering::Acquire) == at;
    if let Some((id, _)) = consumers(memory).find(|&(id, entry)| has(entry) && is_alive(id)) {
        return RequestStatus::Held(id);
    }
    // After the in-flight words: a server writes its mark before it clears its word. A server that
    // leaves gives its deferred replies up first.
    match cell.deferred() {
        Some((entry, incarnation)) if is_server_alive(memory, entry, incarnation, is_alive) => {
            RequestStatus::Held(EntryId::Subscriber(entry))
        }
        _ => RequestStatus::Over(Over(at)),
    }
}

/// Returns true if the server with this entry and incarnation lives.
fn is_server_alive(
    memory: &RingMemory,
    entry: usize,
    incarnation: u64,
    is_alive: &dyn Fn(EntryId) -> bool,
) -> bool {
    // The entry comes from another process, so it may be out of range.
    entry < memory.subscribers().len()
        && self::incarnation(memory, entry) & MARKED == incarnation & MARKED
        && is_alive(EntryId::Subscriber(entry))
}

/// Bits of an incarnation in the mark of a deferred call.
const MARKED: u64 = u64::MAX >> 16;

/// Returns true if no server has taken the request at a position or is taking it. A server that
/// takes it later sees what the client stored before this call, if that store was sequentially
/// consistent.
pub(crate) fn is_untaken(memory: &RingMemory, at: u64, is_alive: &dyn Fn(EntryId) -> bool) -> bool {
    // In one order with the pins (`ConsumerGroup::try_take`): a pin that this load does not see
    // comes later.
    let word = shared(memory).load(Ordering::SeqCst);
    if position(word) < at || word == at {
        return true;
    }
    if word != at | PIN {
        return false;
    }
    // Pinned here, by a dead server or a living one. Pairs with the releases of in-flight words, as
    // in `consumer_group::unpin`: a later word comes with the shared cursor that was moved before.
    let has = |entry: &SubscriberEntry| {
        let own = entry.cursor.load(Ordering::Acquire);
        own != NOWHERE && position(own) == at
    };
    let is_tried = consumers(memory).any(|(id, entry)| has(entry) && is_alive(id));
    !is_tried && shared(memory).load(Ordering::SeqCst) == word
}

/// How many servers have used an entry.
pub(crate) fn incarnation(memory: &RingMemory, entry: usize) -> u64 {
    let entry = memory.subscribers().get(entry);
    entry.map_or(0, |entry| entry.consumer.incarnation())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_an_outcome_of_one_position() {
        for outcome in [Outcome::Short(0), Outcome::Short(48), Outcome::Long, Outcome::Refused] {
            for position in [0, 1, 1 << 47, 1 << 50 | 3] {
                let state = outcome.state(position);
                assert_eq!(Outcome::of(state, position), Some(outcome));
                assert_eq!(Outcome::of(state, position + 1), None);
            }
        }
        assert_eq!(Outcome::of(0, 0), None, "nothing yet");
        assert_eq!(Outcome::of(49 << 8 | 1, 0), None, "longer than a cell");
        assert_eq!(Outcome::of(4, 0), None, "an unknown kind");
    }
}
