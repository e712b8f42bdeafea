//! Void packets at the shared cursor: no consumer needs to have one in flight, so the cursor moves
//! over them by one compare-and-swap.

use super::{ConsumerGroup, shared};
#[cfg(not(loom))]
use crate::ring::claim::{record_probe, time_of_probe};
#[cfg(not(loom))]
use crate::ring::geometry::Geometry;
use crate::ring::slot::Descriptor;
#[cfg(not(loom))]
use crate::ring::slot::{self, Kind, SlotState, StampedPosition};
#[cfg(not(loom))]
use crate::segment::layout::FARTHEST;
#[cfg(not(loom))]
use crate::segment::view::RingMemory;
use crate::sync::Ordering;

impl ConsumerGroup {
    /// Moves the shared cursor over a void packet. The consumer that moves it over a probe records
    /// the latency.
    #[cold]
    #[inline(never)]
    pub(super) fn skip(&self, at: u64, descriptor: Descriptor) {
        #[cfg(not(loom))]
        let time = (descriptor == Descriptor::PROBE).then(|| time_of_probe(&self.memory, at));
        // Acquire and release: a consumer that sees the cursor moved sees the in-flight words below
        // it, as this consumer saw them. A failure means that another consumer skipped the packet.
        let shared = shared(&self.memory);
        let end = at + descriptor.span();
        let moved = shared.compare_exchange(at, end, Ordering::AcqRel, Ordering::Relaxed);
        // While the cursor stood still, it gated the probe. Otherwise its words may be another
        // lap's.
        #[cfg(not(loom))]
        if let (Ok(_), Some(time)) = (moved, time) {
            record_probe(&self.memory, self.entry, time);
        }
        #[cfg(loom)]
        let _ = moved;
    }
}

/// Moves the shared cursor over the void packets at it. A pinned cursor stays. Ends within a lap,
/// because each slot is stamped for one lap.
#[cfg(not(loom))]
pub(crate) fn skip_voids(memory: &RingMemory, geometry: &Geometry) {
    // As in `ConsumerGroup::next` and `ConsumerGroup::skip`.
    let mut at = shared(memory).load(Ordering::Acquire);
    while at <= FARTHEST {
        let found = slot::inspect(memory, geometry, StampedPosition::at(memory, at));
        let SlotState::Packet(descriptor) = found else { return };
        if descriptor.kind() != Kind::Void {
            return;
        }
        let end = at + descriptor.span();
        let moved = shared(memory).compare_exchange(at, end, Ordering::AcqRel, Ordering::Relaxed);
        if moved.is_err() {
            return;
        }
        at = end;
    }
}
