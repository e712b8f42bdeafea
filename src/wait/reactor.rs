//! The reactor: a thread that sleeps on behalf of endpoints, and tells event loops when one may
//! have something.
//!
//! ```text
//!  endpoint                              reactor                      notifier
//!  ────────                              ───────                      ────────
//!  clear the descriptor                  known := futex               store
//!  armed := 1                            sleep while futex = known    waiters changed?
//!  register, barrier                     futex ≠ known:               futex += 1, wake
//!  check again: ready? fire                fire, if armed
//! ```
//!
//! - **fire**: if `armed` was 1, it becomes 0, the descriptor becomes readable, and the waker is
//!   called.
//! - The reactor keeps the value of each word that it saw last. It fires when a word differs, so it
//!   loses no change, whatever it did meanwhile. A word may change for another sleeper: a spurious
//!   wake-up.
//! - A notifier changes a word only after it saw a registration, and the endpoint is armed before
//!   it registers. So the change finds it armed. (`tests/crash_models/reactor.rs`)
//! - It fires by the clock, too, when the endpoint has to check which processes live: as often as a
//!   blocked thread would ([`Pace`]).
//!
//! A notifier of a queue wakes as many sleepers as there are packets. The thread may be that
//! sleeper while its endpoint has no use for the packet. So it passes each such wake-up on to all
//! sleepers of the word, and sleeps on the word only while the endpoint is armed.

use super::Deadline;
use super::event_count::Registrations;
use super::lane::{LANES, Lane, LaneEntry, Lanes};
use super::notify::Signal;
use super::pace::{Pace, Subject, nanos};
use super::sleeper::{Id, POLL};
use crate::segment::kept::KeptEventCount;
use crate::sync::Ordering;
use crate::sys::machine::monotonic;
use crate::sys::stop::Stop;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// An endpoint's registration with the reactor. Dropping it ends the registration.
#[derive(Debug)]
pub(crate) struct Listener {
    signal: Arc<Signal>,
    words: Vec<KeptEventCount>,
    registrations: Registrations,
    pace: Pace,
    /// It is told then, if not before. Nanoseconds of the monotonic clock.
    until: u64,
    lane: Arc<Lane>,
    id: Id,
    passes_on: bool,
    process: u32,
}

impl Listener {
    /// Registers an endpoint that sleeps on these event counts.
    ///
    /// `passes_on`: notifiers wake as many sleepers as there are packets. The reactor then passes
    /// each wake-up on to all sleepers of the word, because it may be meant for another one.
    pub(crate) fn new(
        words: Vec<KeptEventCount>,
        stop: Option<&Stop>,
        passes_on: bool,
    ) -> io::Result<Self> {
        Self::on(LANES.get(), words, stop, passes_on)
    }

    fn on(
        lanes: &'static Lanes,
        words: Vec<KeptEventCount>,
        stop: Option<&Stop>,
        passes_on: bool,
    ) -> io::Result<Self> {
        let signal = Arc::new(Signal::default());
        let watched = LaneEntry::new(Arc::clone(&signal), &words, stop.cloned(), passes_on);
        let (lane, id) = lanes.watch(watched)?;
        let (registrations, pace) = (Registrations::default(), Pace::new());
        let process = std::process::id();
        Ok(Self {
            signal,
            words,
            registrations,
            pace,
            until: u64::MAX,
            lane,
            id,
            passes_on,
            process,
        })
    }

    /// Returns this registration of an endpoint that is told at the deadline, if not before.
    pub(crate) fn until(mut self, deadline: Deadline) -> Self {
        let left = deadline.cut(Duration::MAX);
        self.until = monotonic().saturating_add(nanos(left));
        self
    }

    /// Returns false in a forked child: it is the parent's.
    pub(crate) fn is_own(&self) -> bool {
        self.process == std::process::id()
    }

    /// See [`Pace::may_share_checks`].
    pub(crate) fn may_share_checks(&self) -> bool {
        self.pace.may_share_checks()
    }

    /// The state that it shares with the reactor.
    pub(crate) fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }

    /// Sets what ends the waits of the endpoint.
    pub(crate) fn set_stop(&self, stop: &Stop) {
        if !self.is_own() {
            return;
        }
        self.lane.set_stop(self.id, stop);
    }

    /// Returns true if the endpoint must check which processes live, before it is armed.
    pub(crate) fn is_due(&mut self, subject: Subject) -> bool {
        self.pace.begin(subject);
        self.pace.is_due()
    }

    /// Arms the endpoint, which found nothing. From now on the reactor tells of anything that
    /// `is_ready` does not see. Returns false if it saw something: then it was told already.
    pub(crate) fn arm(&mut self, is_ready: impl FnOnce() -> bool) -> bool {
        if let Some(descriptor) = self.signal.descriptor.get() {
            descriptor.clear();
        }
        let check_at = self.pace.check_at().min(self.until);
        self.signal.check_at.store(check_at, Ordering::SeqCst);
        // Before the registration: see the head of this file.
        self.signal.armed.store(1, Ordering::SeqCst);
        let (_, is_sure) = self.registrations.renew(self.words.iter().map(|word| &**word));
        if is_ready() {
            self.signal.fire();
            return false;
        }
        let soon = || monotonic().saturating_add(nanos(POLL));
        let check_at = if is_sure { check_at } else { soon().min(check_at) };
        self.signal.check_at.store(check_at, Ordering::SeqCst);
        // In one order with the stores in `LaneEntry::look`, before and after its loads: it sees
        // the time, or this sees that it decides, or that it planned a later time.
        if self.passes_on || check_at < self.signal.looks_at.load(Ordering::SeqCst) {
            self.lane.ask(self.id);
        }
        true
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // In a forked child the lane is the parent's, and its lock may be held for ever.
        if self.is_own() {
            self.lane.forget(self.id);
        }
    }
}

#[cfg(test)]
mod tests;
