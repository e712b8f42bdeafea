//! Recovery from dead consumers: clears their pins and adopts their packets. The caller of every
//! function that stores holds the control lock.

use super::{ConsumerGroup, consumers, shared};
use crate::failpoint::{Failpoint, failpoint};
use crate::ring::cursor::{Adoption, Taken};
use crate::ring::gate::{self, PIN, position};
use crate::ring::geometry::clamp;
use crate::ring::membership::OnConsumerDeath;
use crate::ring::slot::{self, SlotState, StampedPosition};
use crate::segment::entry::EntryId;
use crate::segment::layout::{NOWHERE, SubscriberEntry};
use crate::segment::view::RingMemory;
use crate::sync::Ordering;

impl ConsumerGroup {
    /// Adopts a packet that a dead consumer had in flight, if nothing is in flight here. An invalid
    /// word of a dead consumer is cleared.
    pub(super) fn adopt_orphan(&mut self, is_alive: &dyn Fn(EntryId) -> bool) -> Adoption {
        if self.held.is_some() || self.on_consumer_death == OnConsumerDeath::Dropped {
            return Adoption::None;
        }
        // Pairs with the release that moved it: a word at or above it is not an owner's.
        let end = clamp(position(shared(&self.memory).load(Ordering::Acquire)));
        let Some((_, at)) = orphans(&self.memory, end, is_alive).next() else {
            return Adoption::None;
        };
        self.adopt_at(at, is_alive);
        match orphans(&self.memory, end, is_alive).next() {
            Some(_) => Adoption::MoreLeft,
            None => Adoption::Changed,
        }
    }

    /// Adopts the packet at a position, which dead consumers have in flight.
    fn adopt_at(&mut self, at: u64, is_alive: &dyn Fn(EntryId) -> bool) {
        let found =
            slot::inspect(&self.memory, &self.geometry, StampedPosition::at(&self.memory, at));
        if let SlotState::Packet(descriptor) = found {
            let own = &self.memory.subscribers()[self.entry].redelivery;
            // The highest count: a consumer that was killed while it adopted has a copy.
            let counts =
                dead_at(&self.memory, at, is_alive).map(|(_, entry)| entry.redelivery.of(at));
            let deliveries = counts.fold(own.of(at), u64::max);
            // Before the own in-flight word, by which another consumer finds the count.
            own.set(at, deliveries);
            failpoint(Failpoint::AdoptInFlight);
            // Pairs with the acquire in `gate::scan`, as every store to an in-flight word.
            self.own().store(at, Ordering::Release);
            failpoint(Failpoint::AdoptRestart);
            let taken = Taken { position: at, descriptor };
            (self.held, self.is_redelivered) = (Some(taken), true);
            gate::restart_scans(&self.memory);
        }
        // A word at which no packet lies was not stored by a consumer that keeps the protocol.
        for (_, entry) in dead_at(&self.memory, at, is_alive) {
            failpoint(Failpoint::AdoptClear);
            // Pairs with the acquire in `gate::scan`: a scan that sees it cleared sees the restart,
            // begins again, and sees this consumer's word.
            entry.cursor.store(NOWHERE, Ordering::Release);
        }
    }

    /// Adopts the packet that the predecessor of this consumer had in flight when it died, in the
    /// entry that this consumer took over. `is_alive` returns true for that entry.
    #[cfg(not(loom))]
    pub(super) fn adopt_own(&mut self, is_alive: &dyn Fn(EntryId) -> bool) {
        let at = clamp(position(self.own().load(Ordering::Acquire)));
        self.adopt_at(at, is_alive);
        if self.held.is_none() {
            self.own().store(NOWHERE, Ordering::Release);
        }
    }
}

/// An entry of a dead consumer with a packet in flight.
#[cfg(not(loom))]
pub(crate) fn orphaned_entry(
    memory: &RingMemory,
    is_alive: &dyn Fn(EntryId) -> bool,
) -> Option<EntryId> {
    let end = clamp(position(shared(memory).load(Ordering::Acquire)));
    orphans(memory, end, is_alive).next().map(|(entry_id, _)| entry_id)
}

/// Returns true if the shared cursor is pinned, by a consumer that takes a packet or that is dead.
#[cfg(not(loom))]
pub(crate) fn is_pinned(memory: &RingMemory) -> bool {
    // Relaxed: a pin that is missed is found by the next check.
    let word = shared(memory).load(Ordering::Relaxed);
    word != NOWHERE && word & PIN != 0
}

/// Clears the pin that a dead consumer left on the shared cursor. Returns true if it did.
pub(crate) fn unpin(memory: &RingMemory, is_alive: &dyn Fn(EntryId) -> bool) -> bool {
    let shared = shared(memory);
    failpoint(Failpoint::UnpinRead);
    // Pairs with the release of the pin: the word of the consumer that pinned it is seen.
    let word = shared.load(Ordering::Acquire);
    if word == NOWHERE || word & PIN == 0 {
        return false;
    }
    let at = position(word);
    failpoint(Failpoint::UnpinCheck);
    // Pairs with the releases of in-flight words: a later word of the owner comes with the shared
    // cursor that the owner moved before, which is read again below.
    let is_at = |entry: &SubscriberEntry| {
        let own = entry.cursor.load(Ordering::Acquire);
        own != NOWHERE && position(own) == at
    };
    if consumers(memory).any(|(id, entry)| is_at(entry) && is_alive(id)) {
        return false;
    }
    // A living owner may have moved on while its liveness was checked. It cannot have pinned
    // the cursor here again: only the holder of the control lock lowers it.
    if shared.load(Ordering::Acquire) != word {
        return false;
    }
    for (_, entry) in dead_at(memory, at, is_alive) {
        failpoint(Failpoint::Unpin);
        // Before the pin is cleared: no consumer owns this packet.
        entry.cursor.store(NOWHERE, Ordering::Release);
    }
    failpoint(Failpoint::Unpin);
    // Pairs with the acquires of the consumer that takes the packet, and of `gate::scan`.
    shared.store(at, Ordering::Release);
    true
}

/// Returns true if the entry's consumer, dead or alive, has a packet in flight.
pub(crate) fn has_in_flight(entry: &SubscriberEntry) -> bool {
    let own = entry.cursor.load(Ordering::Acquire);
    own & PIN == 0
}

/// The dead consumers that have a packet below `end` in flight, and its position.
fn orphans<'a>(
    memory: &'a RingMemory,
    end: u64,
    is_alive: &'a dyn Fn(EntryId) -> bool,
) -> impl Iterator<Item = (EntryId, u64)> {
    consumers(memory).filter_map(move |(id, entry)| {
        let own = entry.cursor.load(Ordering::Acquire);
        (own & PIN == 0 && own < end && !is_alive(id)).then_some((id, own))
    })
}

/// The dead consumers whose in-flight word is `at`.
fn dead_at<'a>(
    memory: &'a RingMemory,
    at: u64,
    is_alive: &'a dyn Fn(EntryId) -> bool,
) -> impl Iterator<Item = (EntryId, &'a SubscriberEntry)> {
    consumers(memory)
        .filter(move |&(id, entry)| entry.cursor.load(Ordering::Acquire) == at && !is_alive(id))
}

/// Clears the process of a consumer's entry, whose packet in flight stays for another consumer.
/// Reports of deaths then leave the entry out.
pub(super) fn disown(memory: &RingMemory, index: usize) {
    memory.subscribers()[index].details.owner.pid.store(0, Ordering::Relaxed);
}
