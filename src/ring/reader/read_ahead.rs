//! Reading ahead: the processor fetches the cache lines of packets that the reader takes soon.
//!
//! The header of a packet tells where the next packet begins. So without help a reader has one
//! line in flight, and waits for a whole transfer between two cores per packet.
//!
//! A reader that is far behind fetches early. It stops once its backlog is a quarter of the ring,
//! because the line that a publisher writes to next would travel back and forth. For the same
//! reason a reader that catches up after many packets backs off before it polls.
//!
//! A fetch is a hint. It reads nothing, so a wrong tail costs time and no more.

use crate::segment::view::RingMemory;
use crate::sync::Ordering;

/// Slots between the packet that is taken and the line that is fetched. 8 to 32 are equally fast
/// on a Xeon with 2 MiB of L2 per core.
const DISTANCE: u64 = 16;
/// A reader fetches early while its backlog is at least such a part of the ring,
const PART: u64 = 4;
/// and at least this number of slots.
const LEAST_BACKLOG: u64 = 4 * DISTANCE;
/// Slots between two loads of the tail.
const INTERVAL: u64 = 256;
/// Packets in a row after which a reader that finds none backs off. A round trip has one.
const RUN: u64 = 16;

/// Whether a reader fetches lines early, and how many slots it took without a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadAhead {
    /// [`DISTANCE`]; or 0, which fetches the line of the packet itself and costs nothing.
    distance: u64,
    /// From this position on the tail has to be loaded again.
    valid_below: u64,
    /// The last position where no packet was found.
    missed_at: u64,
}

impl ReadAhead {
    /// The state of a reader that joins at a position.
    pub(super) fn new(position: u64) -> Self {
        Self { distance: 0, valid_below: position + INTERVAL, missed_at: position }
    }

    /// Fetches the line ahead of a packet, if the reader is behind.
    #[inline(always)]
    pub(super) fn fetch(&mut self, memory: &RingMemory, position: u64) {
        memory.prefetch(position + self.distance);
        if position >= self.valid_below {
            self.measure(memory, position);
        }
    }

    #[cold]
    #[inline(never)]
    fn measure(&mut self, memory: &RingMemory, position: u64) {
        let tail = memory.head().tail.load(Ordering::Relaxed);
        let backlog = tail.saturating_sub(position).min(memory.capacity());
        let enough = (memory.capacity() / PART).max(LEAST_BACKLOG);
        let (distance, valid) = if backlog < enough {
            (0, INTERVAL)
        } else {
            (DISTANCE, (backlog - enough).max(INTERVAL).min(backlog - DISTANCE))
        };
        (self.distance, self.valid_below) = (distance, position + valid);
    }

    /// No packet is at `position`, behind one of `span` slots. Returns true if the reader took many
    /// packets since the last miss.
    pub(super) fn miss(&mut self, position: u64, span: u64) -> bool {
        let run = position.wrapping_sub(self.missed_at);
        *self = Self::new(position);
        run >= RUN * span
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::ring::tests::boxes::Boxes;
    use crate::segment::settings::{Claims, Overflow};

    const SLOTS: u64 = 4096;

    fn state_behind(tail: u64, slots: u64, position: u64) -> ReadAhead {
        let ring = Boxes::new(slots as usize, Claims::Exclusive, Overflow::Block);
        let memory = ring.memory();
        memory.head().tail.store(tail, Ordering::Relaxed);
        let mut state = ReadAhead { valid_below: position, ..ReadAhead::new(0) };
        state.fetch(&memory, position);
        state
    }

    #[test]
    fn a_reader_fetches_early_while_a_quarter_of_the_ring_waits() {
        let state = state_behind(5000, SLOTS, 5000 - SLOTS / PART);
        assert_eq!((state.distance, state.valid_below), (DISTANCE, 5000 - SLOTS / PART + INTERVAL));
        let state = state_behind(5000, SLOTS, 5001 - SLOTS / PART);
        assert_eq!((state.distance, state.valid_below), (0, 5001 - SLOTS / PART + INTERVAL));
        let state = state_behind(5000, SLOTS, 5000 - SLOTS);
        assert_eq!((state.distance, state.valid_below), (DISTANCE, 5000 - SLOTS / PART));
    }

    #[test]
    fn no_line_at_or_above_the_tail_is_fetched_in_a_small_ring() {
        for (slots, backlog) in [(64, 64), (128, 64), (128, 128), (256, 100)] {
            let state = state_behind(1000, slots, 1000 - backlog);
            assert_eq!(state.distance, DISTANCE);
            assert!(state.valid_below + state.distance <= 1000, "{slots} slots, {backlog}");
        }
        assert_eq!(state_behind(1000, 16, 984).distance, 0);
    }

    #[test]
    fn a_damaged_tail_is_worth_one_lap_at_most() {
        for tail in [u64::MAX, 1 << 62] {
            let state = state_behind(tail, SLOTS, 7);
            assert_eq!(state.valid_below, 7 + SLOTS - SLOTS / PART);
        }
        assert_eq!(state_behind(0, SLOTS, 7).distance, 0);
    }

    #[test]
    fn a_run_ends_at_a_miss_and_is_counted_in_packets() {
        let mut state = ReadAhead::new(100);
        assert!(!state.miss(100 + RUN - 1, 1));
        assert!(state.miss(100 + 2 * RUN - 1, 1));
        assert!(!state.miss(100 + 2 * RUN, 1));
        assert!(!state.miss(100 + 4 * RUN, 17));
    }
}
