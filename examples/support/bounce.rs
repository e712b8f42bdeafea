//! The floor of a round trip: one cache line each way, and nothing else.
//!
//! Processes that communicate through coherent memory cannot answer each other sooner. The line
//! carries a number and no packet: no validation, no bounds checks, no waiting other than spinning.

use crate::shared::{Plain, Poll};
use std::sync::atomic::{AtomicU64, Ordering};

/// A word with a cache line and its prefetched neighbour line to itself.
#[repr(align(128))]
struct Line(AtomicU64);

/// A cache line for each direction.
#[repr(C)]
pub(crate) struct Lines {
    there: Line,
    back: Line,
}

// SAFETY: consists of two atomics, for which zeros are valid, aligned to 128. The padding is never
// read.
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
