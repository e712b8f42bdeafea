//! The word that says whether packets can still come.
//!
//! Publishers look at it before each claim, subscribers when they find nothing. Who may change it,
//! and when, is the roster's: under the control lock.

use crate::failpoint::{Failpoint, failpoint};
use crate::segment::view::RingMemory;
use crate::sync::Ordering;

/// Whether packets can still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingState {
    /// Yes.
    Open,
    /// Not until a publisher joins: the last one left a ring that was not made to stay open.
    Left,
    /// No: it was closed.
    Closed,
}

impl RingState {
    /// Whether packets can still come to this ring.
    #[inline]
    pub(crate) fn of(memory: &RingMemory) -> Self {
        // Pairs with the release in `set`: who sees it closed sees what was committed before.
        match memory.head().readers.closing.load(Ordering::Acquire) {
            0 => Self::Open,
            1 => Self::Left,
            _ => Self::Closed,
        }
    }

    /// Pairs with the acquire in `of`.
    pub(crate) fn set(self, memory: &RingMemory) {
        failpoint(Failpoint::CloseMark);
        let word = match self {
            Self::Open => 0,
            Self::Left => 1,
            Self::Closed => 2,
        };
        memory.head().readers.closing.store(word, Ordering::Release);
    }
}
