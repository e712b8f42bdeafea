//! Draining: receivers that take nothing new.
//!
//! A worker that is about to end stops its receivers from any thread. What a receiver holds stays
//! in its hand. A receiver that waits notices within one bounded sleep.
//!
//! Consumers of queues and servers look at each receive. An inbox looks when no message is there at
//! once, and each time an eighth of it was read: a look at each receive would cost every message
//! 5 % more instructions.

use crate::sync::{AtomicU32, Ordering};
use std::sync::Arc;

/// Not 0 once any worker of this process drains. One look at it is all that a receive pays before.
static ANY: AtomicU32 = AtomicU32::new(0);

/// Whether one worker drains. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draining(Arc<AtomicU32>);

impl Draining {
    /// Starts to drain.
    pub(crate) fn start(&self) {
        // Without an order: a receive that runs meanwhile may still take a packet.
        self.0.store(1, Ordering::Relaxed);
        ANY.store(1, Ordering::Relaxed);
    }

    /// Returns true if the worker drains.
    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// Returns true if any worker of this process drains.
#[inline(always)]
pub(super) fn is_any_draining() -> bool {
    ANY.load(Ordering::Relaxed) != 0
}
