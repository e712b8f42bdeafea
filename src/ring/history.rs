//! How far back a newcomer starts.
//!
//! A ring with history has `oldest`, a packet boundary below which slots may be overwritten.
//! Publishers move it up when they need room: to at most `kept` slots below the tail, and never
//! past a claim that is not committed. A newcomer starts there and walks forward until only
//! `history` packets are ahead.

use super::geometry::{Geometry, clamp};
use super::slot;
use crate::failpoint::{Failpoint, failpoint};
use crate::segment::view::RingMemory;
use crate::sync::Ordering;

/// Returns `oldest`, moved up if `needed` (the end of a claim at `tail`) requires it. In a ring
/// without history, a position that gates no publisher.
pub(crate) fn make_room(memory: &RingMemory, geometry: &Geometry, tail: u64, needed: u64) -> u64 {
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
pub(crate) fn start(memory: &RingMemory, geometry: &Geometry, from: u64, tail: u64) -> u64 {
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
