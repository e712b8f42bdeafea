//! The status of a request, as its caller sees it in the request ring and in its cell.
//!
//! A server has a request in hand until it has written the outcome. So a caller that sees neither
//! looks at the cell once more, and then knows that the request is lost.
//!
//! ```text
//!  waiting ──take──► in hand ──outcome written──► over
//!                       └──mark written──► deferred ──outcome written──► over
//! ```

use super::Over;
use super::cells::SentCell;
use crate::ring::consumer_group::{consumers, shared};
use crate::ring::gate::{PIN, position};
use crate::segment::entry::EntryId;
use crate::segment::layout::{NOWHERE, SubscriberEntry};
use crate::segment::view::RingMemory;
use crate::sync::Ordering;

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
pub(crate) fn of_call(
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
