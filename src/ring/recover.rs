//! The claim of a publisher that died becomes void packets.
//!
//! The caller holds the control lock. Recovery resolves the *record of a dead entry*, never "a
//! position". It moves x upwards from the record's start. At each x:
//!
//! 1. Read the tail. If x is at the record's end or at the tail, clear the record: done.
//! 2. If x is stamped, go on behind that packet, at step 1. This holds for every later step that
//!    finds a stamp. But if the tail, read again, is more than a lap above x, the record is stale:
//!    clear it.
//! 3. Read every record, then check whether its owner lives. If the record of a **living** owner
//!    covers x, stop: a later recovery continues here.
//! 4. Read the stamp **again**. Only if x is still not stamped, continue.
//! 5. Read the tail **again**. If it is more than a lap above x, the record is stale: clear it.
//! 6. Write a void packet over `[x, E)`: header, then stamp. E is the lowest of the record's end,
//!    the tail, the start of any other record above x, the next stamp, and the end of the ring's
//!    memory. If a record that covers x is that of a [batch](super::claim), E is the end of the
//!    batch instead: its first packet is stamped last, and the others are void with it.
//!
//! Why in this order, with the trace that breaks each shortcut:
//!
//! - *Without step 4*: the owner of x is seen unstamped. It stamps, clears its record, and the scan
//!   does not see it. Its committed packet is voided under a reader.
//! - *The record's length instead of E*: two publishers have a record at one position. The dead one
//!   lost with a length of two, and its void packet covers the living one's next claim.
//! - *Clearing a dead record when its entry is reused*: the reader at that position waits forever.
//! - *A void packet over the end of the memory*: the owner dies before it stamps its padding. A
//!   void packet over padding and packet wraps, and readers reject it
//!   (`failpoint::tests::dead_claims`, at `CommitPadding`).
//! - *The next stamp within a batch*: its first packet becomes void, and readers get the others.
//! - *Batches of the own record only*: the dead record of a lost race is resolved first, at that
//!   position. It voids the first packet and uncovers the others.
//! - *Without step 5*: a record that lost its race a lap ago is voided over packets of this lap.
//!
//! The recoverer may die at any step. The record is cleared last, so the next recoverer begins
//! again and finds the void packets stamped. Two dead entries with records at one position are
//! resolved one after the other. Each stops where the other's claim begins.

use super::geometry::Geometry;
use super::slot::{self, Descriptor, SlotState, StampedPosition};
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::entry::EntryId;
use crate::segment::layout::{FARTHEST, NOWHERE};
use crate::segment::view::RingMemory;
use crate::sync::{Ordering, fence};

/// Result of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovered {
    /// The record is clear: the entry may be reused.
    Cleared,
    /// A living publisher's claim covers the position, and that publisher will commit it.
    Blocked,
}

/// The void packets that a recovery wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Voided {
    pub(crate) packets: u64,
    pub(crate) slots: u64,
}

/// Resolves the record of the dead publisher entry `dead`, and adds what it voids to `voided`. The
/// caller holds the control lock, and slots of `memory` can be written. `is_alive` is called for
/// other publishers only.
pub(crate) fn recover(
    memory: &RingMemory,
    geometry: &Geometry,
    dead: usize,
    is_alive: &dyn Fn(EntryId) -> bool,
    voided: &mut Voided,
) -> Recovered {
    let record = &memory.publishers()[dead].record;
    // Pairs with the release in `Writer::try_claim`: this length or a later one is seen.
    let start = record.position.load(Ordering::Acquire);
    let len = record.len.load(Ordering::Relaxed);
    // A claim is shorter than the ring: another length is not that of a claim.
    if start <= FARTHEST && len < geometry.capacity {
        let end = start.saturating_add(len);
        let mut position = start;
        while position < end {
            match resolve(memory, geometry, dead, position, end, is_alive) {
                Resolved::Upto(next) => position = next,
                Resolved::Voided(next) => {
                    voided.packets += 1;
                    voided.slots += next - position;
                    position = next;
                }
                Resolved::Nothing => break,
                Resolved::Living => return Recovered::Blocked,
            }
        }
    }
    failpoint(Failpoint::RecoverClear);
    // Pairs with the acquire in `gate::scan`: the void packets are seen.
    record.position.store(NOWHERE, Ordering::Release);
    Recovered::Cleared
}

