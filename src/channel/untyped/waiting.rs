//! Waiting for the next packet: the slow path of every receive, and a receiver in `select`.
//!
//! The receiver spins, then sleeps. Liveness checks have a pace of their own, which goes on from
//! one call to the next while no packet comes.

use super::receiver::{Found, Receiver};
use crate::channel::error::{RecvError, RecvFailure};
use crate::channel::waitable::{Waitable, rearm};
use crate::ring::cursor::{Cursor, Next, Taken};
use crate::ring::guard::HoldsPacket;
use crate::segment::kept::KeptEventCount;
use crate::segment::layout::EventCount;
use crate::sys::stop::Stop;
use crate::wait::{Deadline, IDLE, Listener, PENDING, Subject, Timeout, Wait, wait_until};
use std::time::Instant;

impl<C: Cursor> Receiver<C> {
    #[cold]
    #[inline(never)]
    pub(super) fn wait_for_next(
        &mut self,
        mut found: Next,
        timeout: Timeout,
    ) -> Result<Taken, RecvFailure> {
        if C::IS_SHARED && self.check_at.has_passed() && self.check_liveness() {
            found = self.cursor.next();
        }
        if let Some(outcome) = self.conclude(found) {
            return outcome;
        }
        if let Some(stopped) = self.stopped() {
            return stopped;
        }
        if matches!(timeout, Timeout::Zero) {
            let empty = self.empty();
            if self.entry.listener.is_some() {
                rearm(self);
            }
            return Err(empty);
        }
        let deadline = timeout.deadline();
        let waiter = &self.entry.waiter;
        let position = self.cursor.position();
        // An endpoint that never sleeps spins in its pauses. A wait that goes on has spun before.
        let may_spin = !waiter.only_spins() && !self.pace.is_under_way(position);
        let mut ready = may_spin && waiter.spin(deadline.cut(PENDING), || self.is_ready());
        let look = |receiver: &mut Self| {
            if receiver.is_draining() {
                return Some(Err(RecvError::Closed.into()));
            }
            let found = receiver.cursor.next();
            receiver.conclude(found).or_else(|| receiver.stopped())
        };
        // If something was ready and another consumer took it, search once more before parking.
        let mut has_slept = false;
        let pause = |receiver: &mut Self, deadline| {
            has_slept |= !ready;
            ready = !ready && receiver.park(position, deadline);
        };
        let outcome = wait_until(self, deadline, look, pause);
        if has_slept {
            self.pass_wake_up_on();
        }
        match outcome {
            Some(outcome) => {
                self.pace.end();
                outcome
            }
            None => {
                // The next call goes on. Other consumers may have moved a shared cursor.
                self.pace.rename(self.cursor.position());
                Err(RecvFailure::NotReady(()))
            }
        }
    }

    /// The result of a wait that was stopped from outside.
    fn stopped(&self) -> Option<Result<Taken, RecvFailure>> {
        self.entry.waiter.is_stopped().then(|| Err(RecvError::Stopped.into()))
    }

    /// At the end of a wait, with or without a packet: wakes another consumer if a packet is left.
    /// The publisher woke as many consumers as it published packets, and this wake-up may have been
    /// meant for that packet.
    pub(super) fn pass_wake_up_on(&self) {
        if C::IS_SHARED && self.cursor.has_more() {
            self.entry.pass_wake_up_on();
        }
    }

    /// A bounded pause of a wait that began at `position`. Returns true if there is something to
    /// find. Otherwise liveness was checked, if that was due.
    fn park(&mut self, position: u64, deadline: Deadline) -> bool {
        let is_claimed = self.cursor.is_claimed();
        self.pace.begin(Subject { id: position, is_pending: is_claimed });
        let bound = self.pace.sleep(deadline);
        let waiter = &self.entry.waiter;
        // The pauses of a spinner are short, because no wake-up reports a claim that is made
        // meanwhile.
        let bound = if waiter.only_spins() { bound.min(PENDING) } else { bound };
        let (event_count, is_ready) = (self.entry.event_count(), || self.is_ready());
        let is_found = match is_claimed {
            true => waiter.park_or_nap(event_count, bound, Instant::now(), is_ready),
            false => waiter.park(event_count, bound, is_ready),
        };
        if !is_found && self.pace.is_due() {
            self.check_liveness();
        }
        is_found
    }

    /// Does [`reap_dead`](Self::reap_dead), unless the wait is long and this process checked the
    /// ring a moment ago. Returns true if something changed.
    pub(super) fn check_liveness(&mut self) -> bool {
        if self.pace.may_share_checks() && self.entry.is_checked() {
            self.check_at = Deadline::after(IDLE);
            return false;
        }
        self.reap_dead()
    }
}

impl<C: Cursor> Receiver<C> {
    /// The packet that [`has_next`](Waitable::has_next) found, which the next receive returns.
    pub(crate) fn found_packet(&self) -> Option<Taken> {
        match self.found {
            Some(Found::Next(Next::Taken(taken))) => Some(taken),
            _ => None,
        }
    }

    /// Takes the packet that [`has_next`](Waitable::has_next) found.
    pub(crate) fn take_found(&mut self) -> Option<Taken> {
        let taken = self.found_packet()?;
        self.found = None;
        Some(taken)
    }

    /// Leaves a packet in flight to the next receive, as if [`has_next`](Waitable::has_next) had
    /// found it.
    pub(crate) fn leave_found(&mut self, taken: Taken) {
        self.found = Some(Found::Next(Next::Taken(taken)));
    }
}

impl<C: Cursor> Waitable for Receiver<C> {
    fn has_next(&mut self) -> bool {
        if self.is_draining() {
            // The next receive says so. It takes nothing.
            return true;
        }
        if !self.has_found() {
            if C::IS_SHARED && self.check_at.has_passed() {
                self.check_liveness();
            }
            self.release();
            loop {
                match self.cursor.next() {
                    Next::Nothing => self.entry.notify_publishers(),
                    Next::Taken(taken) if self.buries(&taken) => continue,
                    found => self.found = Some(Found::Next(found)),
                }
                break;
            }
        }
        self.has_found() || self.is_over() || self.entry.cut_off().is_some()
    }

    fn is_ready(&self) -> bool {
        self.cursor.is_ready()
            || self.is_over()
            || self.is_draining()
            || self.entry.cut_off().is_some()
    }

    fn event_count(&self) -> Option<&EventCount> {
        Some(self.entry.event_count())
    }

    fn is_pending(&self) -> bool {
        self.cursor.is_claimed()
    }

    fn check_liveness(&mut self, is_long: bool) {
        if !(is_long && self.entry.is_checked()) {
            self.reap_dead();
        }
    }

    fn end_sleep(&self) {
        self.pass_wake_up_on();
    }

    fn event_counts(&self) -> Vec<KeptEventCount> {
        vec![self.entry.kept_event_count()]
    }

    fn listener(&mut self) -> Option<&mut Option<Box<Listener>>> {
        Some(&mut self.entry.listener)
    }

    fn is_woken_by_count(&self) -> bool {
        C::IS_SHARED
    }

    fn place(&self) -> u64 {
        self.cursor.position()
    }

    fn stop(&self) -> Option<&Stop> {
        self.entry.waiter.stop()
    }

    fn wait(&self) -> Wait {
        self.entry.waiter.wait()
    }

    fn sleeps_on_futex(&self) -> bool {
        self.entry.waiter.sleeps_on_futex()
    }
}
