//! The claim of a publisher that died.
//!
//! It resolves a *dead entry's record*, never "a position", under the control lock. Walk x from
//! the record's start; at each x:
//!
//! 1. read the tail; x at the record's end, or at the tail: resolved, clear the record;
//! 2. stamped: go on behind that packet (and from here to 1 whenever a stamp is found; unless the
//!    tail, read again, is more than a lap above x: then the record is stale, clear it);
//! 3. read every record, then whether their owners live; a **living** one that covers x: stop, and
//!    come back later;
//! 4. look at the stamp **again**: only now is "not stamped" believed;
//! 5. read the tail **again**: more than a lap above x, the record is stale, clear it;
//! 6. write a void packet over `[x, E)`, header, then stamp, where E is the lowest of: the record's
//!    end, the tail, the start of any other record above x, the next matching stamp, the end of the
//!    ring's memory.
//!
//! Why in this order, with the trace that breaks each shortcut:
//!
//! - *The stamp before the records alone* (no 4): the owner is seen unstamped, stamps, clears its
//!   record, is not seen in the scan, and its committed packet is voided under a reader.
//! - *The record's length alone* (no E): two publishers name one position; the dead one lost with
//!   a length of two, and the void covers the living one's claim behind it.
//! - *Clearing a dead record when its entry is reused*: the reader at that position waits for
//!   ever.
//! - *A void over the end of the ring's memory*: the owner dies before it has stamped its padding,
//!   and one void packet over padding and packet wraps, which no reader believes
//!   (`channel::tests::kill`, step `CommitPadding`).
//! - *No second look at the tail* (no 5): a record that lost its race a lap ago is voided over
//!   packets of this lap.
//!
//! The recoverer may die at any step: the record is cleared last, so the next one begins again
//! and finds the void packets stamped. Two dead entries that name one position are resolved one
//! after the other; each stops where the other's claim begins.

use super::geometry::Geometry;
use super::slot::{self, Descriptor, SlotState, StampedPosition};
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::entry::EntryId;
use crate::segment::layout::{FARTHEST, NOWHERE};
use crate::segment::view::RingMemory;
use crate::sync::{Ordering, fence};

/// What became of a dead entry's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovered {
    /// It is clear: the entry may be reused.
    Cleared,
    /// A living publisher's claim covers the position: it is that one's to commit.
    Blocked,
}

/// Resolves the record of the dead publisher entry `dead`. Under the control lock, over memory
/// whose slots can be written. `is_alive` is asked about other publishers only.
pub(crate) fn recover(
    memory: &RingMemory,
    geometry: &Geometry,
    dead: usize,
    is_alive: &dyn Fn(EntryId) -> bool,
) -> Recovered {
    let record = &memory.publishers()[dead].record;
    let start = record.position.load(Ordering::Acquire);
    let len = record.len.load(Ordering::Relaxed);
    // A claim is shorter than the ring. A length that is not was not written by a claim.
    if start <= FARTHEST && len < geometry.capacity {
        let end = start.saturating_add(len);
        let mut position = start;
        while position < end {
            match resolve(memory, geometry, dead, position, end, is_alive) {
                Resolved::Upto(next) => position = next,
                Resolved::Nothing => break,
                Resolved::Living => return Recovered::Blocked,
            }
        }
    }
    failpoint(Failpoint::RecoverClear);
    // Pairs with the acquire in `gate::scan`: who sees it clear sees the void packets.
    record.position.store(NOWHERE, Ordering::Release);
    Recovered::Cleared
}

enum Resolved {
    /// Committed up to here.
    Upto(u64),
    /// Nothing is claimed at the position, or the record is stale.
    Nothing,
    /// A living claim covers it.
    Living,
}

fn resolve(
    memory: &RingMemory,
    geometry: &Geometry,
    dead: usize,
    x: u64,
    end: u64,
    is_alive: &dyn Fn(EntryId) -> bool,
) -> Resolved {
    failpoint(Failpoint::RecoverTail);
    let tail = memory.head().tail.load(Ordering::Acquire);
    if x >= tail {
        return Resolved::Nothing;
    }
    if let Some(resolved) = committed(memory, geometry, x) {
        return resolved;
    }
    failpoint(Failpoint::RecoverScan);
    let Some(bound) = bound(memory, dead, x, end.min(tail), is_alive) else {
        return Resolved::Living;
    };
    failpoint(Failpoint::RecoverLook);
    if let Some(resolved) = committed(memory, geometry, x) {
        return resolved;
    }
    if memory.head().tail.load(Ordering::Acquire) > x.saturating_add(geometry.capacity) {
        return Resolved::Nothing;
    }
    let bound = bound.min(geometry.piece_end(x));
    let spot = StampedPosition::at(memory, x);
    let is_stamped = |&y: &u64| slot::is_stamped(memory, spot.to(memory, y));
    let stop = (x + 1..bound).find(is_stamped).unwrap_or(bound);
    failpoint(Failpoint::RecoverHeader);
    slot::commit(memory, spot, Descriptor::void(stop - x), Failpoint::RecoverStamp);
    Resolved::Upto(stop)
}

/// What a stamp at `x` says; `None`: there is none.
fn committed(memory: &RingMemory, geometry: &Geometry, x: u64) -> Option<Resolved> {
    match slot::inspect(memory, geometry, StampedPosition::at(memory, x)) {
        SlotState::Unstamped => None,
        // Not a header that any publisher wrote: it cannot be walked over.
        SlotState::Corrupt => Some(Resolved::Nothing),
        SlotState::Packet(descriptor) => {
            // A stale record protects nothing: the header may be the next lap's.
            fence(Ordering::Acquire);
            let tail = memory.head().tail.load(Ordering::Acquire);
            let is_stale = tail > x.saturating_add(geometry.capacity);
            let next = x + descriptor.span();
            Some(if is_stale { Resolved::Nothing } else { Resolved::Upto(next) })
        }
    }
}

/// The lowest start of another record above `x`, `end` at most; `None`: a living one covers `x`.
fn bound(
    memory: &RingMemory,
    dead: usize,
    x: u64,
    end: u64,
    is_alive: &dyn Fn(EntryId) -> bool,
) -> Option<u64> {
    let mut bound = end;
    let used = memory.head().membership.publishers.load(Ordering::Relaxed) as usize;
    for (index, entry) in memory.publishers().iter().take(used).enumerate() {
        // Position before length, each pairing with the claim's stores in the other order.
        let start = entry.record.position.load(Ordering::Acquire);
        // Acquire: if it is a later claim's, the stamps of the claim at `start` are seen.
        let len = entry.record.len.load(Ordering::Acquire);
        if index == dead || start == NOWHERE {
            continue;
        }
        let covers = start <= x && x < start.saturating_add(len);
        if covers && is_alive(EntryId::Publisher(index)) {
            return None;
        }
        if start > x {
            bound = bound.min(start);
        }
    }
    Some(bound)
}