enum Resolved {
    /// Everything is committed up to here.
    Upto(u64),
    /// A void packet was written up to here.
    Voided(u64),
    /// Nothing is claimed at the position, or the record is stale.
    Nothing,
    /// A living publisher's claim covers the position.
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
    // Pairs with the releases of the tail, as the loads below: records of claims below it are seen.
    let tail = memory.head().tail.load(Ordering::Acquire);
    if x >= tail {
        return Resolved::Nothing;
    }
    if let Some(resolved) = committed(memory, geometry, x) {
        return resolved;
    }
    failpoint(Failpoint::RecoverScan);
    let Some(bound) = bound(memory, geometry, dead, x, end.min(tail), is_alive) else {
        return Resolved::Living;
    };
    failpoint(Failpoint::RecoverLook);
    if let Some(resolved) = committed(memory, geometry, x) {
        return resolved;
    }
    if memory.head().tail.load(Ordering::Acquire) > x.saturating_add(geometry.capacity) {
        return Resolved::Nothing;
    }
    let at = StampedPosition::at(memory, x);
    let is_stamped = |&y: &u64| slot::is_stamped(memory, at.to(memory, y));
    let stop = match bound {
        Bound::Batch(end) => {
            let end = end.min(tail).min(geometry.piece_end(x));
            // An observer that was overrun takes a stamp without a record for a packet.
            slot::erase_stamps(memory, x, end);
            end
        }
        Bound::Claim(end) => {
            let end = end.min(geometry.piece_end(x));
            (x + 1..end).find(is_stamped).unwrap_or(end)
        }
    };
    // Pairs with the fence in `PassiveReader::copy`: an observer that copied a word of the void
    // packet sees the limit of the dead publisher, which this process saw with the tail.
    fence(Ordering::Release);
    failpoint(Failpoint::RecoverHeader);
    slot::commit(memory, at, Descriptor::void(stop - x), Failpoint::RecoverStamp);
    Resolved::Voided(stop)
}

/// Interprets the stamp at `x`. `None`: there is none.
fn committed(memory: &RingMemory, geometry: &Geometry, x: u64) -> Option<Resolved> {
    match slot::inspect(memory, geometry, StampedPosition::at(memory, x)) {
        SlotState::Unstamped => None,
        // No publisher wrote this header, so there is no next position.
        SlotState::Corrupt => Some(Resolved::Nothing),
        SlotState::Packet(descriptor) => {
            // A stale record gates nothing, so the header may be the next lap's. The fence orders
            // its load before that of the tail. Pairs with the releases of the tail.
            fence(Ordering::Acquire);
            let tail = memory.head().tail.load(Ordering::Acquire);
            let is_stale = tail > x.saturating_add(geometry.capacity);
            let next = x + descriptor.span();
            Some(if is_stale { Resolved::Nothing } else { Resolved::Upto(next) })
        }
    }
}

/// How far a void packet may reach.
enum Bound {
    /// To the next stamp, and not beyond this position.
    Claim(u64),
    /// To the end of a batch, whose first packet is not stamped.
    Batch(u64),
}

/// The end of the batch of a dead publisher that covers `x`. Otherwise the lowest start of another
/// record above `x`, at most `end`. `None`: a living publisher's record covers `x`.
fn bound(
    memory: &RingMemory,
    geometry: &Geometry,
    dead: usize,
    x: u64,
    end: u64,
    is_alive: &dyn Fn(EntryId) -> bool,
) -> Option<Bound> {
    let (mut bound, mut batch) = (end, None);
    let used = memory.head().membership.publishers.load(Ordering::Relaxed) as usize;
    for (index, entry) in memory.publishers().iter().take(used).enumerate() {
        // Position before length. Both pair with the stores of a claim, which are in the other
        // order.
        let start = entry.record.position.load(Ordering::Acquire);
        // Acquire: if the length is a later claim's, the stamps of the claim at `start` are seen.
        let len = entry.record.len.load(Ordering::Acquire);
        if start == NOWHERE {
            continue;
        }
        let end = start.saturating_add(len);
        let covers = start <= x && x < end;
        if covers && index != dead && is_alive(EntryId::Publisher(index)) {
            return None;
        }
        // The words of a dead owner: they do not change any more.
        let is_batch = entry.record.batch_end.load(Ordering::Relaxed) == end;
        if covers && is_batch && len < geometry.capacity {
            batch = Some(Bound::Batch(end));
        }
        if start > x && index != dead {
            bound = bound.min(start);
        }
    }
    Some(batch.unwrap_or(Bound::Claim(bound)))
}
