//! A receiver in `select`.

use super::receiver::{Found, Receiver};
use crate::channel::select::Waitable;
use crate::ring::cursor::{Cursor, Next};
use crate::ring::guard::ReadEndpoint;
use crate::segment::layout::EventCount;
use crate::wait::Wait;

impl<C: Cursor> Waitable for Receiver<C> {
    fn has_next(&mut self) -> bool {
        if self.is_draining() {
            // The next receive says so. It takes nothing.
            return true;
        }
        if !self.has_found() {
            if C::IS_SHARED && self.check_at.has_passed() {
                self.reap_dead();
            }
            self.release();
            loop {
                match self.cursor.next() {
                    Next::Nothing => self.endpoint.notify_publishers(),
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
        self.endpoint.event_count()
    }

    fn is_pending(&self) -> bool {
        self.cursor.is_claimed()
    }

    fn reap_dead(&mut self) {
        Self::reap_dead(self);
    }

    fn wait(&self) -> Wait {
        self.endpoint.waiter.wait()
    }

    fn sleeps_on_futex(&self) -> bool {
        self.endpoint.waiter.sleeps_on_futex()
    }
}
