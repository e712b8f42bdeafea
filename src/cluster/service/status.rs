//! The status of a request, as seen in the ring of a service's requests.
//!
//! A server has a request in flight until it has sent the reply, or the reason why there is none. A
//! request that it postpones stays in its entry's range of postponed positions instead. So a client
//! that sees neither looks for the message once more, and then knows that the request is lost.
//!
//! ```text
//!  waiting ──take──► in flight ──message sent──► over
//!                       └──range stored──► postponed ──message sent, range lowered──► over
//! ```

use crate::channel::{
    EntryId, NOWHERE, PIN, RingMemory, SubscriberEntry, consumers, position, shared,
};
use crate::sync::Ordering;

/// The status of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestStatus {
    /// No server has taken it.
    Waiting,
    /// This living server has it in flight.
    InFlight(EntryId),
    /// No living server has it in flight any more.
    Over,
}

/// The status of the request that was published at a position.
pub(crate) fn of_request(
    memory: &RingMemory,
    at: u64,
    is_alive: &dyn Fn(EntryId) -> bool,
) -> RequestStatus {
    // Pairs with the release that moves it: if it is seen moved, the in-flight word is seen.
    if position(shared(memory).load(Ordering::Acquire)) <= at {
        return RequestStatus::Waiting;
    }
    // Pairs with the release in `ConsumerGroup::release`: if the word is seen cleared, what the
    // server sent before is seen.
    let has = |entry: &SubscriberEntry| entry.cursor.load(Ordering::Acquire) == at;
    let owner = consumers(memory).find(|&(id, entry)| has(entry) && is_alive(id));
    owner.map_or(RequestStatus::Over, |(id, _)| RequestStatus::InFlight(id))
}

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

/// Stores the range of positions that the server of an entry has postponed. Before it releases such
/// a request, and until what became of the request was sent.
pub(crate) fn set_postponed(memory: &RingMemory, entry: usize, range: Option<(u64, u64)>) {
    memory.subscribers()[entry].consumer.set_postponed(range);
}

/// Returns true if a living server may have postponed a request that no server has in flight.
pub(crate) fn is_postponed(
    memory: &RingMemory,
    at: u64,
    is_alive: &dyn Fn(EntryId) -> bool,
) -> bool {
    let has = |entry: &SubscriberEntry| entry.consumer.may_have_postponed(at);
    consumers(memory).any(|(id, entry)| has(entry) && is_alive(id))
}

/// How many servers have used an entry.
pub(crate) fn incarnation(memory: &RingMemory, entry: usize) -> u64 {
    let entry = memory.subscribers().get(entry);
    entry.map_or(0, |entry| entry.consumer.incarnation())
}
