//! Who takes part in a ring: entries, and whether they are taken.

use super::layout::Seat;
use crate::sync::Ordering;

/// One entry of a segment, and whoever sits at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Member {
    /// The publisher entry of this index.
    Publisher(usize),
    /// The subscriber entry of this index.
    Subscriber(usize),
}

/// Whether an entry is taken. Whether its owner lives is asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeatState {
    /// Nobody's.
    Free,
    /// Somebody's, for as long as they live.
    Taken,
    /// A durable subscriber's, alive or dead.
    Durable,
    /// Taken by a subscriber whose cursor is not placed yet: it may miss what is published.
    Joining,
}

impl SeatState {
    /// The state of a seat. An unknown word counts as taken: its owner is then asked for and, not
    /// being found alive, the entry is cleared.
    pub(crate) fn of(seat: &Seat) -> Self {
        // Pairs with the release in `set`.
        match seat.state.load(Ordering::Acquire) {
            0 => Self::Free,
            2 => Self::Durable,
            3 => Self::Joining,
            _ => Self::Taken,
        }
    }

    /// Writes the state. Under the control lock.
    pub(crate) fn set(self, seat: &Seat) {
        let word = match self {
            Self::Free => 0,
            Self::Taken => 1,
            Self::Durable => 2,
            Self::Joining => 3,
        };
        // Pairs with the acquire in `of`.
        seat.state.store(word, Ordering::Release);
    }
}
