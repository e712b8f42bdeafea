//! Arithmetic on positions. It reads no memory.

use crate::segment::layout::{FARTHEST, HEADER, SLOT};
use crate::segment::settings::{LEAST_CAPACITY, Settings};

/// Sizes that follow from a ring's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Slots in the ring, a power of two.
    pub(crate) capacity: u64,
    /// Slots of the largest packet. Half the ring, so that padding and packet fit together: padding
    /// is shorter than the packet behind it. With history a quarter, so that a publisher always
    /// finds room above the kept packets: `kept + 2 × max_span ≤ capacity`.
    pub(crate) max_span: u64,
    /// Slots kept for newcomers.
    pub(crate) kept: u64,
    /// Packets that a newcomer receives from before it joined.
    pub(crate) history: u64,
}

impl Geometry {
    /// The geometry of checked settings.
    pub(crate) fn of(settings: &Settings) -> Self {
        let capacity = (settings.capacity / SLOT) as u64;
        let keeps = settings.history > 0;
        Self {
            capacity,
            max_span: if keeps { capacity / 4 } else { capacity / 2 },
            kept: if keeps { capacity / 2 } else { 0 },
            history: settings.history as u64,
        }
    }

    /// Bytes of the largest packet.
    pub(crate) fn max_len(&self) -> usize {
        self.max_span as usize * SLOT - HEADER
    }

    /// Returns true if a packet of `span` slots is not too large. A short packet fits in the
    /// smallest ring, so this does not look at the ring's size.
    #[inline(always)]
    pub(crate) fn allows(&self, span: u64) -> bool {
        const SHORT: u64 = (LEAST_CAPACITY / SLOT) as u64 / 4;
        span <= SHORT || span <= self.max_span
    }

    /// Slots to skip at `position`, so that the next `span` slots lie in one piece.
    #[inline]
    pub(crate) fn padding(&self, position: u64, span: u64) -> u64 {
        let left = self.piece_end(position) - position;
        if span <= left { 0 } else { left }
    }

    /// The end of the lap that contains `position`, where the ring's memory ends.
    #[inline]
    pub(crate) fn piece_end(&self, position: u64) -> u64 {
        (position | (self.capacity - 1)) + 1
    }

    /// Returns true if `span` slots at `position` lie in one piece.
    #[inline]
    pub(crate) fn holds(&self, position: u64, span: u64) -> bool {
        (position & (self.capacity - 1)) + span <= self.capacity
    }

    /// Returns how many of the spans fit, in order, between `position` and `limit` in one piece of
    /// the ring, and their sum. At most half the ring.
    pub(crate) fn fit(&self, spans: &[u64], position: u64, limit: u64) -> (usize, u64) {
        let piece = self.piece_end(position) - position;
        let room = piece.min(limit.saturating_sub(position)).min(self.capacity / 2);
        let mut sum = 0;
        for (count, span) in spans.iter().enumerate() {
            if sum + span > room {
                return (count, sum);
            }
            sum += span;
        }
        (spans.len(), sum)
    }
}

/// Limits a position from shared memory to the farthest valid one, so that additions cannot
/// overflow.
#[inline]
pub(crate) fn clamp(position: u64) -> u64 {
    position.min(FARTHEST)
}

/// Slots of a packet of `len` bytes.
#[inline]
pub(crate) fn span(len: usize) -> u64 {
    ((HEADER + len) as u64).div_ceil(SLOT as u64)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn geometry(capacity: u64) -> Geometry {
        Geometry { capacity, max_span: capacity / 2, kept: 0, history: 0 }
    }

    #[test]
    fn a_packet_of_48_bytes_takes_one_slot() {
        assert_eq!([0, 1, 48, 49, 112, 113].map(span), [1, 1, 1, 2, 2, 3]);
    }

    #[test]
    fn the_largest_packet_fills_its_span() {
        let settings = Settings { capacity: 1 << 20, ..Settings::default() };
        let geometry = Geometry::of(&settings);
        assert_eq!(geometry.max_len(), (1 << 19) - 16);
        assert_eq!(span(geometry.max_len()), geometry.max_span);
        let keeping = Geometry::of(&Settings { history: 1, ..settings });
        assert!(keeping.kept + 2 * keeping.max_span <= keeping.capacity);
    }

    proptest! {
        #[test]
        fn padding_and_packet_fit_without_wrapping(
            bits in 4u32..12, position in 0u64..1 << 40, want in 1u64..2048,
        ) {
            let geometry = geometry(1 << bits);
            let span = 1 + want % geometry.max_span;
            let padding = geometry.padding(position, span);
            prop_assert!(padding < span);
            prop_assert!(padding + span < geometry.capacity);
            prop_assert!(geometry.holds(position + padding, span));
            prop_assert!(padding == 0 || (position + padding).is_multiple_of(geometry.capacity));
        }

        #[test]
        fn fit_stays_in_one_piece_below_the_limit(
            position in 0u64..200, room in 0u64..70, spans in prop::collection::vec(1u64..9, 0..20),
        ) {
            let geometry = geometry(64);
            let (count, sum) = geometry.fit(&spans, position, position + room);
            prop_assert_eq!(sum, spans[..count].iter().sum::<u64>());
            prop_assert!(sum <= room && sum <= 32 && geometry.holds(position, sum.max(1)));
            if let Some(next) = spans.get(count) {
                let more = sum + next;
                prop_assert!(more > room || more > 32 || !geometry.holds(position, more));
            }
        }
    }
}
