//! Waiting: spin, park on a futex, or wait on an event.
//!
//! ```text
//!  sleeper                                   waker (after its store)
//!  ───────                                   ─────
//!  f := futex                                light barrier
//!  announce += 1                             a := announce
//!  heavy barrier (membarrier)                a is what I last saw? nothing to do
//!  look again: ready? go on                  otherwise: futex += 1, wake all, remember a
//!  sleep while futex = f, a bounded time
//! ```
//!
//! Either the sleeper's second look sees the store, or the waker sees the announcement: the heavy
//! barrier stands in for a fence between the waker's store and its load. The waker pays one plain
//! load per packet. One who sleeps on several bells announces itself on each and puts up one
//! barrier behind them all. Nothing has to be repaired when a sleeper is killed: its announcement costs
//! each waker one needless wake-up.
//!
//! Shown to lose a wake-up, or to leave wakers making system calls for ever: a flag that the
//! waker clears, a count of sleepers, sleeping on `announce` itself.
//!
//! Sleeps are bounded because a waker can be killed between its store and its wake-up, and the
//! dead wake nobody: [`PENDING`] where something is known to be under way, [`IDLE`] otherwise.
//! After each the caller looks again and asks the kernel who lives. That is how long the death
//! of a process goes unnoticed; no clock decides about it.
//!
//! A subscriber does not wake publishers that sleep at a full ring for each packet it lets go: they
//! would fill one slot and sleep again. It does for each eighth of the ring, and when nothing is
//! left to read; in between they look for themselves after each [`PENDING`].
//!
//! This module knows words and time, not rings.

mod deadline;
mod event_count;
mod notifier;

pub(crate) use deadline::{Deadline, Timeout, wait_until};
#[cfg(all(test, loom))]
pub(crate) use event_count::register_waiter;
pub(crate) use event_count::{Sleep, Waiter, register_waiter_on_all};
pub(crate) use notifier::Notifier;

use std::time::Duration;

/// Longest sleep of one who waits for something known to be under way: a publisher at its limit,
/// a reader behind a claim that is not committed.
pub(crate) const PENDING: Duration = Duration::from_millis(2);
/// Longest sleep of a reader that waits for the next packet, whenever it comes.
pub(crate) const IDLE: Duration = Duration::from_millis(50);

/// How an endpoint waits.
///
/// Spinning is each endpoint's own choice. *What* it sleeps on, if it does, is fixed when the
/// ring is made: `RingBuilder::wait(Wait::event())` makes a ring that parks on events, every
/// other one parks on futexes; to an endpoint of such a ring `park` and `event` are the same.
///
/// ```
/// use packetring::{Ring, Wait};
/// use std::time::Duration;
///
/// let ring = Ring::builder().heap()?;
/// let mut readings = ring.subscriber::<u64>()?;
/// readings.set_wait(Wait::park().spin_for(Duration::from_micros(5)));
/// # Ok::<(), packetring::OpenError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub(crate) kind: Kind,
    pub(crate) spin: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Spin,
    Park,
    Event,
}

impl Wait {
    /// Spin until ready: the lowest latency, at the price of a core. It lets others have the core
    /// between looks after 20 µs, and at once on a machine that has but one.
    pub const fn spin() -> Self {
        Self { kind: Kind::Spin, spin: Duration::MAX }
    }

    /// Spin for 20 µs, then sleep on a futex. The default. Being woken takes some 50 µs.
    pub const fn park() -> Self {
        Self { kind: Kind::Park, spin: Duration::from_micros(20) }
    }

    /// Spin for 20 µs, then wait on a `raw_sync` event: the portable way. Not crash-proof: a
    /// process killed in the few instructions that hold an event's mutex blocks the others. And it
    /// counts by the wall clock: one that is set back lengthens the wait under way by as much.
    pub const fn event() -> Self {
        Self { kind: Kind::Event, spin: Duration::from_micros(20) }
    }

    /// Spins for this long before sleeping; zero: sleeps at once. Nothing to `spin`.
    #[must_use]
    pub const fn spin_for(mut self, spin: Duration) -> Self {
        if !matches!(self.kind, Kind::Spin) {
            self.spin = spin;
        }
        self
    }
}

impl Wait {
    /// Whether it never sleeps.
    pub(crate) fn only_spins(self) -> bool {
        self.kind == Kind::Spin
    }
}

impl Default for Wait {
    fn default() -> Self {
        Self::park()
    }
}
