//! How far a publisher may claim.
//!
//! ```text
//!  limit = capacity + min(tail and oldest, both read before the scan,
//!                         every cursor, the start of every claim record)
//! ```
//!
//! Why each term is there:
//!
//! - **Cursors**: a subscriber may still read everything from its cursor on.
//! - **Claim records**: cursors alone do not protect a claim in progress. If the last subscriber
//!   leaves while a publisher is stopped inside its claim, another one would lap it. The stopped
//!   publisher would then write into the other's packet.
//! - **The tail, read before the scan**: a newcomer whose entry the scan missed sees at least this
//!   tail, and starts there. No limit is more than one capacity above a tail that was read before
//!   its scan, so no claim reaches past the newcomer's start plus one capacity. A ring without
//!   subscribers is scanned once a lap, and needs no epochs.
//! - **The oldest packet kept, read before the scan**: the same, for a newcomer with history.
//!
//! The fence between these two loads and the scan pairs with the fence in
//! [`membership::join_subscriber`](super::membership::join_subscriber): one of the two comes first.
//! Without it a newcomer is overrun (`loom_join_without_fence_is_overrun`).
//!
//! A subscriber that joins *beside another one*, at its cursor, has no such value to start from. A
//! scan can pass the new entry before the cursor is there, and the other entry after its cursor
//! moved on. So such joins [restart scans](restart_scans) that are under way
//! (`loom_clone_and_move_on`).
//!
//! # History
//!
//! A ring with history has `oldest`, a packet boundary below which slots may be overwritten.
//! Publishers move it up when they need room: to at most `kept` slots below the tail, and never
//! past a claim that is not committed. A newcomer starts there and scans forward until only
//! `history` packets are ahead.

use super::geometry::{Geometry, clamp};
use super::slot;
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::entry::EntryId;
use crate::segment::layout::NOWHERE;
use crate::segment::view::RingMemory;
use crate::sync::{Ordering, fence};

/// Bit of a cursor: a packet from the cursor on is in flight, and evictors must not move the
/// cursor.
pub(crate) const PIN: u64 = 1 << 63;

/// The position in a cursor word.
#[inline]
pub(crate) fn position(cursor: u64) -> u64 {
    cursor & !PIN
}

/// The lowest position that must not be overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gate {
    pub(crate) lowest: u64,
    /// The owner of the cursor or claim at `lowest`. `None`: it is the tail or the oldest packet.
    pub(crate) holder: Option<EntryId>,
}

/// Computes the gate. `tail` and `oldest` were read before the call.
pub(crate) fn scan(memory: &RingMemory, tail: u64, oldest: u64) -> Gate {
    let restarts = &memory.head().membership.clones;
    // Both loads pair with the release in `restart_scans`.
    let mut before = restarts.load(Ordering::Acquire);
    // Pairs with the fence in `membership::join_subscriber`.
    fence(Ordering::SeqCst);
    failpoint(Failpoint::GateScan);
    loop {
        let mut gate = Gate { lowest: tail.min(oldest), holder: None };
        scan_cursors(memory, &mut gate);
        scan_records(memory, tail, &mut gate);
        let now = restarts.load(Ordering::Acquire);
        if now == before {
            return gate;
        }
        before = now;
    }
}

/// Makes scans that are under way begin again. They may have passed an entry before it was stored
/// to, and reach another one after its cursor moved on.
pub(crate) fn restart_scans(memory: &RingMemory) {
    // Pairs with the acquires in `scan`: if the count is seen, the entry is seen.
    memory.head().membership.clones.fetch_add(1, Ordering::Release);
}

fn scan_cursors(memory: &RingMemory, gate: &mut Gate) {
    let used = memory.head().membership.subscribers.load(Ordering::Relaxed) as usize;
    for (index, entry) in memory.subscribers().iter().take(used).enumerate() {
        // Pairs with the release of the cursor: its owner has finished reading what lies below.
        let cursor = entry.cursor.load(Ordering::Acquire);
        if cursor != NOWHERE && position(cursor) < gate.lowest {
            *gate = Gate { lowest: position(cursor), holder: Some(EntryId::Subscriber(index)) };
        }
    }
}

fn scan_records(memory: &RingMemory, tail: u64, gate: &mut Gate) {
    let used = memory.head().membership.publishers.load(Ordering::Relaxed) as usize;
    for (index, entry) in memory.publishers().iter().take(used).enumerate() {
        // Pairs with the release that clears it: the claim's stamps come before.
        let start = entry.record.position.load(Ordering::Acquire);
        // If a claim and a cursor tie, the claim is reported as the blocker.
        if is_live_record(memory, start, tail) && start <= gate.lowest {
            *gate = Gate { lowest: start, holder: Some(EntryId::Publisher(index)) };
        }
    }
}

/// Returns true if a claim record that starts there gates publishers.
pub(super) fn is_live_record(memory: &RingMemory, start: u64, tail: u64) -> bool {
    // A record more than a lap below the tail lost its race: otherwise its own claim would have
    // gated the tail.
    start != NOWHERE && start.saturating_add(memory.capacity()) >= tail
}

/// Returns `oldest`, moved up if `needed` (the end of a claim at `tail`) requires it. In a ring
/// without history, a position that gates no publisher.
pub(crate) fn make_history_room(
    memory: &RingMemory,
    geometry: &Geometry,
    tail: u64,
    needed: u64,
) -> u64 {
    if geometry.history == 0 {
        return u64::MAX;
    }
    // Pairs with the release half of the move below, by any publisher.
    let oldest = clamp(memory.head().oldest.load(Ordering::Acquire));
    if needed <= oldest + geometry.capacity {
        return oldest;
    }
    let target = tail.saturating_sub(geometry.kept);
    let (boundary, _) = slot::scan_committed(memory, geometry, oldest, target);
    failpoint(Failpoint::HistoryMove);
    // By compare-and-swap: what the scan read counts only if no other publisher has moved `oldest`
    // meanwhile, which allows these slots to be overwritten.
    let moved = memory.head().oldest.compare_exchange(
        oldest,
        boundary,
        Ordering::AcqRel,
        Ordering::Acquire,
    );
    moved.map_or_else(|now| now, |_| boundary)
}

/// The boundary with `geometry.history` packets between it and the end of the committed packets, or
/// `from` if there are fewer. The caller's cursor gates `from`.
pub(crate) fn history_start(memory: &RingMemory, geometry: &Geometry, from: u64, tail: u64) -> u64 {
    let (end, packets) = slot::scan_committed(memory, geometry, from, tail);
    let mut skip = packets.saturating_sub(geometry.history);
    let mut position = from;
    while skip > 0 && position < end {
        let (next, data) = slot::scan_committed(memory, geometry, position, position + 1);
        if next == position {
            break;
        }
        position = next;
        skip -= data;
    }
    position
}
