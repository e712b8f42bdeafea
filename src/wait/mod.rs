//! Waiting: spin, then sleep on an event count.
//!
//! ```text
//!  waiter                                    notifier (after its store)
//!  ──────                                    ────────
//!  f := futex                                light barrier
//!  waiters += 1                              w := waiters
//!  heavy barrier (membarrier)                w is the number seen last? done
//!  check again: ready? return                otherwise: futex += 1, wake all, remember w
//!  sleep while futex = f, a bounded time
//! ```
//!
//! Guarantee: no wake-up is lost. Either the waiter's second check sees the store, or the notifier
//! sees the waiter. The heavy barrier replaces a fence between the notifier's store and its load,
//! so a notifier pays one plain load per packet. A waiter on several event counts registers with
//! each, behind one barrier. A killed waiter needs no repair: it costs each notifier one needless
//! wake-up.
//!
//! These variants lose a wake-up, or make notifiers call the kernel again and again
//! (`tests/crash_models/parking.rs`): a flag that the notifier clears, a count of sleepers,
//! sleeping on `waiters` itself.
//!
//! A publisher of a queue wakes as many consumers as there are new packets, and remembers w only if
//! no sleeper is left. A consumer that slept and leaves a packet behind wakes one more
//! (`tests/crash_models/waking.rs`).
//!
//! A waiter stays registered until a notifier changes the futex word. If its sleep ends before
//! that, it sleeps again without another barrier.
//!
//! Every sleep is bounded, because a notifier can be killed between its store and its wake-up.
//! [`Pace`] gives the bounds: a quarter of the time waited, from 2 to 240 ms. After each sleep the
//! caller checks again, also the liveness locks. So it notices a death after at most one bounded
//! sleep. No clock decides that a process is dead.
//!
//! A subscriber does not wake publishers at a full ring for each packet that it releases: they
//! would fill one slot and sleep again. It wakes them once per eighth of the ring, and when nothing
//! is left to read. In between they check for themselves after each sleep.
//!
//! Limits: this module works on the two words of an event count. It does not know rings.

mod event_count;
#[cfg(not(loom))]
mod lane;
mod notify;
#[cfg(not(loom))]
mod pace;
#[cfg(not(loom))]
mod reactor;
#[cfg(not(loom))]
mod sleeper;

#[cfg(all(test, loom))]
pub(crate) use event_count::register_waiter;
pub(crate) use event_count::{Registrations, Sleep, Waiter};
pub(crate) use notify::Notifier;
#[cfg(not(loom))]
pub(crate) use notify::{Signal, notify_once, notify_one};
#[cfg(feature = "handover")]
pub(crate) use pace::LONGEST;
#[cfg(not(loom))]
pub(crate) use pace::{IDLE, JOINT, PENDING, Pace, Subject};
#[cfg(not(loom))]
pub(crate) use reactor::Listener;

use std::time::{Duration, Instant};

/// How an endpoint waits.
///
/// Each endpoint chooses how long it spins. How endpoints sleep is fixed when the ring is made:
/// `RingBuilder::wait(Wait::event())` makes a ring whose endpoints sleep on events; those of every
/// other ring sleep on futexes. To an endpoint, `park` and `event` mean the ring's kind of sleep.
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
    pub(crate) kind: WaitKind,
    pub(crate) spin: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitKind {
    Spin,
    Park,
    Event,
}

impl Wait {
    /// Spins until ready: the lowest latency, at the price of a core. After 20 µs it yields the
    /// core between checks; on a machine with one core, at once. At a full ring, or behind a packet
    /// that another process is writing, it sleeps for 50 µs between checks after a millisecond.
    ///
    /// An endpoint of a ring that waits so makes all pages of the ring present when it joins: see
    /// [`RingBuilder::populate`](crate::RingBuilder::populate).
    pub const fn spin() -> Self {
        Self { kind: WaitKind::Spin, spin: Duration::MAX }
    }

    /// Spins for 20 µs, then sleeps on a futex. The default. A wake-up takes about 50 µs.
    pub const fn park() -> Self {
        Self { kind: WaitKind::Park, spin: Duration::from_micros(20) }
    }

