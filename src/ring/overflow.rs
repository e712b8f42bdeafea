//! `DropOldest`: moving a slow subscriber's cursor.
//!
//! ```text
//!  subscriber                                   evictor
//!  ──────────                                   ───────
//!  sees the stamp at its cursor c               reads c; not pinned
//!  CAS c → c|PIN, then hands the packet out     walks stamped packets from c to x
//!  …                                            begun += packets
//!  stores c', which unpins                      CAS c → x; then counted += packets
//! ```
//!
//! One of the two compare-and-swaps wins, so a packet in hand is never taken, and what was taken
//! is never handed out. The walk may read slots that another evictor's publisher is rewriting:
//! then the cursor has moved, and the compare-and-swap fails.
//!
//! What `begun` and `counted` tell the subscriber: [`missed`](super::missed).
//!
//! The pin of a dead subscriber is voided by [`membership`](super::membership) under the control lock,
//! never here: a successor that pins the same word could be overrun.

use super::gate::{PIN, position};
use super::geometry::Geometry;
use super::slot;
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::layout::{NOWHERE, SubscriberEntry};
use crate::segment::view::RingMemory;
use crate::sync::Ordering;

/// Moves every cursor below `target` up to the first packet boundary at or above it, as far as
/// pins and open claims allow. Finding out how far that was is the caller's next scan.
pub(crate) fn make_room(memory: &RingMemory, geometry: &Geometry, target: u64) {
    let used = memory.head().membership.subscribers.load(Ordering::Relaxed) as usize;
    for entry in memory.subscribers().iter().take(used) {
        while evict(memory, geometry, entry, target) == Outcome::Raced {}
    }
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Settled,
    Raced,
}

fn evict(
    memory: &RingMemory,
    geometry: &Geometry,
    entry: &SubscriberEntry,
    target: u64,
) -> Outcome {
    // Pairs with the releases of the cursor in `reader` and here.
    let cursor = entry.cursor.load(Ordering::Acquire);
    if cursor == NOWHERE || cursor & PIN != 0 || position(cursor) >= target {
        return Outcome::Settled;
    }
    failpoint(Failpoint::EvictWalk);
    let (boundary, packets) = slot::scan_committed(memory, geometry, cursor, target);
    if boundary == cursor {
        return Outcome::Settled;
    }
    let details = &entry.details;
    details.evictions_begun.fetch_add(packets, Ordering::Relaxed);
    failpoint(Failpoint::EvictMove);
    // Release: who sees the cursor moved sees the eviction begun. Acquire: what the subscriber
    // did with the slots comes before what the publisher will.
    let moved =
        entry.cursor.compare_exchange(cursor, boundary, Ordering::AcqRel, Ordering::Relaxed);
    failpoint(Failpoint::EvictCount);
    if moved.is_err() {
        details.evictions_begun.fetch_sub(packets, Ordering::Relaxed);
        return Outcome::Raced;
    }
    // Pairs with the acquire in `missed::evictions`.
    details.evictions_counted.fetch_add(packets, Ordering::Release);
    Outcome::Settled
}
