//! How far a publisher may claim.
//!
//! `limit = min(tail read first, oldest read first, every cursor, the start of every claim record)
//! + capacity`.
//!
//! Why each term is there:
//!
//! - **Cursors**: everything from a subscriber's cursor on may still be read.
//! - **Claim records**: cursors alone do not protect a claim in progress. If the last subscriber
//!   leaves while a publisher is stopped inside its claim, another would lap it, and the first
//!   would then write into the other's packet.
//! - **The tail, read before the scan**: a newcomer whose entry this scan missed will see at least
//!   this tail, and starts there. Because no limit is more than one capacity above a tail that was
//!   read before its scan, no claim can reach past the newcomer's start plus one capacity. So a
//!   ring without subscribers looks again once a lap, and no epoch or marker packet is needed.
//! - **The oldest packet kept, read before the scan**: the same, for a newcomer with history.
//!
//! The fence between the loads of tail and oldest and the scan pairs with the fence in
//! [`membership::join_subscriber`](super::membership::join_subscriber): of the two, one comes first.
//! Without it a newcomer is overrun (`ring::tests::loom`, and there
//! `loom_join_without_fence_is_overrun`).
//!
//! A subscriber that joins *beside another*, at that one's cursor, has no such value to start from:
//! a scan can pass its entry before it is there, and the other's after that one moved on. So such
//! joins are counted, and a scan under which the count changed is made again
//! (`loom_clone_and_move_on`).

use crate::failpoint::{Failpoint, failpoint};
use crate::segment::entry::EntryId;
use crate::segment::layout::NOWHERE;
use crate::segment::view::RingMemory;
use crate::sync::{Ordering, fence};

/// A packet from the cursor on is in a subscriber's hand.
pub(crate) const PIN: u64 = 1 << 63;

/// The position in a cursor word.
#[inline]
pub(crate) fn position(cursor: u64) -> u64 {
    cursor & !PIN
}

/// The lowest position that must not be overwritten, and who it belongs to; the tail and the
/// oldest packet belong to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gate {
    pub(crate) lowest: u64,
    pub(crate) endpoint: Option<EntryId>,
}

/// Finds the gate. `tail` and `oldest` were read before the call.
pub(crate) fn scan(memory: &RingMemory, tail: u64, oldest: u64) -> Gate {
    let clones = &memory.head().membership.clones;
    let mut cloned = clones.load(Ordering::Acquire);
    // Pairs with the fence in `membership::join_subscriber`.
    fence(Ordering::SeqCst);
    failpoint(Failpoint::GateScan);
    loop {
        let mut gate = Gate { lowest: tail.min(oldest), endpoint: None };
        scan_cursors(memory, &mut gate);
        scan_records(memory, tail, &mut gate);
        // A clone that was placed at an entry already passed is held back by nothing that this
        // scan saw, once the one beside which it was placed moved on.
        let now = clones.load(Ordering::Acquire);
        if now == cloned {
            return gate;
        }
        cloned = now;
    }
}

/// Makes scans that are under way begin again: they may have passed the entry that was just stored to.
pub(crate) fn restart_scans(memory: &RingMemory) {
    // Pairs with the acquires in `scan`: a scan that sees the count sees the entry.
    memory.head().membership.clones.fetch_add(1, Ordering::Release);
}

fn scan_cursors(memory: &RingMemory, gate: &mut Gate) {
    let used = memory.head().membership.subscribers.load(Ordering::Relaxed) as usize;
    for (index, entry) in memory.subscribers().iter().take(used).enumerate() {
        // Pairs with the release of the cursor: its owner is done with what lies below.
        let cursor = entry.cursor.load(Ordering::Acquire);
        if cursor != NOWHERE && position(cursor) < gate.lowest {
            *gate = Gate { lowest: position(cursor), endpoint: Some(EntryId::Subscriber(index)) };
        }
    }
}

fn scan_records(memory: &RingMemory, tail: u64, gate: &mut Gate) {
    let used = memory.head().membership.publishers.load(Ordering::Relaxed) as usize;
    for (index, entry) in memory.publishers().iter().take(used).enumerate() {
        // Pairs with the release that clears it: the claim's stamps come before.
        let start = entry.record.position.load(Ordering::Acquire);
        // A record more than a lap below the tail lost its race: its claim was never made, or
        // nobody could have passed it.
        let is_live = start != NOWHERE && start.saturating_add(memory.capacity()) >= tail;
        // Of a claim and who waits behind it, the claim is what holds back.
        if is_live && start <= gate.lowest {
            *gate = Gate { lowest: start, endpoint: Some(EntryId::Publisher(index)) };
        }
    }
}