    /// Spins for 20 µs, then waits on a `raw_sync` event, which is portable.
    ///
    /// It is not crash-proof: a process killed in the few instructions that hold an event's mutex
    /// blocks the others. It uses the wall clock: a clock that is set back lengthens the wait by as
    /// much.
    pub const fn event() -> Self {
        Self { kind: WaitKind::Event, spin: Duration::from_micros(20) }
    }

    /// Sets the time to spin before sleeping; zero sleeps at once. No effect on
    /// [`spin`](Self::spin).
    #[must_use]
    pub const fn spin_for(mut self, spin: Duration) -> Self {
        if !matches!(self.kind, WaitKind::Spin) {
            self.spin = spin;
        }
        self
    }
}

impl Wait {
    /// Returns true if it does not park.
    pub(crate) fn only_spins(self) -> bool {
        self.kind == WaitKind::Spin
    }
}

impl Default for Wait {
    fn default() -> Self {
        Self::park()
    }
}

/// How long an operation may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timeout {
    /// It does not wait (`try_` calls).
    Zero,
    /// It does not wait, not even briefly for a lock: a task tries again.
    #[cfg(feature = "async")]
    Task,
    /// It waits for this long.
    After(Duration),
    /// It waits until it succeeds.
    Never,
}

impl Timeout {
    /// The deadline of an operation that starts now. Reads the clock: call it after the first try.
    pub(crate) fn deadline(self) -> Deadline {
        match self {
            Self::After(timeout) => Deadline::after(timeout),
            Self::Never => Deadline::NEVER,
            _ => Deadline::after(Duration::ZERO),
        }
    }

    /// Returns true if the operation may wait.
    #[inline]
    pub(crate) fn waits(self) -> bool {
        matches!(self, Self::After(_) | Self::Never)
    }

    /// How long to wait for a lock that is mostly held for microseconds: a call that does not wait
    /// waits for `brief`, and a task tries once.
    pub(crate) fn for_lock(self, brief: Duration) -> Self {
        match self {
            Self::Zero => Self::After(brief),
            #[cfg(feature = "async")]
            Self::Task => Self::After(Duration::ZERO),
            _ => self,
        }
    }

    /// A first try, which does not wait.
    #[inline(always)]
    pub(crate) fn first_try(self) -> Self {
        if self.waits() { Self::Zero } else { self }
    }

    /// The time that is left for the rest of an operation with this deadline.
    pub(crate) fn left(self, deadline: Deadline) -> Self {
        match self {
            Self::After(timeout) => Self::After(deadline.cut(timeout)),
            _ => self,
        }
    }
}

/// The instant at which an operation gives up, or never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// A deadline that never passes.
    pub(crate) const NEVER: Self = Self(None);

    /// A deadline `timeout` from now; [`NEVER`](Self::NEVER) if the clock cannot represent it.
    pub(crate) fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    /// Returns true if the deadline has passed.
    pub(crate) fn has_passed(self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }

    /// `bound`, or the time left until the deadline if that is shorter.
    pub(crate) fn cut(self, bound: Duration) -> Duration {
        self.0.map_or(bound, |at| at.saturating_duration_since(Instant::now()).min(bound))
    }
}

/// Calls `look` until it returns a value or the deadline passes, with a bounded `pause` between two
/// calls. Returns `None` after the deadline. `look` runs once more after the last pause.
pub(crate) fn wait_until<S: ?Sized, T>(
    state: &mut S,
    deadline: Deadline,
    mut look: impl FnMut(&mut S) -> Option<T>,
    mut pause: impl FnMut(&mut S, Deadline),
) -> Option<T> {
    loop {
        if let Some(found) = look(state) {
            return Some(found);
        }
        if deadline.has_passed() {
            return None;
        }
        pause(state, deadline);
    }
}

#[cfg(test)]
mod tests {
    use super::{Deadline, wait_until};
    use std::time::Duration;

    #[test]
    fn wait_until_looks_after_the_last_pause() {
        let mut pauses = 0;
        let found = wait_until(
            &mut pauses,
            Deadline::after(Duration::ZERO),
            |_| None::<()>,
            |pauses, _| *pauses += 1,
        );
        assert_eq!((found, pauses), (None, 0));
        let found = wait_until(
            &mut pauses,
            Deadline::NEVER,
            |pauses| (*pauses == 3).then_some(*pauses),
            |pauses, _| *pauses += 1,
        );
        assert_eq!(found, Some(3));
    }
}
