//! The floor of a round trip: one cache line each way, and nothing else.
//!
//! No processes that talk through coherent memory can answer each other sooner. It carries a
//! number and no packet: no validation, no bounds, no waiting but spinning.

use crate::shared::{Plain, Poll};
use std::sync::atomic::{AtomicU64, Ordering};

/// A word with its line, and the neighbour that is fetched along with it, to itself.
#[repr(align(128))]
struct Line(AtomicU64);

/// One line each way.
#[repr(C)]
pub(crate) struct Lines {
    there: Line,
    back: Line,
}

// SAFETY: two atomics, for which zeros are a value, aligned to 128; the rest is never looked at.
unsafe impl Plain for Lines {}

impl Lines {
    /// Sends a number and waits for it to come back. No number may be sent twice in a row.
    #[inline]
    pub(crate) fn call(&self, number: u64, poll: &Poll) -> Result<(), String> {
        // Pairs with the acquire in `answer`.
        self.there.0.store(number, Ordering::Release);
        poll.until(|| self.back.0.load(Ordering::Acquire) == number)
    }

    /// Waits for a number and sends it back.
    #[inline]
    pub(crate) fn answer(&self, number: u64, poll: &Poll) -> Result<(), String> {
        poll.until(|| self.there.0.load(Ordering::Acquire) == number)?;
        // Pairs with the acquire in `call`.
        self.back.0.store(number, Ordering::Release);
        Ok(())
    }
}
