//! A receiver in `select`.

use super::receiver::{Found, Receiver};
use crate::channel::select::Waitable;
use crate::ring::cursor::{Cursor, Next, Taken};
use crate::ring::guard::HoldsPacket;
use crate::segment::layout::EventCount;
use crate::wait::Wait;

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
        self.has_found() || self.is_over()
    }

    fn is_ready(&self) -> bool {
        self.cursor.is_ready() || self.is_over() || self.is_draining()
    }

    fn event_count(&self) -> &EventCount {
        self.entry.event_count()
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

    fn wait(&self) -> Wait {
        self.entry.waiter.wait()
    }

    fn sleeps_on_futex(&self) -> bool {
        self.entry.waiter.sleeps_on_futex()
    }
}
