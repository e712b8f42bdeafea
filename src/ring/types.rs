//! The packet types that a ring needs: those that its endpoints use, and those of the packets that
//! a reader may still get. The entry of any other type may be given to a new type.
//!
//! The caller holds the control lock. Why each term is there:
//!
//! - **Uses of endpoints**: a publisher keeps the index of its type and may commit a packet by it
//!   at any time. A typed subscriber takes every packet with its index for its own type. A use is
//!   recorded in the entry under the lock that the type was found under, so there is no instant at
//!   which an endpoint has an index without a use. It ends when the entry is freed. The entry of a
//!   durable subscriber that is away still counts.
//! - **Packets**: their publishers may have left. They begin at the gate, so cursors of those that
//!   are away count, and packets in flight, and the oldest packet that a newcomer may start at.
//! - **Behind an open claim**: packets of other publishers are committed there. So the scan goes on
//!   behind it.
//! - **Behind the tail**: an exclusive publisher may have died between the stamp of a packet and
//!   the tail. Its successor makes that packet part of the ring.
//!
//! A packet that is committed during the scan is that of a living publisher, whose uses were read.
//!
//! Readers go on during the scan, so publishers may overwrite slots that it has not reached yet.
//! Then it reads a stamp and a descriptor that do not belong together, and a length that means
//! nothing. So it visits each slot, whatever the headers say: a packet that a reader may still get
//! is found at its own slot. A slot inside a packet is never stamped for its own lap
//! (`ring::slot`). A wrong type keeps one entry until the next scan.

use super::gate;
use super::geometry::{Geometry, clamp};
use super::membership::is_free;
use super::slot::{self, Kind, SlotState, StampedPosition};
use crate::segment::entry::EntryId;
use crate::segment::layout::MAX_TYPES;
use crate::segment::settings::Settings;
use crate::segment::view::RingMemory;
use crate::sync::{AtomicU64, Ordering, fence};

/// The types that an entry uses, one bit for each index.
fn uses_of(memory: &RingMemory, entry_id: EntryId) -> Option<&AtomicU64> {
    match entry_id {
        EntryId::Publisher(index) => Some(&memory.publishers().get(index)?.details.types),
        EntryId::Subscriber(index) => Some(&memory.subscribers().get(index)?.details.types),
        EntryId::WorkerSlot(_) => None,
    }
}

/// Stores which types the owner of an entry uses: before the entry is taken.
pub(crate) fn set_uses(memory: &RingMemory, entry_id: EntryId, types: u64) {
    if let Some(uses) = uses_of(memory, entry_id) {
        uses.store(types, Ordering::Relaxed);
    }
}

/// Adds to the types that the owner of an entry uses: before it uses them.
pub(crate) fn add_uses(memory: &RingMemory, entry_id: EntryId, types: u64) {
    if let Some(uses) = uses_of(memory, entry_id) {
        uses.fetch_or(types, Ordering::Relaxed);
    }
}

/// The types that endpoints use, all but one of them, and those that the ring is restricted to.
pub(crate) fn used(memory: &RingMemory, except: Option<EntryId>) -> u64 {
    let publishers = memory.publishers().iter().enumerate().map(|(index, entry)| {
        (EntryId::Publisher(index), &entry.details.owner, &entry.details.types)
    });
    let subscribers = memory.subscribers().iter().enumerate().map(|(index, entry)| {
        (EntryId::Subscriber(index), &entry.details.owner, &entry.details.types)
    });
    let accepted = memory.head().membership.accepted.load(Ordering::Relaxed);
    publishers
        .chain(subscribers)
        .filter(|&(entry_id, owner, _)| !is_free(owner) && Some(entry_id) != except)
        .fold(accepted, |bits, (_, _, types)| bits | types.load(Ordering::Relaxed))
}

/// The types of all packets that a reader may still get. Reads the header words of each slot.
pub(crate) fn carried(memory: &RingMemory, settings: &Settings) -> u64 {
    let (geometry, head) = (Geometry::of(settings), memory.head());
    // Pairs with the releases of the tail: packets below are seen.
    let tail = clamp(head.tail.load(Ordering::Acquire));
    let first = first_of_newcomer(memory, &geometry, tail);
    let lowest = gate::scan(memory, tail, first).lowest.max(tail.saturating_sub(geometry.capacity));
    let (mut types, mut at) = (0, StampedPosition::at(memory, lowest));
    while at.position < tail + geometry.capacity {
        match slot::inspect(memory, &geometry, at) {
            SlotState::Packet(descriptor) => {
                if descriptor.kind() == Kind::Data
                    && usize::from(descriptor.type_index()) < MAX_TYPES
                {
                    types |= 1 << descriptor.type_index();
                }
            }
            // Behind the tail lies one packet at most, or a batch, whose packets have one type.
            SlotState::Unstamped | SlotState::Corrupt if at.position >= tail => break,
            SlotState::Unstamped | SlotState::Corrupt => {}
        }
        at.go(memory, at.position + 1);
    }
    types
}

/// The first packet that a newcomer gets. In a ring without history, a position behind the tail.
fn first_of_newcomer(memory: &RingMemory, geometry: &Geometry, tail: u64) -> u64 {
    if geometry.history == 0 {
        return u64::MAX;
    }
    let oldest = &memory.head().oldest;
    // Pairs with the release half of its move, by any publisher.
    let from = clamp(oldest.load(Ordering::Acquire));
    let start = gate::history_start(memory, geometry, from, tail);
    // A store over a packet of the scan comes behind a move of the oldest packet. Then the scan
    // counts nothing.
    fence(Ordering::Acquire);
    if oldest.load(Ordering::Relaxed) == from { start } else { from }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::ring::slot::Descriptor;
    use crate::ring::tests::boxes::Boxes;
    use crate::segment::settings::{Claims, Overflow};

    #[test]
    fn a_slot_that_is_overwritten_during_the_scan_hides_no_packet() {
        for claims in [Claims::Exclusive, Claims::Shared] {
            let ring = Boxes::new(16, claims, Overflow::Block);
            let (memory, _reader) = (ring.memory(), ring.reader(0));
            let mut writer = ring.writer(0);
            for type_index in [1, 2, 3] {
                writer.claim(2).unwrap();
                writer.commit(Descriptor::data(100, type_index));
            }
            assert_eq!(carried(&memory, &ring.settings), 0b1110);
            // The first slot as the scan may read it: the stamp of a packet that was released, and
            // payload of the next one. As a length it would lead behind all packets.
            let payload = Descriptor::data(16 * 64 - 16, 1);
            slot::commit(
                &memory,
                StampedPosition::at(&memory, 0),
                payload,
                crate::failpoint::Failpoint::CommitStamp,
            );
            assert_eq!(carried(&memory, &ring.settings), 0b1110);
        }
    }
}
