//! The word that says whether packets can still come.
//!
//! Publishers load it before each claim, subscribers when they find nothing. It changes only under
//! the control lock.

use crate::failpoint::{Failpoint, failpoint};
use crate::segment::view::RingMemory;
use crate::sync::Ordering;

/// Whether packets can still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingState {
    /// Packets can come.
    Open,
    /// No packets until a publisher joins: the last one left a ring that does not stay open.
    Left,
    /// No packets ever: the ring was closed.
    Closed,
}

impl RingState {
    /// The state of a ring.
    #[inline]
    pub(crate) fn of(memory: &RingMemory) -> Self {
        // Pairs with the release in `set`: packets committed before the closing are seen.
        match memory.head().readers.closing.load(Ordering::Acquire) {
            0 => Self::Open,
            1 => Self::Left,
            _ => Self::Closed,
        }
    }

    /// Stores the state. The caller holds the control lock.
    pub(crate) fn set(self, memory: &RingMemory) {
        failpoint(Failpoint::CloseMark);
        let word = match self {
            Self::Open => 0,
            Self::Left => 1,
            Self::Closed => 2,
        };
        // Pairs with the acquire in `of`.
        memory.head().readers.closing.store(word, Ordering::Release);
    }
}
